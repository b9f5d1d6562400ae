"""Scores, against numbers worked out by hand and by numpy, and which images of which data they are taken on."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnkit import api
from cnnkit.card import ModelCard
from cnnkit.errors import CheckpointError, DataError
from cnnkit.images import Preprocessing
from cnnkit.results import Evaluation, result_of
from cnnkit.training.evaluation import evaluate_network

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
    return result_of(evaluate_network(network, "it", **options))


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
    with pytest.raises(CheckpointError, match="it gives scores that are not finite numbers"):
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
    own = api.evaluate(photos_run)
    assert (own.split, own.images, own.data) == ("test", 4, "photos")
    moved = Path(shutil.copytree(photos, tmp_path / "moved"))
    again = api.evaluate(photos_run, data=str(moved))
    assert (again.split, again.images) == ("test", 4)
    (moved / "dark" / "00.png").unlink()
    other = api.evaluate(photos_run, data=str(moved))
    assert (other.split, other.images, other.data) == ("all", 19, "moved")


def test_a_folder_that_changed_since_the_training_still_holds_its_training_images_back(
    own_photos: Path, tmp_path: Path
) -> None:
    recipe = api.default_recipe("softmax-regression", data=str(own_photos), epochs=1)
    list(api.train(recipe, runs_dir=tmp_path / "runs", device="cpu"))
    run = tmp_path / "runs" / "softmax-regression-photos-1"
    shutil.copy(own_photos / "dark" / "00.png", own_photos / "dark" / "new.png")
    for found in (api.evaluate(run), api.evaluate(run, data=str(own_photos))):
        assert (found.split, found.images) == ("test", 4)


def test_a_folder_that_is_named_like_a_data_set_changes_nothing(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shapes").mkdir()
    monkeypatch.chdir(tmp_path)
    found = api.evaluate(tiny_run.resolve(), data="shapes")
    assert (found.split, found.data) == ("test", "shapes")


def test_of_a_strange_folder_with_a_test_split_that_split_counts(
    photos: Path, photos_run: Path, tmp_path: Path
) -> None:
    for split in ("train", "test"):
        shutil.copytree(photos, tmp_path / "set" / split)
    found = api.evaluate(photos_run, data=str(tmp_path / "set"))
    assert (found.split, found.images) == ("test", 20)


@pytest.mark.parametrize(("split", "images"), [("train", 12), ("validation", 4), ("test", 4), ("all", 20)])
def test_a_split_can_be_named(split: str, images: int, photos_run: Path) -> None:
    found = api.evaluate(photos_run, split=split)
    assert (found.split, found.images) == (split, images)


@pytest.mark.usefixtures("few_shapes")
def test_a_checkpoint_and_its_onnx_file_score_the_same(tiny_run: Path, tiny_onnx: Path) -> None:
    torch, onnx = api.evaluate(tiny_run, device="cpu"), api.evaluate(tiny_onnx, device="cpu")
    assert (torch.engine, onnx.engine) == ("PyTorch CPU", "onnxruntime CPU")
    assert (onnx.images, onnx.accuracy, onnx.confusion) == (30, torch.accuracy, torch.confusion)
    assert onnx.loss == pytest.approx(torch.loss, abs=1e-5)
    assert onnx.calibration_error == pytest.approx(torch.calibration_error, abs=1e-4)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("a", "b", "c"), "greys has the classes a, b, c, d; the network knows a, b, c"),
        (("d", "c", "b", "a"), "the network knows d, c, b, a"),
        (tuple(map(str, range(30))), "the network knows 0, 1, .*9 …"),
    ],
)
def test_other_classes_are_refused(labels: tuple[str, ...], message: str, greys: Path) -> None:
    with pytest.raises(DataError, match=message):
        evaluate(Scales(ModelCard("scales", labels, FORM)), data=str(greys))


def test_a_network_that_does_not_say_its_data_needs_to_be_told() -> None:
    with pytest.raises(DataError, match="Name a data set with --data"):
        evaluate(Scales())


def test_data_is_split_as_the_card_says_it_was_in_training(greys: Path) -> None:
    card = ModelCard("scales", LABELS, FORM, recipe={"data": str(greys), "seed": 3, "test_fraction": 0.5})
    half = evaluate(Scales(card), split="test")
    fifth = evaluate(Scales(replace(card, recipe={"data": str(greys), "seed": 3})), split="test")
    assert fifth.images == 4
    assert half.images > 4


def test_a_split_that_nobody_knows_is_wrong_usage(greys: Path) -> None:
    from cnnkit.errors import UsageError

    with pytest.raises(UsageError, match="tset"):
        evaluate(Scales(), data=str(greys), split="tset")
