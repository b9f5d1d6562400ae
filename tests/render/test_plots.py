"""Plots: PNG files that show something, whole or not there."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnkit.errors import OutputError
from cnnkit.evaluation.results import Evaluation
from cnnkit.render import plots
from cnnkit.runtime.results import Benchmark
from cnnkit.training.results import EpochRecord
from tests.expecting import expect_error

Make = Callable[..., Evaluation]


def records(count: int) -> list[EpochRecord]:
    return [
        EpochRecord(
            epoch, 1 / epoch, 1 - 0.5 / epoch, 1.2 / epoch, 1 - 0.6 / epoch, 0.1, 2.0, 500.0, epoch in {1, count}
        )
        for epoch in range(1, count + 1)
    ]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"), np.int16)


def has_colour(image: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((np.abs(image - colour).max(2) < 12).sum() > 30)


@pytest.mark.parametrize("count", [1, 2, 40])
def test_curves_show_training_validation_and_the_best_epoch(count: int, tmp_path: Path) -> None:
    plots.curves(records(count), tmp_path / "curves.png", title="net on photos")
    image = pixels(tmp_path / "curves.png")
    height, width, _ = image.shape
    assert (width, height) == (1296, 518)
    for half in (image[:, : width // 2], image[:, width // 2 :]):
        assert has_colour(half, (0x8A, 0x8F, 0x98))
        assert has_colour(half, (0x16, 0x68, 0xB8))
        assert has_colour(half, (0xC2, 0x41, 0x0C))
    assert list(tmp_path.iterdir()) == [tmp_path / "curves.png"]


def test_the_same_records_give_the_same_picture(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        plots.curves(records(3), tmp_path / name, title="net")
    np.testing.assert_array_equal(pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png"))


def test_the_confusion_matrix_shows_what_is_right_and_what_is_wrong_most_often(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    plots.confusion(evaluation, tmp_path / "confusion.png")
    image = pixels(tmp_path / "confusion.png")
    assert image.std() > 20
    for colour in ("#1668b8", "#b93a0b", "#ffffff"):
        assert has_colour(image, tuple(bytes.fromhex(colour[1:])))


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 12, 31])
def test_any_number_of_classes_is_drawn(classes: int, tmp_path: Path, make_evaluation: Make) -> None:
    plots.confusion(make_evaluation(tuple(f"class {index}" for index in range(classes))), tmp_path / "c.png")
    assert pixels(tmp_path / "c.png").std() > 5


def test_a_class_without_images_is_drawn(evaluation: Evaluation, tmp_path: Path) -> None:
    empty = Evaluation(**{**vars(evaluation), "confusion": ((5, 0, 0), (0, 0, 0), (0, 0, 5))})
    plots.confusion(empty, tmp_path / "c.png")
    assert pixels(tmp_path / "c.png").std() > 5


@pytest.mark.parametrize(
    "label",
    [
        "50% [old]",
        "a_{b}^c\\",
        "$5_$",
        "東京",
    ],
)
def test_labels_are_drawn_whatever_they_say(label: str, tmp_path: Path, make_evaluation: Make) -> None:
    plots.confusion(make_evaluation((label, "other")), tmp_path / "c.png")
    assert pixels(tmp_path / "c.png").std() > 5


def test_a_plot_that_cannot_be_written_is_an_output_error(evaluation: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with expect_error(OutputError, "c.png"):
        plots.confusion(evaluation, tmp_path / "file" / "c.png")
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize("kind", ["alone", "torch", "gpu", "models"])
def test_a_benchmark_has_a_line_for_each_contender_on_both_sides(
    kind: str, tmp_path: Path, make_benchmark: Callable[..., Benchmark]
) -> None:
    found = make_benchmark(kind)
    plots.benchmark(found, tmp_path / "b.png")
    image = pixels(tmp_path / "b.png")
    lines = {(row.model, row.engine, row.device) for row in found.measurements}
    for half in (image[:, : image.shape[1] // 2], image[:, image.shape[1] // 2 :]):
        for colour in plots.LINES[: len(lines)]:
            assert has_colour(half, tuple(bytes.fromhex(colour[1:])))


def test_one_batch_size_is_drawn(tmp_path: Path, make_benchmark: Callable[..., Benchmark]) -> None:
    found = make_benchmark("torch")
    one = tuple(row for row in found.measurements if row.batch == 32)
    plots.benchmark(Benchmark(**{**vars(found), "measurements": one}), tmp_path / "b.png")
    assert has_colour(pixels(tmp_path / "b.png"), (0x16, 0x68, 0xB8))
