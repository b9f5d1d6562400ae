"""The summary: layers, shapes and counts as the references give them, and a network that is left as it was."""

import warnings
from math import prod
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from cnnkit.errors import CheckpointError, ForwardError, UnknownNameError, UsageError
from cnnkit.inspection.results import ModelSummary, ModuleRow
from cnnkit.inspection.summary import summarize_module, summarize_network
from cnnkit.registry import models
from tests.expecting import expect_error
from tests.hooks import hooks_of

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


def row_of(summary: ModelSummary, name: str) -> ModuleRow:
    return next(row for row in summary.layers if row.name == name)


@pytest.mark.parametrize(("name", "rows"), [("lenet", LENET), ("alexnet", ALEXNET)])
def test_layers_are_those_of_the_reference(name: str, rows: str) -> None:
    found = summarize_network(name)
    assert listed(found) == rows
    numbers = [line.split() for line in rows.split("\n") if line]
    assert found.parameters == found.trainable_parameters == sum(int(line[3]) for line in numbers)
    assert found.multiply_adds == sum(int(line[4]) for line in numbers)
    assert found.size_mb == pytest.approx(4 * found.parameters / 1e6)
    assert (found.model, found.input_shapes, found.batch) == (name, (models()[name].input_shape,), 1)


@pytest.mark.parametrize("name", list(models()))
def test_parameters_are_those_of_the_registry(name: str) -> None:
    spec = models()[name]
    found = summarize_network(name)
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
    row = found.layers[0]
    assert (row.name, row.kind, row.depth, row.is_leaf) == ("0", type(layer).__name__, 1, True)
    assert (row.input_shape, row.output_shape) == (shape, output)
    assert (row.parameters, row.multiply_adds) == (parameters, batch * multiply_adds)
    assert row.memory_mb == found.memory_mb == pytest.approx(4 * batch * prod(output) / 1e6)
    assert row.kernel == tuple(getattr(layer, "kernel_size", ()))
    assert found.multiply_adds == batch * multiply_adds


def test_the_batch_multiplies_the_work_and_not_the_shapes() -> None:
    one, eight = summarize_network("lenet"), summarize_network("lenet", batch=8)
    assert eight.multiply_adds == 8 * one.multiply_adds
    assert [row.output_shape for row in eight.layers] == [row.output_shape for row in one.layers]
    assert eight.batch == 8


def test_nested_layers_stand_below_what_contains_them() -> None:
    found = summarize_network("shapes-cnn")
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
    whole, cut = summarize_network("shapes-cnn"), summarize_network("shapes-cnn", depth=1)
    assert {row.depth for row in whole.layers} == {1, 2}
    assert [row.name for row in cut.layers] == [row.name for row in whole.layers if row.depth == 1]
    assert all(row.is_leaf for row in cut.layers)
    assert (cut.parameters, cut.multiply_adds) == (whole.parameters, whole.multiply_adds)
    assert row_of(cut, "block2").multiply_adds == row_of(whole, "block2").multiply_adds


# One of each family, and those that are large, or are built in a way of their own.
FAMILIES = (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "maxvit_t",
    "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "regnet_y_128gf", "resnet18",
    "resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_0", "swin_t", "swin_v2_t", "vgg11_bn", "vit_b_32",
    "vit_h_14", "wide_resnet50_2",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_networks_of_torchvision_are_as_it_says(name: str) -> None:
    meta = torchvision.models.get_model_weights(name).DEFAULT.meta
    found = summarize_network(f"torchvision/{name}")
    assert found.parameters == meta["num_params"]
    assert found.multiply_adds / 1e9 == pytest.approx(meta["_ops"], abs=5e-4)
    assert (found.device, found.idle_parameters, found.unregistered_parameters) == ("meta", 0, 0)
    assert found.parameters == found.own_parameters + sum(row.parameters for row in found.layers if row.depth == 1)


def test_inception_is_counted_without_the_head_that_only_training_needs() -> None:
    found = summarize_network("torchvision/inception_v3")
    assert (found.parameters, found.input_shapes) == (23_834_568, ((3, 299, 299),))
    assert found.multiply_adds / 1e9 == pytest.approx(5.713, abs=5e-4)


@pytest.mark.usefixtures("nets")
def test_a_network_of_the_users_own_is_summarised() -> None:
    assert listed(summarize_network("tinynets:silent", shape=(3, 4, 16))) == "\nfc Linear 2 386 384\n"
    assert summarize_network("tinynets:Tied").parameters == 2 * 192 + 4


def test_a_run_is_summarised_with_its_own_classes_and_input(photos_run: Path) -> None:
    found = summarize_network(str(photos_run))
    assert found.parameters == 785 * 2
    assert found.input_shapes == ((1, 28, 28),)
    assert summarize_network(str(photos_run / "best.safetensors")).layers == found.layers


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
        with pytest.raises(ForwardError):
            summarize_module(network, shape)
    assert [module.training for module in network.modules()] == [True, True, False, False, False]
    assert hooks_of(network) == []
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
    assert [(row.name, row.parameters, row.multiply_adds, row.calls) for row in found.layers] == [("used", 20, 32, 2)]
    assert (found.idle, found.idle_parameters) == (("unused",), 20)
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
    ("ref", "shape", "error", "names"),
    [
        ("tinynets:Regular", (1, 8, 8), ForwardError, ("conv", "Conv2d", "3 channels", "1×8×8")),
        ("torchvision/alexnet", (3, 28, 28), ForwardError, ("224×224", "28×28")),
        ("alexnet", (1, 28, 28), UsageError, ("1×28×28", "65×65")),
        ("lenet", (28, 28), UsageError, ("28×28", "1×28×28")),
        ("mlp", (28, 28, 1, 1), UsageError, ("28×28×1×1",)),
        ("tinynets:silent", None, UsageError, ("--input",)),
        ("oddnets:SaysItLater", None, UsageError, ("--input",)),
        ("lennet", None, UnknownNameError, ("lenet",)),
        ("torchvision/resnet19", None, UnknownNameError, ("resnet18",)),
        ("nowhere.safetensors", None, CheckpointError, ("nowhere.safetensors",)),
    ],
)
def test_what_cannot_be_summarised_is_said(
    ref: str, shape: tuple[int, int, int] | None, error: type[Exception], names: tuple[str, ...]
) -> None:
    with expect_error(error, *names):
        summarize_network(ref, shape=shape)


def test_an_onnx_file_has_no_layers_to_list(tiny_onnx: Path) -> None:
    with expect_error(UsageError, "ONNX"):
        summarize_network(str(tiny_onnx))


def told(summary: ModelSummary) -> list[tuple[str, int, int]]:
    return [(row.name, row.parameters, row.multiply_adds) for row in summary.layers]


@pytest.mark.usefixtures("nets")
class TestNetworksThatAreHardToLookInto:
    def test_recursion_is_one_row_with_its_calls(self) -> None:
        (row,) = summarize_network("oddnets:Recursive").layers
        assert (row.name, row.calls, row.parameters) == ("conv", 4, 8 * 73)
        assert (row.multiply_adds, row.receptive_field) == (4 * 8 * 72 * 16, (4, 4))

    def test_several_inputs(self) -> None:
        found = summarize_network("oddnets:TwoInputs", shape=[(1, 28, 28), (10,)])
        assert told(found) == [("conv", 40, 4 * 9 * 26 * 26), ("fc", 44, 40)]
        assert found.input_shapes == ((1, 28, 28), (10,))
        assert summarize_network("oddnets:SaysBoth").layers == found.layers

    def test_recurrent_layers(self) -> None:
        found = summarize_network("oddnets:Sequence")
        steps = 7 * 2 * 4 * 5
        assert told(found) == [("lstm", 1200, steps * (6 + 5) + steps * (10 + 5)), ("fc", 22, 20)]

    def test_words_are_whole_numbers(self) -> None:
        found = summarize_network("oddnets:Words")
        assert found.layers[0].kind == "Embedding"
        assert found.layers[0].output_shape == (12, 16)
        assert [row.name for row in found.layers if row.depth == 2][:2] == ["encoder.self_attn", "encoder.dropout1"]

    def test_outputs_that_are_tuples_dictionaries_and_dataclasses(self) -> None:
        found = summarize_network("oddnets:NamedOutputs")
        assert [(row.name, row.output_shape) for row in found.layers] == [("conv", (4, 6, 6)), ("inner", (4,))]

    def test_parameters_outside_layers(self) -> None:
        found = summarize_network("oddnets:Parameters")
        assert (found.layers, found.own_parameters, found.multiply_adds) == ((), 114, 108)
        assert found.idle == ()

    def test_containers_that_are_not_called_stand_above_their_layers(self) -> None:
        rows = summarize_network("oddnets:Lists").layers
        assert [(row.name, row.calls, row.depth, row.is_leaf) for row in rows] == [
            ("convs", 0, 1, False), ("convs.0", 1, 2, True), ("convs.1", 1, 2, True), ("convs.2", 1, 2, True),
            ("norms", 0, 1, False), ("norms.0", 1, 2, True), ("norms.1", 1, 2, True), ("norms.2", 1, 2, True),
        ]  # fmt: skip
        assert rows[0].multiply_adds == sum(row.multiply_adds for row in rows[1:4])
        assert [row.order for row in rows if row.is_leaf] == [1, 3, 5, 2, 4, 6]

    def test_lazy_layers_are_what_they_become(self) -> None:
        found = summarize_network("oddnets:Lazy")
        assert [row.kind for row in found.layers] == ["Conv2d", "BatchNorm2d", "Linear"]
        assert (found.parameters, found.idle) == (112 + 8 + 725, ("never",))

    def test_nothing_in_it_and_nothing_into_it(self) -> None:
        assert summarize_network("oddnets:Empty").layers == ()
        found = summarize_network("oddnets:NoInput")
        assert (found.input_shapes, told(found)) == ((), [("fc", 8, 6)])

    def test_a_branch_by_values_is_run_for_real(self) -> None:
        found = summarize_network("oddnets:ByValue")
        assert (found.device, [row.name for row in found.layers], found.idle) == ("cpu", ["dark"], ("light",))

    def test_nothing_to_load_is_run_for_real_as_well(self) -> None:
        found = summarize_network("oddnets:WeightlessByValue")
        assert (found.device, [row.name for row in found.layers]) == ("cpu", ["pool"])

    @pytest.mark.parametrize("name", ["MadeOfNumbers", "MadeOfItsWeights"])
    def test_numbers_while_it_is_built_or_runs_do_not_matter(self, name: str) -> None:
        found = summarize_network(f"oddnets:{name}")
        assert (found.device, len(found.layers), found.failure) == ("meta", 1, None)

    def test_shared_layers_count_once(self) -> None:
        found = summarize_network("oddnets:Shared")
        assert found.parameters == 81 + 3 + 3
        assert [(row.name, row.calls) for row in found.layers] == [
            ("conv", 3), ("block", 1), ("block.1", 1), ("tied", 1),
        ]  # fmt: skip
        assert found.multiply_adds == 4 * 81 * 64

    def test_layers_in_a_python_list_are_given_away(self) -> None:
        found = summarize_network("oddnets:PythonList")
        assert (found.parameters, found.unregistered_parameters, found.multiply_adds) == (0, 20, 16)

    def test_a_network_that_goes_on_after_an_error_has_its_rows(self) -> None:
        found = summarize_network("oddnets:GoesOn")
        assert [(row.name, row.output_shape) for row in found.layers] == [
            ("bad", ()), ("bad.0", (4,)), ("bad.1", ()), ("good", (2,)),
        ]  # fmt: skip
        assert found.failure is None

    def test_weights_that_are_used_without_their_layer_are_not_idle(self) -> None:
        found = summarize_network("oddnets:Functional")
        assert found.idle == ("fc_unused",)
        assert (found.own_parameters, found.multiply_adds) == (218, 3 * 27 * 36 + 216)

    @pytest.mark.parametrize(
        ("name", "shape", "names"),
        [
            ("TwoInputs", None, ("--input", "image, numbers")),
            ("TwoInputs", (1, 28, 28), ("image, numbers", 1)),
            ("Empty", [(3, 8, 8), (4,)], ("images", 2)),
            ("WantsAKeyword", None, ("mask",)),
        ],
    )
    def test_a_wrong_number_of_inputs_is_said(self, name: str, shape: object, names: tuple[object, ...]) -> None:
        with expect_error(UsageError, *names):
            summarize_network(f"oddnets:{name}", shape=shape)


def test_torchscript_is_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that TorchScript is deprecated
        scripted = torch.jit.script(nn.Linear(2, 2))
    with expect_error(UsageError, "RecursiveScriptModule"):
        summarize_module(scripted, (2,))
    with expect_error(UsageError, "TorchScript"):
        summarize_module(nn.Sequential(nn.ReLU(), scripted), (2,))


@pytest.mark.usefixtures("nets")
@pytest.mark.parametrize(
    ("ref", "batch", "shape"),
    [("lenet", 1, (1, 10**11, 10**11)), ("lenet", 10**20, None), ("oddnets:ByValue", 1, (3, 10**7, 10**7))],
)
def test_sizes_that_no_tensor_has_are_refused(ref: str, batch: int, shape: tuple[int, ...] | None) -> None:
    with pytest.raises(UsageError, match=f"(a batch of {batch}|an image) of .* is larger than a tensor can be here"):
        summarize_network(ref, batch=batch, shape=shape)


def test_a_real_network_gives_what_one_without_weights_gives() -> None:
    network = torchvision.models.mobilenet_v3_small().eval()
    real = summarize_module(network, (3, 64, 64))
    bare = summarize_network("torchvision/mobilenet_v3_small", shape=(3, 64, 64))
    assert (real.layers, real.multiply_adds, real.device) == (bare.layers, bare.multiply_adds, "cpu")
