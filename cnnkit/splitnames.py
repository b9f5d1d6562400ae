"""Which folders are named as splits: `Train` and `Testing`, `seg_train`, and `birds_train` beside `birds_test`."""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache

_WORDS = {
    "train": ("trainval", "train", "training", "trn"),
    "validation": ("validation", "validate", "valid", "val", "devel", "development", "dev"),
    # Food-11 and others call their test images evaluation.
    "test": ("testing", "tests", "test", "tst", "holdout", "heldout", "evaluation", "eval"),
}
_SPLITS = {word: split for split, words in _WORDS.items() for word in words}
_NOISE = (
    "datasets", "dataset", "data", "sets", "set", "images", "image", "imgs", "img", "pictures", "picture", "pics",
    "pic", "photos", "photo", "splits", "split", "seg", "digits", "digit", "folder", "dir", "jpeg", "jpg", "png",
)  # fmt: skip
# What lies beside splits, and is neither a split nor a class.
_EXTRAS = frozenset(
    {"annotation", "annotations", "label", "labels", "mask", "masks", "unlabeled", "unlabelled", "sample", "samples",
     "prediction", "predictions", "pred", "predict", "submission", "submissions", "metadata", "meta", "docs", "scripts",
     "notebooks", "output", "outputs", "results", "logs", "runs", "checkpoints", "weights", "demo", "extra", "extras",
     "inference"}
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
        if found is None:
            rest.append(word)
        elif found[1]:
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
    name = re.sub(r"(?i)(hold|held)[\W_]+out", "holdout", unicodedata.normalize("NFC", name))
    for run in re.findall(r"[^\W\d_]+", name):
        if _TOKEN.fullmatch(run.lower()):
            tokens.append(run.lower())
        else:
            tokens += [part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^A-Za-z]+", run)]
    return tokens
