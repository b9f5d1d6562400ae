"""Exported networks to plant faults into."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

import cnnkit
from cnnkit.card import ModelCard
from cnnkit.exporting.results import Verification
from cnnkit.images import Preprocessing
from cnnkit.models import networks
from cnnkit.sources import create_model

Edit = Callable[[onnx.ModelProto], object]
LENET = Preprocessing(1, 28, 28, (0.3,), (0.25,))
COLOUR = {"mean": (0.4, 0.5, 0.55), "std": (0.2, 0.25, 0.3)}


def _save(model: str, form: Preprocessing, path: Path, photos: Path) -> Path:
    """Write a checkpoint of a network with random weights and batch statistics, that says it saw `photos`."""
    torch.manual_seed(4)
    network = create_model(model, 2).eval()
    for parameter in map(torch.Tensor.detach, network.parameters()):
        # So large that no layer leaves the next one without anything to tell images apart by.
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter).mul_(2)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low in ((module.running_mean, -0.5), (module.running_var, 0.5), (module.weight.data, 0.5)):
                values.uniform_(low, low + 1)
    card = ModelCard(
        model=model,
        labels=("dark", "light"),
        preprocessing=form,
        dataset="photos",
        recipe={"model": model, "data": str(photos)},
    )
    networks.save_checkpoint(path, network, card)
    return path


@pytest.fixture(scope="session")
def checkpoints(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of `<network>.safetensors` with `<network>.onnx` beside it, and `raw.onnx` of lenet."""
    folder = tmp_path_factory.mktemp("checkpoints")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent.parent / "nets")
        for model, form in (
            ("lenet", LENET),
            ("cifar-resnet", Preprocessing(3, 32, 32, **COLOUR)),
            ("tinynets:Parallel", Preprocessing(3, 8, 8, **COLOUR)),
        ):
            path = _save(model, form, folder / f"{model.rpartition(':')[2]}.safetensors", photos)
            cnnkit.export(path, trust_code=True)
    cnnkit.export(folder / "lenet.safetensors", folder / "raw.onnx", raw_input=True)
    return folder


@pytest.fixture
def planted(checkpoints: Path, tmp_path: Path) -> Callable[..., Verification]:
    """Verify an edited copy of an exported network: `planted("lenet", edit)`.

    `named=False` takes the names of the layers off the nodes first, as files of other exporters have none.
    """

    def verify(name: str, edit: Edit, *, named: bool = True, reference: str = "") -> Verification:
        model = onnx.load(checkpoints / f"{name}.onnx")
        for node in model.graph.node:
            if not named:
                node.ClearField("metadata_props")
        edit(model)
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(model.SerializeToString())
        before = path.read_bytes()
        against = checkpoints / f"{reference or name}.safetensors"
        found = cnnkit.verify(path, against=against, split="all", device="cpu", trust_code=True)
        assert found.passed or path.read_bytes() == before
        return found

    return verify


@pytest.fixture
def set_weight() -> Callable[..., Edit]:
    """An edit of one tensor: `set_weight("network.fc.bias", function of its values)`."""

    def make(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Edit:
        def edit(model: onnx.ModelProto) -> None:
            tensor = next(t for t in model.graph.initializer if t.name == name)
            values = change(numpy_helper.to_array(tensor).copy())
            tensor.CopyFrom(numpy_helper.from_array(values, name))

        return edit

    return make


@pytest.fixture
def set_attribute() -> Callable[..., Edit]:
    """An edit of attributes of the nth node of a type: `set_attribute("Conv", 1, strides=[2, 2])`."""

    def make(kind: str, number: int, **values: object) -> Edit:
        def edit(model: onnx.ModelProto) -> None:
            node = [n for n in model.graph.node if n.op_type == kind][number]
            kept = [a for a in node.attribute if a.name not in values]
            del node.attribute[:]
            node.attribute.extend([*kept, *(onnx.helper.make_attribute(n, v) for n, v in values.items())])

        return edit

    return make


@pytest.fixture
def set_card() -> Callable[..., Edit]:
    """An edit of the card's preprocessing: `set_card(mean=(0.1,))`."""

    def make(**values: object) -> Edit:
        def edit(model: onnx.ModelProto) -> None:
            entry = next(e for e in model.metadata_props if e.key == "cnnkit.card")
            card = ModelCard.from_metadata({e.key: e.value for e in model.metadata_props}, "test")
            assert card is not None
            entry.value = replace(card, preprocessing=replace(card.preprocessing, **values)).to_json()

        return edit

    return make
