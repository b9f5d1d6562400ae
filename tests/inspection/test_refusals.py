"""Layers that refuse what they get: who, why, and what would have fitted."""

import pytest
from torch import nn

from cnnkit.errors import ForwardError
from cnnkit.inspection.results import ModelSummary
from cnnkit.inspection.summary import summarize_module, summarize_network
from tests.expecting import expect_error


def refused(ref: str, shape: tuple[int, ...]) -> tuple[str, ModelSummary]:
    with pytest.raises(ForwardError) as caught:
        summarize_network(ref, shape=shape)
    assert isinstance(caught.value.result, ModelSummary)
    assert caught.value.exit_code == 1
    return str(caught.value), caught.value.result


@pytest.mark.usefixtures("nets")
@pytest.mark.parametrize(
    ("ref", "shape", "message", "fits"),
    [
        ("tinynets:Regular", (3, 6, 8), "head (Linear) expects 128 features, got 96: {} 8×8, it is 6×8.", 8),
        ("tinynets:Regular", (3, 16, 16), "head (Linear) expects 128 features, got 512: {} 8×8, it is 16×16.", 8),
        ("tinynets:HeadFirst", (3, 2, 2), "body.0 (Conv2d) expects an image of 3×3 or more, got 2×2: {} 8×8", 8),
        ("tinynets:Regular", (1, 8, 8), "conv (Conv2d) expects 3 channels, got 1: {} 3×8×8, it is 1×8×8.", 8),
        ("tinynets:Linear", (3, 20, 20), "fc (Linear) expects 192 features, got 1200: {} 8×8, it is 20×20.", 8),
        (
            "torchvision/vit_b_16",
            (3, 384, 384),
            "(VisionTransformer) fails: Wrong image height! Expected 224 but got 384: {} 224×224, it is 384×384.",
            224,
        ),
        # these do not say their input: it is looked for
        ("oddnets:Flat", (1, 200, 224), "classifier.1 (Linear) expects 400 features, got 672: {} 160×160", 160),
        ("oddnets:Flat", (1, 20, 20), "pool (MaxPool2d) expects an image of 32×32 or more, got 20×20: {} 160×160", 160),
        ("oddnets:Flat", (3, 200, 224), "conv (Conv2d) expects 1 channel, got 3: {} 1×160×160, it is 3×200×224.", 160),
    ],
)
def test_the_layer_its_arithmetic_and_the_fitting_input_are_said(
    ref: str, shape: tuple[int, ...], message: str, fits: int
) -> None:
    told, found = refused(ref, shape)
    assert message.format("the input would have to be") in told
    assert found.failure is not None
    assert found.failure.fitting_input is not None
    assert found.failure.fitting_input[1:] == (fits, fits)
    summarize_network(ref, shape=found.failure.fitting_input)


@pytest.mark.usefixtures("nets")
def test_rows_end_with_the_layer_that_failed() -> None:
    _, found = refused("tinynets:Regular", (3, 16, 16))
    assert [row.name for row in found.layers] == ["conv", "norm", "drop", "head"]
    assert [row.failed for row in found.layers] == [False] * 3 + [True]
    assert found.layers[0].output_shape == (8, 16, 16)
    assert found.layers[-1].input_shape == (8 * 8 * 8,)
    assert found.failure is not None
    assert (found.failure.layer, found.failure.kind, found.failure.given) == ("head", "Linear", ((512,),))
    assert found.parameters == 8 * 28 + 16 + 129 * 2


@pytest.mark.usefixtures("nets")
def test_sizes_that_must_be_divisible_are_rounded() -> None:
    told, found = refused("oddnets:Hourglass", (3, 100, 120))
    assert "(Hourglass) fails: Sizes of tensors must match" in told
    assert told.endswith("the input would have to be 104×120, it is 100×120.")
    assert [row.name for row in found.layers] == ["conv", "down", "up"]


@pytest.mark.parametrize(
    ("network", "shape", "message"),
    [
        (nn.Linear(10, 2), (12,), "expects 10 features, got 12"),
        (nn.Conv2d(3, 4, 3), (8, 8), "expects 3 channels, got 1"),
        (nn.Conv2d(3, 4, 3), (1, 3, 8, 8), "expects a batch of channels with height and width, got 1×1×3×8×8"),
        (nn.Conv2d(3, 4, 9, padding=1), (3, 4, 4), "expects an image of 9×9 or more, got 6×6 with its padding"),
        (nn.Conv2d(3, 4, 3, dilation=4), (3, 8, 8), "expects an image of 9×9 or more, got 8×8"),
        (nn.ConvTranspose2d(3, 4, 3), (2, 8, 8), "expects 3 channels, got 2"),
        (nn.AvgPool2d(4), (3, 3, 3), "expects an image of 4×4 or more, got 3×3"),
        (nn.MaxPool1d(4), (3, 3), "expects an image of 4 or more, got 3"),
        (nn.BatchNorm2d(3), (4, 8, 8), "expects 3 channels, got 4"),
        (nn.GroupNorm(2, 4), (6, 8, 8), "expects 4 channels, got 6"),
        (nn.LayerNorm(4), (6,), "expects 4 features, got 6"),
        (nn.LayerNorm((4, 8)), (4, 6), "expects values of 4×8, got 4×6"),
        (nn.LSTM(6, 5, batch_first=True), (3, 7), "expects 6 features, got 7"),
        (
            nn.Sequential(nn.Flatten(), nn.Embedding(4, 2), nn.Embedding(4, 2)),
            (7,),
            "expects whole numbers, got float32",
        ),
        (nn.Unflatten(1, (2, 3)), (7,), "fails: "),
    ],
)
def test_every_common_layer_says_what_it_expects(network: nn.Module, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ForwardError) as caught:
        summarize_module(nn.Sequential(network).to("meta"), shape)
    assert message in str(caught.value)


def test_an_input_of_features_is_told_its_right_number() -> None:
    with expect_error(ForwardError, 10, 12):
        summarize_module(nn.Sequential(nn.Linear(10, 2)).to("meta"), (12,))


def test_where_no_square_fits_the_proportion_is_kept() -> None:
    network = nn.Sequential(nn.MaxPool2d(8), nn.Flatten(), nn.Linear(3 * 4, 2)).to("meta")
    with expect_error(ForwardError, "12 features", 48, "24×32", "48×64"):
        summarize_module(network, (1, 48, 64))


def test_where_nothing_fits_nothing_is_promised() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(7, 7), nn.Linear(5, 2)).to("meta")
    with pytest.raises(ForwardError) as caught:
        summarize_module(network, (1, 10, 10))
    assert str(caught.value) == "1 (Linear) expects 7 features, got 100, with an input of 1×10×10."


@pytest.mark.usefixtures("nets")
@pytest.mark.parametrize(
    ("ref", "names"),
    [
        ("oddnets:WrongKey", ("oddnets:WrongKey", "KeyError", "'b'", "3×8×8")),
        ("oddnets:WantsADictionary", ("AttributeError", "'get'")),
        ("oddnets:NoForward", ("forward", 4)),
        ("oddnets:Endless", ("recursion",)),
    ],
)
def test_a_mistake_in_a_network_is_said_in_one_line(ref: str, names: tuple[object, ...]) -> None:
    with expect_error(ForwardError, *names) as caught:
        summarize_network(ref)
    assert "\n" not in str(caught.value)
