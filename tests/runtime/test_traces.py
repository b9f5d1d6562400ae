"""What the first layer of a file shows of the pixels that it was trained on, and what is assumed by it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import cnnkit
from cnnkit.runtime.foreign.traces import is_faint, met_by

Values = NDArray[np.float64]

IMAGENET = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
SCALES: dict[str, Callable[[Values], Values]] = {
    "unit": lambda x: x,
    "signed": lambda x: 2 * x - 1,
    "byte": lambda x: 255 * x,
    "imagenet": lambda x: (x - IMAGENET[0]) / IMAGENET[1],
    "byte without mean": lambda x: 255 * (x - IMAGENET[0]),
    "byte, dark": lambda x: 255 * (0.13 + 0.31 * (x - IMAGENET[0]) / IMAGENET[1]),  # as in MNIST
}


def photos(count: int = 12, side: int = 48) -> Values:
    """Return images [N, H, W, 3] from 0 to 1 with the mean and deviation of photos, and as smooth."""
    generator = np.random.default_rng(1)
    noise = generator.normal(size=(count, side, side, 1)) + 0.25 * generator.normal(size=(count, side, side, 3))
    frequencies = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])[None, :, :, None]
    smooth = np.fft.ifft2(np.fft.fft2(noise, axes=(1, 2)) / np.maximum(frequencies, 1 / side) ** 1.3, axes=(1, 2)).real
    shares = (smooth - smooth.mean()) / smooth.std()
    return np.asarray(np.clip(IMAGENET[0] + 0.25 * shares, 0, 1))


def filters(count: int = 16, size: int = 3, seed: int = 0) -> Values:
    """Return weights [N, 3, k, k]: some that average, some that take edges."""
    generator = np.random.default_rng(seed)
    return np.asarray(
        generator.normal(size=(count, 3, size, size)) * 0.2 + generator.normal(size=(count, 1, 1, 1)) * 0.1
    )


def seen(images: Values, weights: Values) -> tuple[Values, Values]:
    """Return mean and variance [filters] of what a convolution makes of images."""
    size = weights.shape[2]
    windows = np.lib.stride_tricks.sliding_window_view(images, (size, size), (1, 2))
    made = np.einsum("nhwckl,fckl->nhwf", windows, weights, optimize=True)
    return made.mean((0, 1, 2)), made.var((0, 1, 2))


@pytest.mark.parametrize("scale", SCALES)
def test_mean_and_deviation_of_the_pixels_are_found(scale: str) -> None:
    images, weights = SCALES[scale](photos()), filters()
    found = met_by(weights, np.zeros(16), *seen(images, weights))
    assert found is not None
    assert found.mean == pytest.approx(images.mean(), abs=0.15 * images.std())
    assert found.std == pytest.approx(images.std(), rel=0.3)


@pytest.mark.parametrize("seed", range(10))
def test_random_numbers_show_nothing(seed: int) -> None:
    generator, weights = np.random.default_rng(seed), filters(seed=seed)
    mean, variance = generator.normal(size=16), generator.uniform(0.5, 2, 16)
    assert met_by(weights, np.zeros(16), mean, variance) is None
    assert met_by(weights, np.zeros(16), np.zeros(16), np.ones(16)) is None
    assert met_by(weights * 0, np.zeros(16), mean, variance) is None
    assert met_by(weights[:4], np.zeros(4), mean[:4], variance[:4]) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300, -1.0])
def test_statistics_of_no_training_show_nothing(value: float) -> None:
    weights = filters()
    mean, variance = seen(photos(), weights)
    assert met_by(weights, np.zeros(16), mean, np.where(np.arange(16) < 12, value, variance)) is None
    assert met_by(weights, np.zeros(16), mean[:3], variance) is None
    assert met_by(weights[:0], np.zeros(0), mean[:0], variance[:0]) is None
    assert value == -1 or met_by(np.where(weights > 0, value, 0), np.zeros(16), mean, variance) is None
    assert not is_faint(weights, np.full(16, value)[:3])


def test_weights_that_values_up_to_three_do_not_move_are_faint() -> None:
    weights = filters()
    assert not is_faint(weights, np.ones(16))
    assert is_faint(weights / 1000, np.ones(16))
    assert not is_faint(weights / 1000, np.zeros(16))
    assert not is_faint(weights * 0, np.ones(16))


def net(path: Path, weights: Values, bias: Values, norm: tuple[Values, Values] | None) -> Path:
    count = len(weights)
    stored = {"w": weights, "b": bias, "one": np.ones(count), "zero": np.zeros(count), "last": np.eye(count)}
    stored |= {"mean": norm[0], "variance": norm[1]} if norm else {}
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["conv"])]
    if norm:
        nodes.append(helper.make_node("BatchNormalization", ["conv", "one", "zero", "mean", "variance"], ["norm"]))
    nodes += [
        helper.make_node("Relu", ["norm" if norm else "conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "last"], ["y"]),
    ]
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in stored.items()]
    taken = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 32, 32])
    given = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", count])
    graph = helper.make_graph(nodes, "net", [taken], [given], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def scaling(path: Path, **options: Any) -> tuple[float, float, str]:
    """Return mean and deviation of the first channel, for pixels scaled to [0, 1], and what was assumed of them."""
    found = cnnkit.load(path, device="cpu", **options)
    (said,) = (each for each in found.assumptions if each.startswith("pixels "))
    form = found.card.preprocessing
    return form.mean[0], form.std[0], said


@pytest.mark.parametrize(
    ("scale", "mean", "std"),
    [("unit", 0, 1), ("signed", 0.5, 0.5), ("byte", 0, 1 / 255), ("imagenet", 0.485, 0.229),
     ("byte without mean", 0.485, 1 / 255), ("byte, dark", 0, 1 / 255)],
)  # fmt: skip
def test_a_file_gets_pixels_as_in_its_training(scale: str, mean: float, std: float, tmp_path: Path) -> None:
    weights = filters()
    path = net(tmp_path / "net.onnx", weights, np.zeros(16), seen(SCALES[scale](photos()), weights))
    *found, said = scaling(path)
    assert found == pytest.approx([mean, std])
    assert "a guess" in said
    assert "first batch normalisation" in said
    assert scaling(path, pixels="signed")[:2] == pytest.approx((0.5, 0.5))


def test_a_file_with_faint_weights_gets_pixels_up_to_255(tmp_path: Path) -> None:
    path = net(tmp_path / "net.onnx", filters() / 1000, np.ones(16), None)
    assert scaling(path)[:2] == pytest.approx((0, 1 / 255))
    assert "a guess" in scaling(path)[2]


def test_mean_and_deviation_say_what_pixels_they_are_of(tmp_path: Path) -> None:
    path = net(tmp_path / "net.onnx", filters(), np.zeros(16), None)
    mean, std, said = scaling(path, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
    assert (mean, std) == pytest.approx((0.485, 0.229))
    assert "from 0 to 255" in said
    assert scaling(path, mean=(0.485, 0.456, 0.406))[0] == pytest.approx(0.485)
