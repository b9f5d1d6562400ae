"""What the names of folders say: `Train`, `seg_test` and `Validierung` are splits, `images` and `masks` are parts."""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache


def _plain(text: str) -> str:
    """Take the accents away, so that `entraînement` and `entrainement` are one word."""
    if text.isascii():
        return text
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


_WORDS = {
    "train": "trainval train training trn"
    " trainings entrainement apprentissage entrenamiento addestramento treino treinamento 训练 訓練",
    "validation": "validation validate valid val devel development dev"
    " validierung validierungs validacion validazione validacao 验证 驗證 検証",
    # Food-11 and others call their test images evaluation.
    "test": "testing tests test tst holdout heldout evaluation eval essai prueba pruebas teste testes 测试 測試 テスト",
}
_SPLITS = {_plain(word): split for split, words in _WORDS.items() for word in words.split()}
_NOISE = (
    "datasets", "dataset", "data", "sets", "set", "images", "image", "imgs", "img", "pictures", "picture", "pics",
    "pic", "photos", "photo", "splits", "split", "seg", "digits", "digit", "folder", "dir", "jpeg", "jpg", "png",
    "daten", "datensatz", "bilder", "donnees", "datos", "imagenes", "dati", "immagini", "dados", "imagens",
    "数据", "集", "图片", _plain("データ"), "セット", "画像",
)  # fmt: skip
_ARTICLES = frozenset({"de", "des", "jeu"})  # as in `jeu de test`
# A folder of such a name is no class of its own in a test folder.
_NEUTRAL = frozenset(
    {"unknown", "unlabeled", "unlabelled", "all", "none", "raw", "public", "private", "default", "misc", "files",
     "part", "input"}
)  # fmt: skip
_IMAGES = frozenset({"images", "image", "imgs", "img", "jpegimages"})
_MASKS = frozenset(
    {"masks", "mask", "labels", "label", "annotations", "annotation", "anns", "ann", "gt", "ground_truth",
     "groundtruth", "segmentations", "segmentation", "segmentationclass", "segmentationobject"}
)  # fmt: skip
# What lies beside splits, and is neither a split nor a class.
_EXTRAS = frozenset(
    {"annotation", "annotations", "label", "labels", "mask", "masks", "segmentation", "segmentations", "unlabeled",
     "unlabelled", "sample", "samples", "prediction", "predictions", "pred", "predict", "submission", "submissions",
     "metadata", "meta", "docs", "scripts", "notebooks", "output", "outputs", "results", "logs", "runs", "checkpoints",
     "weights", "demo", "extra", "extras", "inference"}
)  # fmt: skip
_TOKEN = re.compile(
    "(?:{noise})*({split})?(?:{noise})*".format(
        noise="|".join(_NOISE), split="|".join(sorted(_SPLITS, key=len, reverse=True))
    )
)


@cache
def parsed(name: str) -> tuple[str | None, str]:
    """Return the split that a folder's name speaks of, if any, and what else it says.

    >>> [parsed(name) for name in ("Training_Set", "val2017", "birdsTest", "invalid")]
    [('train', ''), ('validation', ''), ('test', 'birds'), (None, 'invalid')]
    """
    splits, rest = set(), []
    for word in _tokens(name):
        found = _TOKEN.fullmatch(word)
        if found is None and word not in _ARTICLES:
            rest.append(word)
        elif found and found[1]:
            splits.add(_SPLITS[found[1]])
    if splits == {"train", "validation"}:  # `train_val`: what is left when the test images are taken away
        splits = {"train"}
    return (splits.pop(), " ".join(rest)) if len(splits) == 1 else (None, name)


def split_of(name: str) -> str | None:
    """Return `train`, `validation` or `test` where a folder's name says this and nothing else."""
    split, rest = parsed(name)
    return None if rest else split


def is_extra(name: str) -> bool:
    """Whether a folder's name is one of those that often lie beside splits, such as `annotations`."""
    return not _EXTRAS.isdisjoint(_tokens(name))


def is_neutral(name: str) -> bool:
    """Whether a folder's name says nothing of what its images show, such as `images`, `unknown` or `test_set`."""
    words = _tokens(name)
    return bool(words) and (bool(parsed(name)[0]) or all(w in _NEUTRAL or _TOKEN.fullmatch(w) for w in words))


def is_numbered(name: str) -> bool:
    """Whether a folder's name has no letters."""
    return not _tokens(name)


def masks_beside_images(names: Iterable[str]) -> list[str]:
    """Return the names of folders of masks or labels, if there is a folder of their images among them."""
    by_lower = {name.lower(): name for name in names}
    if _IMAGES.isdisjoint(by_lower):
        return []
    return [name for lower, name in by_lower.items() if lower in _MASKS]


def named_as_splits(names: Iterable[str]) -> dict[str, str]:
    """Return the split of each folder that is named as one, among folders that lie beside each other."""
    names = list(names)
    found = {name: split for name in names if (split := split_of(name))}
    if "train" in found.values():
        return found
    # `birds_train` is a split beside `birds_test`; beside `cats_train`, it is no more than a name.
    by_rest: dict[str, dict[str, str]] = {}
    for name in names:
        split, rest = parsed(name)
        if split and rest:
            by_rest.setdefault(rest, {})[name] = split
    alike = dict(found)
    for group in by_rest.values():
        if "train" in group.values() and len({*group.values(), *found.values()}) > 1:
            alike |= group
    return alike


def _tokens(name: str) -> list[str]:
    """Split a name at everything but letters, and at capitals inside words that are not known as a whole."""
    tokens = []
    name = re.sub(r"(?i)(hold|held)[\W_]+out", "holdout", re.sub(r"(?i)\bd['\u2019]", "", _plain(name)))
    for run in re.findall(r"[^\W\d_]+", name):
        if _TOKEN.fullmatch(run.lower()):
            tokens.append(run.lower())
        else:
            tokens += [part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^A-Za-z]+", run)]
    return tokens
