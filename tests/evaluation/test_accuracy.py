"""Scores, against numbers worked out by hand and by numpy, and which images of which data they are taken on."""

import csv
import shutil
import struct
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from PIL import Image

import cnnkit
from cnnkit.card import ModelCard
from cnnkit.data.results import Exposure
from cnnkit.data.shapes import draw_shapes
from cnnkit.errors import CheckpointError, DataError
from cnnkit.evaluation.results import Evaluation
from cnnkit.images import Preprocessing
from cnnkit.progress import Notice
from tests.expecting import expect_error

LABELS = ("a", "b", "c", "d")
FORM = Preprocessing(1, 2, 2, (0.0,), (1.0,))


class Scales:
    """A network by hand: each class scores by how near the grey level is to its own, so sharpness is known."""

    engine = "by hand"

    def __init__(self, card: ModelCard | None = None, sharpness: float = 8.0) -> None:
        self.card = card or ModelCard("scales", LABELS, FORM)
        self.sharpness = sharpness
        self.batches: list[int] = []

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        self.batches.append(len(pixels))
        level = pixels.reshape(len(pixels), -1).mean(1, keepdims=True) / 255
        own = np.linspace(0, 1, len(self.card.labels))
        return (-self.sharpness * np.abs(level - own)).astype(np.float32)


# Grey levels of each class; its own would be 0, 85, 170 and 255, so that some are taken for their neighbours.
LEVELS = {"a": (0, 10, 30, 60), "b": (70, 90, 150), "c": (180, 240), "d": (200, 250, 255, 40, 130)}


@pytest.fixture(scope="module")
def greys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "greys"
    for name, levels in LEVELS.items():
        (folder / name).mkdir(parents=True)
        for index, level in enumerate(levels):
            Image.new("L", (2, 2), level).save(folder / name / f"{index}.png")
        # A folder that is split needs three images a class.
        for index in range(len(levels), 3):
            Image.new("L", (2, 2), levels[-1]).save(folder / name / f"{index}.png")
    return folder


def evaluate(network: Scales, **options: object) -> Evaluation:
    return cnnkit.evaluate(cnnkit.Classifier(network, "it"), **options)


def numbers(folder: Path, network: Scales) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities [N, 4] and true classes [N] of all the images."""
    files = sorted(folder.rglob("*.png"))
    levels = np.array([np.asarray(Image.open(file)) for file in files])
    logits = network.logits(levels[..., None]).astype(np.float64)
    exponentials = np.exp(logits)
    return exponentials / exponentials.sum(1, keepdims=True), np.array([LABELS.index(f.parent.name) for f in files])


def test_scores_are_those_worked_out_with_numpy(greys: Path) -> None:
    network = Scales()
    probabilities, truth = numbers(greys, network)
    guess = probabilities.argmax(1)
    confusion = np.zeros((4, 4), int)
    np.add.at(confusion, (truth, guess), 1)
    right = np.diag(confusion)
    precision = right / np.maximum(confusion.sum(0), 1)
    recall = right / confusion.sum(1)
    found = evaluate(network, data=str(greys), top_k=2)
    assert 0 < right.sum() < len(truth)
    assert found.confusion == tuple(map(tuple, confusion.tolist()))
    assert found.accuracy == pytest.approx((truth == guess).mean())
    assert found.loss == pytest.approx(-np.log(probabilities[np.arange(len(truth)), truth]).mean(), rel=1e-5)
    assert found.top_k == 2
    first_two = np.argsort(-probabilities, axis=1)[:, :2]
    assert found.top_k_accuracy == pytest.approx((first_two == truth[:, None]).any(1).mean())
    assert [c.label for c in found.classes] == list(LABELS)
    assert [c.support for c in found.classes] == confusion.sum(1).tolist()
    assert [c.precision for c in found.classes] == pytest.approx(precision.tolist())
    assert [c.recall for c in found.classes] == pytest.approx(recall.tolist())
    assert [c.f1 for c in found.classes] == pytest.approx((2 * precision * recall / (precision + recall)).tolist())


def test_scores_worked_out_by_hand(greys: Path) -> None:
    # a: 60 is nearer to 85 than to 0. b: 150 is nearer to 170. c: 240 (twice) is nearer to 255.
    # d: 200 is nearer to 170, 40 to 0, 130 to 170.
    found = evaluate(Scales(), data=str(greys))
    assert found.confusion == ((3, 1, 0, 0), (0, 2, 1, 0), (0, 0, 1, 2), (1, 0, 2, 2))
    assert (found.images, found.accuracy) == (15, 8 / 15)
    assert found.classes[0].precision == pytest.approx(3 / 4)
    assert found.classes[3].recall == pytest.approx(2 / 5)


@pytest.mark.parametrize("sharpness", [0.5, 8.0, 60.0])
def test_the_calibration_error_is_that_of_fifteen_bins(sharpness: float, greys: Path) -> None:
    network = Scales(sharpness=sharpness)
    probabilities, truth = numbers(greys, network)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == truth
    bins = np.ceil(confidence * 15).astype(int)
    gaps = [abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean() for b in set(bins)]
    found = evaluate(network, data=str(greys))
    assert found.calibration_error == pytest.approx(sum(gaps), abs=1e-5)
    assert sum(b.images for b in found.calibration) == found.images
    assert {round(b.high * 15) for b in found.calibration if b.images} == set(bins)
    by_bin = sum(abs(b.accuracy - b.confidence) * b.images for b in found.calibration) / found.images
    assert by_bin == pytest.approx(found.calibration_error, abs=1e-5)


def test_an_answer_of_probability_1_is_in_the_last_bin(greys: Path) -> None:
    class Sure(Scales):
        """Too sure where it is wrong, and not sure enough where it is right; both in the last bin."""

        def logits(self, pixels: np.ndarray) -> np.ndarray:
            nearest = super().logits(pixels).argmax(1)
            right = np.isin(pixels.reshape(len(pixels), -1)[:, 0], (0, 10, 30, 70, 90, 180, 250, 255))
            return np.eye(4, dtype=np.float32)[nearest] * np.where(right, 4, 100).astype(np.float32)[:, None]

    found = evaluate(Sure(), data=str(greys))
    sure = np.exp(4) / (np.exp(4) + 3)
    assert [b.images for b in found.calibration] == [0] * 14 + [15]
    assert found.calibration_error == pytest.approx(abs(8 - (8 * sure + 7)) / 15, abs=1e-6)


def test_scores_that_are_no_numbers_are_an_error(greys: Path) -> None:
    with expect_error(CheckpointError, "finite"):
        evaluate(Scales(sharpness=float("nan")), data=str(greys))


@pytest.mark.parametrize(("asked", "used"), [(1, 1), (2, 2), (3, 3), (4, 3), (50, 3)])
def test_top_k_looks_among_fewer_than_all_classes(asked: int, used: int, greys: Path) -> None:
    found = evaluate(Scales(), data=str(greys), top_k=asked)
    assert found.top_k == used
    assert (found.top_k_accuracy == pytest.approx(found.accuracy)) == (used == 1)
    assert found.top_k_accuracy is not None
    assert found.top_k_accuracy < 1.0


@pytest.mark.parametrize(("size", "batches"), [(256, [15]), (4, [4, 4, 4, 3]), (1, [1] * 15)])
def test_images_go_through_in_batches_and_the_result_is_the_same(size: int, batches: list[int], greys: Path) -> None:
    network = Scales()
    found = evaluate(network, data=str(greys), batch_size=size)
    assert network.batches == batches
    assert found.confusion == evaluate(Scales(), data=str(greys)).confusion


def test_a_class_that_is_never_predicted_has_no_precision_and_recalls_nothing(greys: Path) -> None:
    blind = Scales()
    blind.logits = lambda pixels: np.tile(np.array([3, 2, 1, 0], np.float32), (len(pixels), 1))
    found = evaluate(blind, data=str(greys))
    assert found.classes[0].precision == pytest.approx(4 / 15)
    assert [c.precision for c in found.classes[1:]] == [None] * 3
    assert [c.recall for c in found.classes] == [1, 0, 0, 0]
    assert [c.f1 for c in found.classes][1:] == [0, 0, 0]


def test_a_strange_folder_counts_whole_and_its_own_only_in_the_part_held_back(
    photos: Path, photos_run: Path, tmp_path: Path
) -> None:
    own = cnnkit.evaluate(photos_run)
    assert (own.split, own.images, own.data) == ("test", 4, "photos")
    moved = Path(shutil.copytree(photos, tmp_path / "moved"))
    again = cnnkit.evaluate(photos_run, data=str(moved))
    assert (again.split, again.images) == ("test", 4)
    # Of changed folders too the images are known.
    (moved / "dark" / "00.png").unlink()
    other = cnnkit.evaluate(photos_run, data=str(moved))
    assert (other.split, other.data) == ("test", "moved")
    assert other.exposure.known
    strange = cnnkit.evaluate(photos_run, data=str(draw(tmp_path / "strange", 3)))
    assert (strange.split, strange.images, strange.data) == ("all", 6, "strange")


def test_a_folder_that_changed_since_the_training_still_holds_its_training_images_back(
    own_photos: Path, tmp_path: Path
) -> None:
    recipe = cnnkit.default_recipe("softmax-regression", data=str(own_photos), epochs=1)
    list(cnnkit.train(recipe, runs_dir=tmp_path / "runs", device="cpu"))
    run = tmp_path / "runs" / "softmax-regression-photos-1"
    shutil.copy(own_photos / "dark" / "00.png", own_photos / "dark" / "new.png")
    for found in (cnnkit.evaluate(run), cnnkit.evaluate(run, data=str(own_photos))):
        assert (found.split, found.images) == ("test", 4)


def test_a_folder_that_is_named_like_a_data_set_changes_nothing(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shapes").mkdir()
    monkeypatch.chdir(tmp_path)
    found = cnnkit.evaluate(tiny_run.resolve(), data="shapes")
    assert (found.split, found.data) == ("test", "shapes")


def test_of_a_strange_folder_with_a_test_split_that_split_counts(
    photos: Path, photos_run: Path, tmp_path: Path
) -> None:
    for split in ("train", "test"):
        shutil.copytree(photos, tmp_path / "set" / split)
    found = cnnkit.evaluate(photos_run, data=str(tmp_path / "set"))
    assert (found.split, found.images) == ("test", 20)


@pytest.mark.parametrize(("split", "images"), [("train", 12), ("validation", 4), ("test", 4), ("all", 20)])
def test_a_split_can_be_named(split: str, images: int, photos_run: Path) -> None:
    found = cnnkit.evaluate(photos_run, split=split)
    assert (found.split, found.images) == (split, images)


@pytest.mark.usefixtures("few_shapes")
def test_a_checkpoint_and_its_onnx_file_score_the_same(tiny_run: Path, tiny_onnx: Path) -> None:
    torch, onnx = cnnkit.evaluate(tiny_run, device="cpu"), cnnkit.evaluate(tiny_onnx, device="cpu")
    assert (torch.engine, onnx.engine) == ("PyTorch CPU", "onnxruntime CPU")
    assert (onnx.images, onnx.accuracy, onnx.confusion) == (30, torch.accuracy, torch.confusion)
    assert onnx.loss == pytest.approx(torch.loss, abs=1e-5)
    assert onnx.calibration_error == pytest.approx(torch.calibration_error, abs=1e-4)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (
            ("a", "b", "c"),
            ("d", "a, b and c"),
        ),
        (tuple("aBcD"), ("b and d", "a, B, c and D")),
        (tuple(map(str, range(30))), ("a, b, c and d", "20")),
    ],
)
def test_classes_that_the_network_does_not_know_are_refused(
    labels: tuple[str, ...], names: tuple[str, ...], greys: Path
) -> None:
    with expect_error(DataError, "greys", *names):
        evaluate(Scales(ModelCard("scales", labels, FORM)), data=str(greys))


class Reordered(Scales):
    """The same network with its classes in another order."""

    def __init__(self, order: str) -> None:
        super().__init__(ModelCard("scales", tuple(order), FORM))
        self.order = [LABELS.index(label) for label in order]

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        return super().logits(pixels)[:, self.order]


@pytest.mark.parametrize("order", ["dcba", "badc", "cadb"])
def test_classes_are_matched_by_name_whatever_their_order(order: str, greys: Path) -> None:
    plain, found = evaluate(Scales(), data=str(greys)), evaluate(Reordered(order), data=str(greys))
    assert (found.accuracy, found.top_k_accuracy) == (plain.accuracy, plain.top_k_accuracy)
    assert found.loss == pytest.approx(plain.loss)
    assert [c.label for c in found.classes] == list(order)
    assert {c.label: c for c in found.classes} == {c.label: c for c in plain.classes}
    places = [LABELS.index(label) for label in order]
    assert np.array_equal(np.array(found.confusion), np.array(plain.confusion)[places][:, places])


@pytest.mark.parametrize("of_folder", ["NFC", "NFD"])
@pytest.mark.parametrize("of_card", ["NFC", "NFD"])
def test_the_form_of_unicode_in_a_name_does_not_matter(of_folder: str, of_card: str, tmp_path: Path) -> None:
    for label, level in (("café", 0), ("thé", 255)):
        folder = tmp_path / "drinks" / normalize(of_folder, label)
        folder.mkdir(parents=True)
        for index in range(3):
            Image.new("L", (2, 2), abs(level - index)).save(folder / f"{index}.png")
    labels = (normalize(of_card, "café"), normalize(of_card, "thé"))
    found = evaluate(Scales(ModelCard("scales", labels, FORM)), data=str(tmp_path / "drinks"))
    assert (found.images, found.accuracy) == (6, 1.0)
    assert tuple(c.label for c in found.classes) == labels


def test_of_a_folder_with_some_of_the_classes_these_are_measured(greys: Path, tmp_path: Path) -> None:
    for label in ("c", "a"):
        shutil.copytree(greys / label, tmp_path / "some" / label)
    found, plain = evaluate(Scales(), data=str(tmp_path / "some")), evaluate(Scales(), data=str(greys))
    assert "there are no images of b and d in some; the other classes are measured" in found.warnings
    assert found.confusion == (plain.confusion[0], (0, 0, 0, 0), plain.confusion[2], (0, 0, 0, 0))
    assert [c.support for c in found.classes] == [4, 0, 3, 0]
    assert [c.recall for c in found.classes] == [plain.classes[0].recall, None, plain.classes[2].recall, None]
    assert [c.f1 is None for c in found.classes] == [False, True, False, True]


# What the network has seen of the images.


def draw(folder: Path, each: int, seed: int = 5) -> Path:
    """Draw images of the classes of `photos` that are not among them."""
    rng = np.random.default_rng(seed)
    for label, level in (("dark", 50), ("light", 205)):
        (folder / label).mkdir(parents=True)
        for index in range(each):
            pixels = rng.normal(level, 20, (10, 12, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"new-{index}.png")
    return folder


def names_of(run: Path, part: str) -> list[str]:
    with (run / "split.csv").open(encoding="utf-8", newline="") as file:
        return [row["image"] for row in csv.DictReader(file) if row["split"] == part]


@pytest.mark.parametrize(
    ("split", "trained", "validated", "said"),
    [
        (None, 0, 0, ()),
        ("test", 0, 0, ()),
        ("validation", 0, 4, ("chosen on all of these 4 images",)),
        ("train", 12, 0, ("trained on all of these 12 images",)),
        ("all", 12, 4, ("trained on 12 of these 20 images", "chosen on 4 of these 20 images")),
    ],
)
def test_what_the_network_has_seen_of_its_own_data_is_known(
    split: str | None,
    trained: int,
    validated: int,
    said: tuple[str, ...],
    photos_run: Path,
    photos_onnx: Path,
    photos: Path,
) -> None:
    for reference, data in ((photos_run, None), (photos_run, str(photos)), (photos_onnx, None)):
        found = cnnkit.evaluate(reference, data=data, split=split)
        assert found.exposure == Exposure(True, trained, validated, "none")
        assert found.exposure.unseen == (not trained and not validated)
        assert len(found.warnings) == len(said)
        assert all(words in warning for words, warning in zip(said, found.warnings, strict=True))


def test_a_folder_without_any_of_its_images_is_proven_to_be_unseen(photos_run: Path, tmp_path: Path) -> None:
    found = cnnkit.evaluate(photos_run, data=str(draw(tmp_path / "strange", 4)))
    assert (found.split, found.images) == ("all", 8)
    assert found.exposure == Exposure(True, 0, 0, "none")
    assert found.exposure.unseen
    assert found.warnings == ()


def test_images_of_the_training_are_counted_in_any_folder(photos_run: Path, photos: Path, tmp_path: Path) -> None:
    folder = draw(tmp_path / "mixed", 4)
    for part, count in (("train", 3), ("validation", 2), ("test", 1)):
        for index, name in enumerate(names_of(photos_run, part)[:count]):
            shutil.copy(photos / name, folder / Path(name).parent / f"{part}-{index}.png")
    found = cnnkit.evaluate(photos_run, data=str(folder), split="all")
    assert (found.images, found.exposure) == (14, Exposure(True, 3, 2, "none"))
    assert not found.exposure.unseen
    assert any("was trained on 3 of these 14 images" in warning for warning in found.warnings)
    # Its own split is no fair one, but fairer than everything.
    assert cnnkit.evaluate(photos_run, data=str(folder)).split == "test"


def test_images_that_chose_the_best_epoch_are_no_fair_test(photos_run: Path, photos: Path, tmp_path: Path) -> None:
    folder = draw(tmp_path / "mixed", 4)
    name, *_ = names_of(photos_run, "validation")
    shutil.copy(photos / name, folder / Path(name).parent / "another.png")
    found = cnnkit.evaluate(photos_run, data=str(folder), split="all")
    assert found.exposure == Exposure(True, 0, 1, "none")
    assert not found.exposure.unseen
    assert found.warnings == ("the network's best epoch was chosen on 1 of these 9 images",)


def test_of_a_file_without_its_list_and_its_data_nothing_is_known(photos_onnx: Path, tmp_path: Path) -> None:
    found = cnnkit.evaluate(photos_onnx, data=str(draw(tmp_path / "strange", 4)))
    assert (found.split, found.exposure.known, found.exposure.unseen) == ("all", False, False)
    assert [warning for warning in found.warnings if "split.csv" in warning]
    # A folder of the same name may be the one of the training, with images added since.
    found = cnnkit.evaluate(photos_onnx, data=str(draw(tmp_path / "photos", 10)))
    assert (found.split, found.images, found.exposure.known) == ("test", 4, False)
    assert [warning for warning in found.warnings if "split.csv" in warning]


@pytest.mark.usefixtures("few_shapes")
def test_pixels_and_files_cannot_be_compared(tiny_run: Path, tmp_path: Path) -> None:
    own = cnnkit.evaluate(tiny_run)
    assert (own.split, own.exposure) == ("test", Exposure(True, 0, 0, "none"))
    images, targets = draw_shapes(20, seed=0)
    for index, (image, target) in enumerate(zip(images, targets, strict=True)):
        folder = tmp_path / "drawn" / own.classes[target].label
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{index}.png")
    found = cnnkit.evaluate(tiny_run, data=str(tmp_path / "drawn"))
    assert (found.split, found.images) == ("all", 60)
    assert (found.exposure.known, found.exposure.unseen) == (False, False)
    assert [warning for warning in found.warnings if "trained on shapes" in warning]


def test_without_a_test_set_the_validation_split_counts_with_a_warning(photos: Path, tmp_path: Path) -> None:
    recipe = cnnkit.default_recipe("softmax-regression", data=str(photos), epochs=1, test_fraction=0)
    list(cnnkit.train(recipe, runs_dir=tmp_path, device="cpu"))
    run = tmp_path / "softmax-regression-photos-1"
    found = cnnkit.evaluate(run)
    assert (found.split, found.images, found.exposure) == ("validation", 4, Exposure(True, 0, 4, "none"))
    assert found.warnings == (
        "there is no test set in photos; these are validation figures: the images chose the best epoch",
    )
    with expect_error(DataError, "photos", "--split", "train", "validation"):
        cnnkit.evaluate(run, split="test")


def test_warnings_come_while_it_loads_too(photos_run: Path) -> None:
    steps = cnnkit.evaluate.steps(photos_run, split="train")
    said = [step for step in steps if isinstance(step, Notice)]
    assert [note.warning for note in said] == [True]
    assert said[0].text.startswith("the network was trained on all of these 12 images")


def test_a_network_that_does_not_say_its_data_needs_to_be_told() -> None:
    with expect_error(DataError, "--data"):
        evaluate(Scales())


def test_data_is_split_as_the_card_says_it_was_in_training(greys: Path) -> None:
    card = ModelCard("scales", LABELS, FORM, recipe={"data": str(greys), "seed": 3, "test_fraction": 0.5})
    half = evaluate(Scales(card), split="test")
    fifth = evaluate(Scales(replace(card, recipe={"data": str(greys), "seed": 3})), split="test")
    assert fifth.images == 4
    assert half.images > 4


def test_a_split_that_nobody_knows_is_wrong_usage(greys: Path) -> None:
    from cnnkit.errors import UsageError

    with expect_error(UsageError, "tset"):
        evaluate(Scales(), data=str(greys), split="tset")


def test_two_classes_have_no_top_k(photos: Path) -> None:
    card = ModelCard("scales", ("dark", "light"), FORM)
    found = evaluate(Scales(card), data=str(photos), split="all")
    assert (found.top_k, found.top_k_accuracy) == (None, None)


def test_a_class_without_images_in_the_split_has_no_recall(tmp_path: Path) -> None:
    labels = np.array([0, 0, 1, 2, 3, 4, 5, 6, 7, 8], np.uint8)
    # Grey as the class that each is, and one 0 as a 9, of which there are none.
    levels = np.array([0, 255, *(255 / 9 * labels[2:])]).round().astype(np.uint8)
    images = np.broadcast_to(levels[:, None, None], (10, 28, 28))
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name in ("train", "t10k"):
        (folder / f"{name}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, 10, 28, 28) + images.tobytes())
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, 10) + labels.tobytes())
    card = ModelCard("scales", tuple("0123456789"), Preprocessing(1, 28, 28, (0.0,), (1.0,)))
    found = evaluate(Scales(card), data="mnist", data_dir=tmp_path, split="test").classes
    assert [(row.precision, row.recall, row.f1, row.support) for row in found[:2]] == [
        (1, 0.5, pytest.approx(2 / 3), 2),
        (1, 1, 1, 1),
    ]
    assert (found[9].precision, found[9].recall, found[9].f1, found[9].support) == (0, None, None, 0)


def test_images_that_were_saved_anew_are_not_said_to_be_unseen(own_photos: Path, tmp_path: Path) -> None:
    recipe = cnnkit.default_recipe("softmax-regression", data=str(own_photos), epochs=1)
    list(cnnkit.train(recipe, runs_dir=tmp_path / "runs", device="cpu"))
    run = tmp_path / "runs" / "softmax-regression-photos-1"
    assert cnnkit.evaluate(run).exposure.unseen
    for file in own_photos.rglob("*.png"):
        with Image.open(file) as image:
            image.load()
        image.save(file, compress_level=0)
    for found in (cnnkit.evaluate(run), cnnkit.evaluate(run, data=str(own_photos))):
        # Another split than that of the training: what it holds may have been trained on.
        assert (found.split, found.images) == ("test", 4)
        assert not found.exposure.unseen
    everything = cnnkit.evaluate(run, data=str(own_photos), split="all")
    assert (everything.exposure.trained, everything.exposure.changed) == (0, 16)
    assert any("saved anew" in warning for warning in everything.warnings)


def test_a_folder_of_one_class_is_measured(photos_run: Path, tmp_path: Path) -> None:
    shutil.copytree(draw(tmp_path / "both", 4) / "light", tmp_path / "one" / "light")
    found = cnnkit.evaluate(photos_run, data=str(tmp_path / "one"))
    assert (found.images, [row.support for row in found.classes]) == (4, [0, 4])
