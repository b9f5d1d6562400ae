"""Files beside an ONNX file, as Hugging Face's and timm's tools write them: what they say is used, and checked."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image

import cnnkit
from cnnkit.errors import DataError, OnnxError
from cnnkit.runtime.classifier import Classifier
from cnnkit.serving.app import App
from cnnkit.serving.settings import ModelSource, Settings
from tests.expecting import expect_error

Cli = Callable[..., Any]

CONFIG = {"id2label": {"0": "red", "1": "green", "2": "blue"}, "image_size": 48}
PROCESSOR = {
    "do_resize": True, "size": {"height": 32, "width": 40}, "resample": 3, "do_rescale": True,
    "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4],
}  # fmt: skip


def net(path: Path, *, image: tuple[int | str, ...] = (3, "h", "w"), scale: float = 1.0) -> Path:
    """Write a network whose logits are the means of the channels."""
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["scaled"]),
        helper.make_node("GlobalAveragePool", ["scaled" if scale != 1 else "x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "one"], ["y"]),
    ]
    stored = [
        helper.make_tensor("scale", TensorProto.FLOAT, [], [scale]),
        helper.make_tensor("one", TensorProto.FLOAT, [3, 3], np.eye(3).ravel()),
    ]
    taken = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *image])
    given = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph(nodes if scale != 1 else nodes[1:], "net", [taken], [given], stored)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def put(folder: Path, config: Any = None, processor: Any = None) -> None:
    for name, value in (("config.json", config), ("preprocessor_config.json", processor)):
        if value is not None:
            (folder / name).write_text(value if isinstance(value, str) else json.dumps(value))


def logits(classifier: Classifier, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return classifier.network.logits(pixels)


def pixels_of(classifier: Classifier) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (2, *classifier.card.preprocessing.shape), np.uint8)


def said(classifier: Classifier) -> str:
    return "\n".join(classifier.assumptions)


@pytest.mark.parametrize("place", ["net.onnx", "onnx/model.onnx"])
def test_labels_size_and_scale_are_read(place: str, tmp_path: Path) -> None:
    path = net(tmp_path / place)
    put(tmp_path, CONFIG, PROCESSOR)
    found = cnnkit.load(path, device="cpu")
    form = found.card.preprocessing
    assert found.card.labels == ("red", "green", "blue")
    assert (form.height, form.width, form.fit, form.interpolation) == (32, 40, "stretch", "bicubic")
    pixels = pixels_of(found)
    expected = (pixels / 255 - PROCESSOR["image_mean"]) / PROCESSOR["image_std"]
    np.testing.assert_allclose(logits(found, pixels), expected.mean((1, 2)), rtol=1e-3, atol=1e-4)
    assert "labels of config.json beside the file" in found.assumptions
    assert "preprocessor_config.json beside the file" in said(found)
    assert "a guess" not in said(found)


def test_every_command_takes_the_same_size(tmp_path: Path, cli: Cli) -> None:
    path = net(tmp_path / "net.onnx")
    put(tmp_path, CONFIG, PROCESSOR)
    assert "32×40" in cli("summary", path).stdout
    measured = cli("benchmark", path, "--seconds", "0.01", "--batch", "1", "--device", "cpu").stdout
    assert "32×40" in measured
    Image.new("RGB", (9, 9), "red").save(tmp_path / "red.png")
    shown = json.loads(cli("predict", tmp_path / "red.png", "-m", path, "--device", "cpu", "--json").stdout)
    assert "labels of config.json beside the file" in json.dumps(shown)


@pytest.mark.parametrize(
    "processor", [{}, {"image_processor_type": "ViTImageProcessor"}, {"size": {"height": 32, "width": 40}}]
)
def test_a_processor_that_says_nothing_of_the_scale_leaves_it_a_guess(
    processor: dict[str, Any], tmp_path: Path
) -> None:
    path = net(tmp_path / "net.onnx", image=(3, 32, 40))
    put(tmp_path, None, processor)
    found = cnnkit.load(path, device="cpu")
    assert any(text.startswith("pixels ") and "a guess" in text for text in found.assumptions)


@pytest.mark.parametrize("changed", [{"size": {"height": 9, "width": 9}}, {"do_resize": False}])
def test_resizing_that_is_not_used_leaves_a_guess(changed: dict[str, Any], tmp_path: Path) -> None:
    path = net(tmp_path / "net.onnx", image=(3, 32, 32))
    put(tmp_path, None, PROCESSOR | changed)
    assert "padded (contain), a guess" in said(cnnkit.load(path, device="cpu"))


@pytest.mark.parametrize(
    "changed",
    [
        {"do_resize": False, "do_center_crop": True, "crop_size": 32},
        {"size": {"shortest_edge": 32}, "do_center_crop": False},
    ],
)
def test_what_is_done_otherwise_than_the_processor_is_said(changed: dict[str, Any], tmp_path: Path) -> None:
    path = net(tmp_path / "net.onnx", image=(3, 32, 32))
    put(tmp_path, None, PROCESSOR | changed)
    assert "beside the file does not crop" in said(cnnkit.load(path, device="cpu")) or "crops without" in said(
        cnnkit.load(path, device="cpu")
    )


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"do_normalize": False}, lambda x: x / 255),
        ({"do_normalize": False, "do_rescale": False}, lambda x: x),
        ({"image_mean": 0.5, "image_std": [0.25]}, lambda x: (x / 255 - 0.5) / 0.25),
        ({"do_rescale": False, "image_mean": 127, "image_std": 64}, lambda x: (x - 127) / 64),
        ({"rescale_factor": 1 / 127.5, "rescale_offset": True, "do_normalize": False}, lambda x: x / 127.5 - 1),
        ({"do_flip_channel_order": True, "do_normalize": False}, lambda x: x[..., ::-1] / 255),
    ],
)
def test_values_become_those_of_the_processor(
    changed: dict[str, Any], expected: Callable[[Any], Any], tmp_path: Path
) -> None:
    path = net(tmp_path / "net.onnx")
    put(tmp_path, None, PROCESSOR | changed)
    found = cnnkit.load(path, device="cpu")
    pixels = pixels_of(found)
    np.testing.assert_allclose(
        logits(found, pixels), expected(pixels.astype(np.float64)).mean((1, 2)), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize(
    ("changed", "fit", "side", "resize"),
    [
        ({"size": 32}, "stretch", 32, None),
        ({"size": {"shortest_edge": 40}, "do_center_crop": True, "crop_size": 32}, "cover", 32, 40),
        ({"size": {"shortest_edge": 32}}, "cover", 32, 32),
        ({"size": {"shortest_edge": 32}, "crop_pct": 0.8}, "cover", 32, 40),
        ({"size": {"shortest_edge": 384}, "crop_pct": 0.875}, "stretch", 384, None),
        ({"size": {"height": 40, "width": 40}, "do_center_crop": True, "crop_size": {"height": 32, "width": 32}},
         "cover", 32, 40),
    ],
)  # fmt: skip
def test_images_are_resized_and_cropped_as_the_processor_does(
    changed: dict[str, Any], fit: str, side: int, resize: int | None, tmp_path: Path
) -> None:
    path = net(tmp_path / "net.onnx")
    put(tmp_path, None, PROCESSOR | changed)
    form = cnnkit.load(path, device="cpu").card.preprocessing
    assert (form.fit, form.height, form.width, form.resize) == (fit, side, side, resize)


def test_what_timm_writes_is_read(tmp_path: Path) -> None:
    path = net(tmp_path / "net.onnx")
    trained = {"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bicubic",
               "crop_pct": 0.8, "crop_mode": "center"}  # fmt: skip
    put(tmp_path, {"architecture": "resnet18", "pretrained_cfg": trained, "label_names": ["a", "b", "c"]})
    found = cnnkit.load(path, device="cpu")
    form = found.card.preprocessing
    assert (found.card.labels, form.height, form.resize, form.interpolation) == (("a", "b", "c"), 32, 40, "bicubic")
    pixels = pixels_of(found)
    np.testing.assert_allclose(logits(found, pixels), ((pixels / 255 - 0.5) / 0.25).mean((1, 2)), rtol=1e-3, atol=1e-4)


def test_classes_that_do_not_exclude_each_other(tmp_path: Path) -> None:
    path = net(tmp_path / "net.onnx")
    put(tmp_path, CONFIG | {"problem_type": "multi_label_classification"})
    found = cnnkit.load(path, device="cpu")
    assert found.card.independent
    assert "several classes can be right" in said(found)


def test_what_the_user_says_wins(tmp_path: Path) -> None:
    path = net(tmp_path / "net.onnx")
    put(tmp_path, CONFIG, PROCESSOR)
    (tmp_path / "names.txt").write_text("x\ny\nz\n")
    found = cnnkit.load(path, device="cpu", labels=tmp_path / "names.txt", pixels="byte", input_shape=(3, 16, 16))
    assert found.card.labels == ("x", "y", "z")
    assert found.card.preprocessing.input_shape == (3, 16, 16)
    pixels = pixels_of(found)
    np.testing.assert_allclose(logits(found, pixels), pixels.mean((1, 2)), rtol=1e-3)
    assert "is for other sizes" in said(found)


def test_what_the_graph_does_itself_is_not_done_twice(tmp_path: Path) -> None:
    path = net(tmp_path / "net.onnx", scale=1 / 255)
    put(tmp_path, None, PROCESSOR)
    found = cnnkit.load(path, device="cpu")
    pixels = pixels_of(found)
    np.testing.assert_allclose(logits(found, pixels), (pixels / 255).mean((1, 2)), rtol=1e-3)
    assert "the graph scales them itself" in said(found)


@pytest.mark.parametrize(
    ("config", "processor", "note"),
    [
        ("{", None, "config.json beside the file is not used"),
        ("[1]", None, "config.json beside the file is not used"),
        ("[" * 100_000, None, "config.json beside the file is not used"),
        ({"id2label": {"0": "a", "1": "b"}}, None, "names 2 classes, not 3"),
        ({"id2label": {"0": "a", "5": "b", "7": "c"}}, None, "does not name each class once"),
        ({"id2label": 5}, None, "does not name each class once"),
        (None, {"size": "large"}, "size is 'large'"),
        (None, {"size": {"height": 10**9, "width": 1}}, "no height and width"),
        (None, {"size": {"shortest_edge": -1}}, "no side of an image"),
        (None, {"image_mean": [0.5] * 3}, "image_std is None"),
        (None, {"image_mean": [0.5] * 3, "image_std": [0, 1, 1]}, "not above 0"),
        (None, '{"image_mean": [NaN, 0, 0], "image_std": [1, 1, 1]}', "not finite"),
        (None, {"image_mean": [0.5] * 2, "image_std": [1, 1]}, "not one number for each channel"),
        (None, {"rescale_factor": 0}, "not above 0"),
        (None, {"rescale_factor": "1/255"}, "not a number"),
        (None, {"size": {"shortest_edge": 8}, "crop_pct": 0}, "not above 0"),
        (None, {"resample": 77}, "none of the filters"),
        (None, {"resample": True}, "none of the filters"),
        ({"pretrained_cfg": {}}, None, "input_size is None"),
    ],
)
def test_what_is_malformed_is_noted_and_not_used(config: Any, processor: Any, note: str, tmp_path: Path) -> None:
    path = net(tmp_path / "net.onnx")
    put(tmp_path, config, processor)
    found = cnnkit.load(path, device="cpu")
    assert note in said(found)
    assert found.card.labels == ("0", "1", "2")
    assert found.card.preprocessing.input_shape == (3, 224, 224)


def test_other_folders_are_not_looked_at(tmp_path: Path) -> None:
    put(tmp_path, CONFIG, PROCESSOR)
    for place in ("model/net.onnx", "onnx/deep/net.onnx"):
        assert cnnkit.load(net(tmp_path / place), device="cpu").card.labels == ("0", "1", "2")
    path = net(tmp_path / "linked" / "net.onnx")
    (path.parent / "config.json").symlink_to(tmp_path / "config.json")
    found = cnnkit.load(path, device="cpu")
    assert found.card.labels == ("0", "1", "2")
    assert "a link to another folder" in said(found)


def test_the_cache_of_hugging_face_is_read(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    (snapshot / "onnx").mkdir(parents=True)
    net(blobs / "1").rename(blobs / "1")
    (blobs / "2").write_text(json.dumps(CONFIG))
    (snapshot / "onnx" / "model.onnx").symlink_to(Path("../../../blobs/1"))
    (snapshot / "config.json").symlink_to(Path("../../blobs/2"))
    found = cnnkit.load(snapshot / "onnx" / "model.onnx", device="cpu")
    assert found.card.labels == ("red", "green", "blue")
    assert found.card.preprocessing.input_shape == (3, 48, 48)


def test_labels_of_the_user_are_checked_all_the_same(tmp_path: Path) -> None:
    path = net(tmp_path / "net.onnx")
    put(tmp_path, CONFIG)
    (tmp_path / "names.txt").write_text("x\ny\n")
    with expect_error(DataError, 2):
        cnnkit.load(path, device="cpu", labels=tmp_path / "names.txt")


def test_metadata_of_ultralytics(tmp_path: Path) -> None:
    path = net(tmp_path / "net.onnx")
    model = onnx.load(path)
    metadata = {"author": "Ultralytics", "task": "classify", "imgsz": "[64, 64]", "names": "{0: 'a', 1: 'b', 2: 'c'}"}
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    put(tmp_path, CONFIG, PROCESSOR)
    found = cnnkit.load(path, device="cpu")
    form = found.card.preprocessing
    assert found.card.labels == ("a", "b", "c")
    assert (form.input_shape, form.fit, form.resize, form.mean, form.std) == (
        (3, 64, 64),
        "cover",
        64,
        (0,) * 3,
        (1,) * 3,
    )
    assert "a guess" not in said(found)


def test_a_network_for_another_task_is_refused_with_that(tmp_path: Path) -> None:
    path = net(tmp_path / "net.onnx", image=(3, 8, 8))
    model = onnx.load(path)
    model.graph.node.append(helper.make_node("Relu", ["x"], ["boxes"]))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["n", 3, 8, 8]))
    helper.set_model_props(model, {"task": "detect"})
    onnx.save(model, path)
    with expect_error(OnnxError, "detect"):
        cnnkit.load(path, device="cpu")


def test_the_server_logs_what_it_assumes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = net(tmp_path / "net.onnx", image=(3, 8, 8))
    put(tmp_path, CONFIG)
    with caplog.at_level("INFO", "cnnkit.serving"):
        App([ModelSource("net", str(path), path)], Settings(device="cpu"), "127.0.0.1").open()
    assert "assumed: labels of config.json beside the file" in caplog.messages
