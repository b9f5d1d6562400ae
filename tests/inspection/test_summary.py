"""The summary: layers, shapes and counts as the references give them, and a network that is left as it was."""

from pathlib import Path

import pytest
import torch
from torch import nn

from cnnkit.errors import CheckpointError, UnknownNameError, UsageError
from cnnkit.inspection.summary import summarize, summarize_module
from cnnkit.registry import models
from cnnkit.results import LayerRow, ModelSummary

LENET = """
conv1 Conv2d 6×28×28 156 117600
sigmoid1 Sigmoid 6×28×28 0 0
pool1 MaxPool2d 6×14×14 0 0
conv2 Conv2d 16×10×10 2416 240000
sigmoid2 Sigmoid 16×10×10 0 0
pool2 MaxPool2d 16×5×5 0 0
flatten Flatten 400 0 0
fc1 Linear 120 48120 48000
sigmoid3 Sigmoid 120 0 0
fc2 Linear 84 10164 10080
sigmoid4 Sigmoid 84 0 0
fc3 Linear 10 850 840
"""
ALEXNET = """
conv1 Conv2d 96×54×54 11712 33872256
relu1 ReLU 96×54×54 0 0
pool1 MaxPool2d 96×26×26 0 0
conv2 Conv2d 256×26×26 614656 415334400
relu2 ReLU 256×26×26 0 0
pool2 MaxPool2d 256×12×12 0 0
conv3 Conv2d 384×12×12 885120 127401984
relu3 ReLU 384×12×12 0 0
conv4 Conv2d 384×12×12 1327488 191102976
relu4 ReLU 384×12×12 0 0
conv5 Conv2d 256×12×12 884992 127401984
relu5 ReLU 256×12×12 0 0
pool3 MaxPool2d 256×5×5 0 0
flatten Flatten 6400 0 0
fc1 Linear 4096 26218496 26214400
relu6 ReLU 4096 0 0
dropout1 Dropout 4096 0 0
fc2 Linear 4096 16781312 16777216
relu7 ReLU 4096 0 0
dropout2 Dropout 4096 0 0
fc3 Linear 10 40970 40960
"""


def listed(summary: ModelSummary) -> str:
    rows = (
        f"{row.name} {row.kind} {'×'.join(map(str, row.output_shape))} {row.parameters} {row.multiply_adds}"
        for row in summary.layers
    )
    return "\n" + "\n".join(rows) + "\n"


def row_of(summary: ModelSummary, name: str) -> LayerRow:
    return next(row for row in summary.layers if row.name == name)


@pytest.mark.parametrize(("name", "rows"), [("lenet", LENET), ("alexnet", ALEXNET)])
def test_layers_are_those_of_the_reference(name: str, rows: str) -> None:
    found = summarize(name)
    assert listed(found) == rows
    numbers = [line.split() for line in rows.split("\n") if line]
    assert found.parameters == found.trainable_parameters == sum(int(line[3]) for line in numbers)
    assert found.multiply_adds == sum(int(line[4]) for line in numbers)
    assert found.size_mb == pytest.approx(4 * found.parameters / 1e6)
    assert (found.model, found.input_shape, found.batch) == (name, models()[name].input_shape, 1)


@pytest.mark.parametrize("name", list(models()))
def test_parameters_are_those_of_the_registry(name: str) -> None:
    spec = models()[name]
    found = summarize(name)
    assert found.parameters == spec.parameters
    assert found.layers[-1].output_shape == (spec.num_classes,)


@pytest.mark.parametrize(
    ("layer", "shape", "output", "parameters", "multiply_adds"),
    [
        # each of 8×6×5 outputs takes 3×3×3 products
        (nn.Conv2d(3, 8, 3), (3, 8, 7), (8, 6, 5), 8 * (27 + 1), 8 * 6 * 5 * 27),
        # with two groups, each output sees half of the channels
        (nn.Conv2d(4, 8, 3, groups=2, bias=False), (4, 5, 5), (8, 3, 3), 8 * 18, 8 * 3 * 3 * 18),
        (nn.Conv2d(2, 4, 5, stride=2, padding=2), (2, 9, 9), (4, 5, 5), 4 * 51, 4 * 5 * 5 * 50),
        (nn.Linear(12, 5), (12,), (5,), 65, 60),
        (nn.ReLU(), (3, 4, 4), (3, 4, 4), 0, 0),
        (nn.BatchNorm2d(3), (3, 4, 4), (3, 4, 4), 6, 0),
    ],
)
@pytest.mark.parametrize("batch", [1, 3])
def test_counts_are_those_worked_out_by_hand(
    layer: nn.Module,
    shape: tuple[int, ...],
    output: tuple[int, ...],
    parameters: int,
    multiply_adds: int,
    batch: int,
) -> None:
    found = summarize_module(nn.Sequential(layer), shape, batch=batch)
    assert found.layers == (
        LayerRow("0", type(layer).__name__, 1, output, parameters, batch * multiply_adds, is_leaf=True),
    )
    assert found.multiply_adds == batch * multiply_adds


def test_the_batch_multiplies_the_work_and_not_the_shapes() -> None:
    one, eight = summarize("lenet"), summarize("lenet", batch=8)
    assert eight.multiply_adds == 8 * one.multiply_adds
    assert [row.output_shape for row in eight.layers] == [row.output_shape for row in one.layers]
    assert eight.batch == 8


def test_nested_layers_stand_below_what_contains_them() -> None:
    found = summarize("shapes-cnn")
    names = [row.name for row in found.layers]
    assert names[:3] == ["block1", "block1.conv1", "block1.relu1"]
    block, conv = row_of(found, "block1"), row_of(found, "block1.conv1")
    inside = [row for row in found.layers if row.name.startswith("block1.")]
    assert (block.depth, block.is_leaf, conv.depth, conv.is_leaf) == (1, False, 2, True)
    assert block.parameters == sum(row.parameters for row in inside) == 32 * 28 + 32 * 289
    assert block.multiply_adds == sum(row.multiply_adds for row in inside)
    assert block.output_shape == inside[-1].output_shape == (32, 13, 13)
    assert found.multiply_adds == sum(row.multiply_adds for row in found.layers if row.is_leaf)


def test_depth_cuts_the_list_and_not_the_totals() -> None:
    whole, cut = summarize("shapes-cnn"), summarize("shapes-cnn", depth=1)
    assert {row.depth for row in whole.layers} == {1, 2}
    assert [row.name for row in cut.layers] == [row.name for row in whole.layers if row.depth == 1]
    assert all(row.is_leaf for row in cut.layers)
    assert (cut.parameters, cut.multiply_adds) == (whole.parameters, whole.multiply_adds)
    assert row_of(cut, "block2").multiply_adds == row_of(whole, "block2").multiply_adds


@pytest.mark.parametrize(
    ("name", "parameters", "multiply_adds"),
    [("resnet18", 11_689_512, 1_814_073_344), ("squeezenet1_1", 1_235_496, None), ("inception_v3", 23_834_568, None)],
)
def test_networks_of_torchvision_have_their_published_size(
    name: str, parameters: int, multiply_adds: int | None
) -> None:
    found = summarize(f"torchvision/{name}")
    assert found.parameters == parameters
    assert found.layers[-1].output_shape == (1000,) or name == "squeezenet1_1"
    assert multiply_adds in {None, found.multiply_adds}


@pytest.mark.usefixtures("nets")
def test_a_network_of_the_users_own_is_summarised() -> None:
    assert listed(summarize("tinynets:silent", shape=(3, 4, 16))) == "\nfc Linear 2 386 384\n"
    assert summarize("tinynets:Tied").parameters == 2 * 192 + 4


def test_a_run_is_summarised_with_its_own_classes_and_input(photos_run: Path) -> None:
    found = summarize(str(photos_run))
    assert found.parameters == 785 * 2
    assert found.input_shape == (1, 28, 28)
    assert summarize(str(photos_run / "best.safetensors")).layers == found.layers


def test_frozen_parameters_and_buffers_are_counted_apart() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    network[0].weight.requires_grad_(False)
    found = summarize_module(network, (1, 5, 5))
    assert (found.parameters, found.trainable_parameters) == (40 + 8, 4 + 8)
    assert found.size_mb == pytest.approx(((40 + 8 + 8) * 4 + 8) / 1e6)


@pytest.mark.parametrize("shape", [(1, 5, 5), (3, 5, 5)], ids=["fits", "does not fit"])
def test_the_network_is_left_as_it_was(shape: tuple[int, int, int]) -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sequential(nn.BatchNorm2d(4), nn.Dropout()))
    network[1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    if shape[0] == 1:
        summarize_module(network, shape)
    else:
        with pytest.raises(UsageError):
            summarize_module(network, shape)
    assert [module.training for module in network.modules()] == [True, True, False, False, False]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_layers_that_never_run_have_no_row_and_those_that_run_twice_have_one() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Linear(4, 4)
            self.used = nn.Linear(4, 4)

        def forward(self, values: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"out": self.used(self.used(values))}

    found = summarize_module(Odd(), (4,))
    assert found.layers == (LayerRow("used", "Linear", 1, (4,), 20, 32, is_leaf=True),)
    assert (found.parameters, found.multiply_adds, found.model) == (40, 32, "Odd")


def test_several_outputs_give_the_shape_of_the_first() -> None:
    found = summarize_module(nn.Sequential(nn.LSTM(6, 5, batch_first=True)), (3, 6))
    assert found.layers[0].output_shape == (3, 5)


@pytest.mark.parametrize(
    ("made", "shape"), [({"a": torch.zeros(1, 7), "b": 3}, (7,)), ([[torch.zeros(1, 2, 6)]], (2, 6)), ("text", ())]
)
def test_outputs_of_any_kind_have_a_row(made: object, shape: tuple[int, ...]) -> None:
    class Maker(nn.Module):
        def forward(self, _: torch.Tensor) -> object:
            return made

    assert summarize_module(nn.Sequential(Maker()), (4,)).layers[0].output_shape == shape


@pytest.mark.usefixtures("nets", "no_zoo")
@pytest.mark.parametrize(
    ("ref", "shape", "error", "message"),
    [
        ("lenet", (3, 28, 28), UsageError, "lenet cannot take an input of 3×28×28: .*channel"),
        ("alexnet", (1, 28, 28), UsageError, "alexnet cannot take an input of 1×28×28"),
        ("tinynets:silent", None, UsageError, "does not say its input; give .* --input 3x32x32"),
        ("lennet", None, UnknownNameError, "Did you mean lenet"),
        ("torchvision/resnet19", None, UnknownNameError, "Did you mean .*resnet18"),
        ("nowhere.safetensors", None, CheckpointError, "there is no file nowhere.safetensors"),
    ],
)
def test_what_cannot_be_summarised_is_said(
    ref: str, shape: tuple[int, int, int] | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        summarize(ref, shape=shape)


def test_an_onnx_file_has_no_layers_to_list(tiny_onnx: Path) -> None:
    with pytest.raises(UsageError, match="is an ONNX file; expected a PyTorch network"):
        summarize(str(tiny_onnx))
