"""Images of nothing, as `cnnkit predict` sees their files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import cnnkit
from cnnkit.card import ModelCard
from cnnkit.errors import OnnxError
from cnnkit.images import Preprocessing
from cnnkit.pictures import Pixels, decode
from cnnkit.progress import WorkProgress
from cnnkit.robustness.fooling import fooling_search
from cnnkit.robustness.gradients import PixelNetwork
from cnnkit.robustness.results import FoolingImage, FoolingSearch
from cnnkit.robustness.subject import safe_names
from cnnkit.runtime.classifier import Classifier
from cnnkit.zoo import folder
from tests.expecting import expect_error

ZOO = {"gradient": "mnist-cnn", "evolution": str(folder() / "mnist-cnn-mnist" / "model.onnx")}


def fooling(ref: str | Path, **options: Any) -> FoolingSearch:
    found = cnnkit.attack(ref, only=["fooling"], device="cpu", **options).fooling
    assert found is not None
    return found


@pytest.mark.parametrize("method", ZOO)
def test_all_ten_digits_come_from_noise_and_predict_agrees(
    method: str, tmp_path: Path, cli: Callable[..., Any]
) -> None:
    found = fooling(ZOO[method], output=tmp_path)
    assert (found.method, found.fooled, found.confidence) == (method, 10, 0.99)
    assert [image.label for image in found.images] == list("0123456789")
    answer = cli("predict", *[image.image for image in found.images], "--model", "mnist-cnn", "--json")
    seen = json.loads(answer.stdout)["data"]["predictions"]
    assert [prediction["scores"][0]["label"] for prediction in seen] == list("0123456789")
    assert min(prediction["scores"][0]["probability"] for prediction in seen) >= 0.99
    assert all(prediction["steps"] == [] for prediction in seen)
    for image in found.images:
        assert image.image == tmp_path / "fooling" / f"{image.label}.png"
        pixels = np.asarray(decode(image.image)[0])[4:24, 4:24]
        assert np.abs(np.diff(pixels.astype(int))).mean() > 30, "this is no noise"


def test_the_same_seed_gives_the_same_files(tmp_path: Path, photos_onnx: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        fooling(photos_onnx, output=tmp_path / name, seed=seed)
    first, again, other = ((tmp_path / name / "fooling" / "dark.png").read_bytes() for name in "abc")
    assert first == again != other


def test_without_a_folder_nothing_is_kept(photos_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = fooling(photos_run)
    assert found.fooled == 2
    assert [image.image for image in found.images] == [None, None]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (("cat", "t-shirt", "ankle boot"), ["cat", "t-shirt", "ankle-boot"]),
        (("東京", "Zürich"), ["東京", "Zürich"]),
        (("a/b", "a b"), ["class-0", "class-1"]),
        (("cat", "Cat"), ["class-0", "class-1"]),
        (("..", "x"), ["class-0", "class-1"]),
        (("x" * 61, "y"), ["class-0", "class-1"]),
    ],
    ids=str,
)
def test_files_are_named_by_their_classes_where_that_goes(labels: tuple[str, ...], names: list[str]) -> None:
    assert safe_names(labels) == names


def test_each_image_is_told_when_it_is_there(photos_onnx: Path, tmp_path: Path) -> None:
    classifier = cnnkit.load(photos_onnx)
    steps = fooling_search(classifier, None, seed=0, folder=tmp_path)
    found = next(step for step in steps if isinstance(step, FoolingImage))
    assert [path.stem for path in (tmp_path / "fooling").iterdir()] == [found.label]
    assert found.image is not None
    assert classifier.predict([found.image])[0].label == found.label
    assert next(steps) == WorkProgress("drawing fooling images", 1, 2)


def test_scores_that_are_no_numbers_are_said() -> None:
    form = Preprocessing(1, 8, 8, (0.0,), (1.0,))
    card = ModelCard(model="own:net", labels=("dark", "light"), preprocessing=form)

    class Nothing:
        engine = "numpy"

        def __init__(self) -> None:
            self.card = card

        def logits(self, pixels: Pixels) -> NDArray[np.float32]:
            return np.full((len(pixels), 2), np.nan, np.float32)

    with expect_error(OnnxError, "net", "finite"):
        list(fooling_search(Classifier(Nothing(), "net"), None, seed=0, folder=None))


def test_a_search_ends_with_its_best_image_where_no_gradient_leads_up() -> None:
    form = Preprocessing(1, 8, 8, (0.0,), (1.0,))

    class Same:
        card = ModelCard(model="own:net", labels=("dark", "light"), preprocessing=form)
        engine = "numpy"

        def logits(self, pixels: Pixels) -> NDArray[np.float32]:
            return np.float32([[0, 1]] * len(pixels))

    class Root(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            return (0 * pixels.flatten(1)[:, :2]).sqrt()  # a slope of 0 · ∞

    pixels = PixelNetwork(Root(), form, torch.device("cpu"))
    steps = list(fooling_search(Classifier(Same(), "net"), pixels, seed=0, folder=None))
    found = [step for step in steps if isinstance(step, FoolingImage)]
    assert [(image.taken_for, image.steps) for image in found] == [("light", 0)] * 2
    assert len(steps) == 4
