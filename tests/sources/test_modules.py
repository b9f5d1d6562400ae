"""From Python, an `nn.Module` is taken wherever a reference is."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import cnnkit
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.images import Preprocessing
from cnnkit.sources import find

FORM = Preprocessing(3, 10, 12, (0.5,) * 3, (0.25,) * 3)
LABELS = ["dark", "light"]


class Brightness(nn.Module):
    """Tells light images from dark ones; keeps what images it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3, padding=1)
        self.drop = nn.Dropout(0.5)
        with torch.no_grad():
            self.conv.weight.zero_()
            self.conv.bias.zero_()
            self.conv.weight[0, :, 1, 1], self.conv.weight[1, :, 1, 1] = -1.0, 1.0

    def forward(self, images: Tensor) -> Tensor:
        return self.drop(self.conv(images)).mean((2, 3))


@pytest.fixture
def module() -> nn.Module:
    return Brightness().train()


def state(module: nn.Module) -> list[object]:
    return [module.training, *(tensor.tolist() for tensor in module.state_dict().values()), len(module._forward_hooks)]


SAID = {"labels": LABELS, "preprocessing": FORM}


@pytest.mark.parametrize(
    "call",
    [
        lambda m, photos, out: (
            cnnkit.load(m, device="cpu", **SAID).predict([photos / "light" / "00.png"])[0].label == "light"
        ),
        lambda m, photos, out: cnnkit.evaluate(m, data=str(photos), device="cpu", **SAID).accuracy == 1.0,
        lambda m, photos, out: cnnkit.find_mistakes(m, data=str(photos), device="cpu", **SAID).images == 20,
        lambda m, photos, out: cnnkit.explain(photos / "dark" / "00.png", m, device="cpu", **SAID).layers,
        lambda m, photos, out: (
            cnnkit.attack(m, data=str(photos), only=["fgsm"], epsilons=[0.5], device="cpu", **SAID).accuracy == 1.0
        ),
        lambda m, photos, out: cnnkit.summarize(m, shape=(3, 10, 12)).parameters == 56,
        lambda m, photos, out: cnnkit.export(m, out / "m.onnx", **SAID).certificate.passed,
        lambda m, photos, out: (
            cnnkit.report(
                m,
                without=["corruptions", "attacks", "benchmark"],
                data=str(photos),
                device="cpu",
                output=out / "report.html",
                **SAID,
            ).evaluation.accuracy
            == 1.0
        ),
    ],
    ids=["load", "evaluate", "mistakes", "explain", "attack", "summarize", "export", "report"],
)
def test_a_function_takes_a_module_and_leaves_it_as_it_was(
    call: Callable[..., object], module: nn.Module, photos: Path, tmp_path: Path
) -> None:
    before = state(module)
    assert call(module, photos, tmp_path)
    assert state(module) == before


def test_the_page_of_a_module_has_no_command_that_would_not_work(
    module: nn.Module, photos: Path, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    skipped = ["mistakes", "corruptions", "attacks", "parity", "benchmark", "layers"]
    cnnkit.report(module, without=skipped, data=str(photos), device="cpu", output=page, **SAID)
    assert "cnnkit.load(module" in page.read_text("utf-8")
    assert "cnnkit predict" not in page.read_text("utf-8")


def test_two_modules_of_one_class_are_measured_as_two(module: nn.Module) -> None:
    before = state(module)
    found = cnnkit.benchmark(
        module, Brightness(), shape=(3, 10, 12), devices=["cpu"], batches=[1], threads=[1], seconds=0.05
    )
    assert len({row.model for row in found.measurements}) == 2
    assert state(module) == before


def test_a_file_is_verified_against_the_module_that_it_was_made_of(
    module: nn.Module, photos: Path, tmp_path: Path
) -> None:
    file = cnnkit.export(module, tmp_path / "m.onnx", **SAID).path
    card = cnnkit.load(file, device="cpu").card
    against = find(module, card=card)
    assert cnnkit.verify(file, against=against, data=str(photos), device="cpu").passed
    assert cnnkit.load(module, card=card, device="cpu").card.labels == ("dark", "light")
    with torch.no_grad():
        module.conv.weight.neg_()
    assert not cnnkit.verify(file, against=find(module, card=card), data=str(photos), device="cpu").passed


def test_a_card_of_a_module_names_no_network_that_others_would_build(module: nn.Module, tmp_path: Path) -> None:
    card = cnnkit.load(module, device="cpu", **SAID).card
    with pytest.raises(CnnkitError):
        find(card.model)


def test_the_size_alone_is_enough_and_what_was_guessed_is_said(module: nn.Module) -> None:
    found = cnnkit.load(module, input_shape=(3, 10, 12), device="cpu")
    assert found.card.labels == ("0", "1")
    assert len(found.assumptions) == 2
    named = cnnkit.load(module, input_shape=(3, 10, 12), mean=[0.5] * 3, std=[0.25] * 3, labels=LABELS, device="cpu")
    assert named.card.preprocessing.mean == (0.5,) * 3
    pixels = np.full((10, 12, 3), 250, np.uint8)
    assert named.predict([pixels])[0].label == "light"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({}, "does not say what images it takes"),
        ({"labels": LABELS}, "does not say what images it takes"),
        ({"labels": ["a", "b", "c"], "preprocessing": FORM}, "3 labels"),
        ({"preprocessing": FORM, "mean": [0.5] * 3}, "leave out mean"),
        ({"input_shape": (3, 10, 12), "scores": "softmax"}, "leave out scores"),
        ({"input_shape": (3, 10, 12), "mean": [0.5]}, "mean and std need 3 values"),
        ({"input_shape": (1, 10, 12)}, "cannot take images of 1×10×12"),
    ],
)
def test_what_is_said_wrongly_is_refused(module: nn.Module, said: dict[str, object], message: str) -> None:
    with pytest.raises(CnnkitError, match=message):
        cnnkit.load(module, device="cpu", **said)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Sequential(Brightness(), nn.Softmax(1)), "its output is probabilities"),
        (nn.Conv2d(3, 2, 3), "expected logits"),
    ],
)
def test_a_module_that_gives_no_logits_is_refused(network: nn.Module, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        cnnkit.evaluate(network, data="shapes", **SAID)


def test_what_needs_a_name_says_so(module: nn.Module) -> None:
    for call in (cnnkit.default_recipe, lambda m: list(cnnkit.train(m)), lambda m: cnnkit.evaluate(m, untrained=True)):
        with pytest.raises(UsageError, match=r"package\.module:factory"):
            call(module)
    for call in (cnnkit.tune, lambda m: cnnkit.serve([m]), cnnkit.verify):
        with pytest.raises(CnnkitError, match="Export it first"):
            call(module)


def test_lazy_layers_are_made_for_the_images() -> None:
    network = nn.Sequential(nn.Flatten(), nn.LazyLinear(2))
    assert cnnkit.load(network, device="cpu", **SAID).card.labels == ("dark", "light")
    assert isinstance(network[1].weight, nn.UninitializedParameter)


def test_an_open_classifier_is_a_source_too(photos_onnx: Path, tiny_run: Path, tmp_path: Path) -> None:
    onnx, torch_run = cnnkit.load(photos_onnx, device="cpu"), cnnkit.load(tiny_run, device="cpu")
    assert cnnkit.load(onnx) is onnx
    assert cnnkit.export(torch_run, tmp_path / "again.onnx").certificate.passed
    with pytest.raises(UsageError, match="open already"):
        cnnkit.load(onnx, device="cuda")
    with pytest.raises(UsageError, match="is an ONNX file already"):
        cnnkit.export(onnx, tmp_path / "x.onnx")
