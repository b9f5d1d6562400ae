"""Export: one file that runs by itself, proven before it is written, or no file at all."""

import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import cnnkit
from cnnkit.card import ModelCard
from cnnkit.data import shapes
from cnnkit.errors import DataError, OnnxError, OutputError, ParityError, UsageError
from cnnkit.exporting import onnx as exporting
from cnnkit.exporting.results import ExportResult
from cnnkit.models import networks
from cnnkit.runtime.graphs import NAME_SCOPES
from cnnkit.runtime.guard import graph_sha256
from cnnkit.sources import find
from tests.expecting import expect_error

pytestmark = pytest.mark.usefixtures("few_shapes", "nets")
LINEAR = "tinynets:Linear"


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def card_in(path: Path) -> ModelCard:
    card = ModelCard.from_metadata(session(path).get_modelmeta().custom_metadata_map, path.name)
    assert card is not None
    return card


@pytest.fixture(scope="module")
def raw(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    """The export of the tiny run with `raw_input`; its own data is elsewhere."""
    return cnnkit.export(tiny_run, tmp_path_factory.mktemp("raw") / "raw.onnx", raw_input=True)


def test_the_file_is_whole_and_alone(tiny_onnx: Path) -> None:
    assert list(tiny_onnx.parent.iterdir()) == [tiny_onnx]
    model = onnx.load(tiny_onnx, load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert not any(onnx.external_data_helper.uses_external_data(tensor) for tensor in model.graph.initializer)
    assert {opset.domain for opset in model.opset_import} == {""}


def test_images_go_in_and_logits_and_probabilities_come_out(tiny_onnx: Path) -> None:
    opened = session(tiny_onnx)
    (given,), outputs = opened.get_inputs(), opened.get_outputs()
    assert (given.name, given.type, given.shape) == ("image", "tensor(uint8)", ["batch", 28, 28, 3])
    assert [(o.name, o.type, o.shape) for o in outputs] == [
        ("logits", "tensor(float)", ["batch", 3]),
        ("probabilities", "tensor(float)", ["batch", 3]),
    ]


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_any_batch_gives_what_pytorch_gives(size: int, tiny_run: Path, tiny_onnx: Path) -> None:
    images = shapes.draw_shapes(22, seed=9)[0][:size]
    logits, probabilities = session(tiny_onnx).run(["logits", "probabilities"], {"image": images})
    expected = networks.TorchNetwork(*find(str(tiny_run)).weights(), "cpu").logits(images)
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    np.testing.assert_allclose(probabilities, torch.from_numpy(expected).softmax(1), atol=1e-5)
    np.testing.assert_allclose(probabilities.sum(1), np.ones(size), atol=1e-5)


def test_raw_input_takes_normalised_float32_nchw(raw: ExportResult, tiny_onnx: Path) -> None:
    opened = session(raw.path)
    (given,) = opened.get_inputs()
    assert (given.name, given.type, given.shape) == ("image", "tensor(float)", ["batch", 3, 28, 28])
    assert raw.input_type == "float32 [N, C, H, W]"
    card = card_in(raw.path)
    assert card.raw_input
    assert not card_in(tiny_onnx).raw_input
    images = shapes.draw_shapes(2, seed=9)[0]
    form = card.preprocessing
    floats = ((images / 255 - form.mean) / form.std).astype(np.float32).transpose(0, 3, 1, 2)
    found = opened.run(["logits"], {"image": floats})[0]
    np.testing.assert_allclose(found, session(tiny_onnx).run(["logits"], {"image": images})[0], atol=1e-5)


def test_a_raw_file_predicts_like_the_other(raw: ExportResult, tiny_onnx: Path) -> None:
    images = list(shapes.draw_shapes(3, seed=9)[0])
    one, other = (cnnkit.load(path).predict(images) for path in (raw.path, tiny_onnx))
    assert [p.label for p in one] == [p.label for p in other]
    assert [p.probability for p in one] == pytest.approx([p.probability for p in other], abs=1e-5)


def test_the_card_of_the_run_is_inside_with_the_certificate(tiny_run: Path, tiny_onnx: Path) -> None:
    card, original = card_in(tiny_onnx), find(str(tiny_run)).weights()[1]
    certificate = card.parity
    assert certificate is not None
    assert certificate.passed
    assert certificate.images == "10 images of shapes"
    assert certificate.batch_sizes == (1, 2, 7)
    assert certificate.tolerance == 1e-4
    assert card.versions == {
        **original.versions,
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "torch": torch.__version__,
    }
    assert certificate.weights_sha256 == original.weights_sha256
    assert replace(card, parity=None, versions={}, graph_sha256="") == replace(original, versions={})


def test_the_graph_has_the_hash_that_the_card_notes(tiny_onnx: Path) -> None:
    model = onnx.load(tiny_onnx)
    assert card_in(tiny_onnx).graph_sha256 == graph_sha256(model)
    model.metadata_props[0].value = "another card"
    assert card_in(tiny_onnx).graph_sha256 == graph_sha256(model)
    model.graph.initializer[0].name += "x"
    assert card_in(tiny_onnx).graph_sha256 != graph_sha256(model)


def test_the_nodes_name_their_layers_and_nothing_else(tiny_onnx: Path) -> None:
    nodes = onnx.load(tiny_onnx).graph.node
    assert {entry.key for node in nodes for entry in node.metadata_props} == {NAME_SCOPES}
    assert "network.block1.conv1" in {name for node in nodes for name in node.metadata_props[0].value.split("'")}


def test_the_result_is_what_was_written(raw: ExportResult) -> None:
    assert raw.certificate == card_in(raw.path).parity
    assert raw.size_mb == raw.path.stat().st_size / 1e6
    assert raw.trained
    assert raw.opset == onnx.load(raw.path).opset_import[0].version


def test_the_same_run_gives_the_same_bytes(tiny_run: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    again = cnnkit.export(tiny_run, tmp_path / "again" / "other-name.onnx")
    assert again.path.read_bytes() == tiny_onnx.read_bytes()


def test_no_path_of_this_machine_is_in_the_file(tiny_run: Path, tiny_onnx: Path) -> None:
    content = tiny_onnx.read_bytes()
    places = (Path(cnnkit.__file__).parent, Path(torch.__file__).parent, Path.home(), Path.cwd(), tiny_run, sys.prefix)
    assert [place for place in map(str, places) if len(place) > 5 and place.encode() in content] == []
    assert b".py" not in content


@pytest.mark.parametrize(("name", "difference"), [("Planted", r"\d\.\d+"), ("NotANumber", "inf")])
def test_a_difference_fails_and_leaves_the_older_file(name: str, difference: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"older")
    with pytest.raises(ParityError) as caught:
        cnnkit.export(f"tinynets:{name}", path)
    assert re.search(difference, str(caught.value))
    assert caught.value.exit_code == 3
    assert not caught.value.result.passed
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("raw_input", [False, True])
def test_a_difference_is_traced_to_its_layer(raw_input: bool, tmp_path: Path) -> None:
    with expect_error(ParityError, "graph", "Add"):
        cnnkit.export("tinynets:Planted", tmp_path / "net.onnx", raw_input=raw_input)


def test_a_difference_leaves_no_new_folder(tmp_path: Path) -> None:
    with pytest.raises(ParityError):
        cnnkit.export("tinynets:Planted", tmp_path / "new" / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_says_so_and_leaves_no_file(tmp_path: Path) -> None:
    with expect_error(OnnxError, "tinynets:Branching"):
        cnnkit.export("tinynets:Branching", tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_says_why(tmp_path: Path) -> None:
    with expect_error(OnnxError, "data-dependent") as caught:
        cnnkit.export("tinynets:Branching", tmp_path / "net.onnx")
    assert "\x1b" not in str(caught.value)


@pytest.mark.usefixtures("no_zoo")
def test_an_untrained_network_is_exported_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = cnnkit.export("mnist-cnn")
    card = card_in(tmp_path / "mnist-cnn.onnx")
    assert result.path == Path("mnist-cnn.onnx")
    assert not result.trained
    assert not card.trained
    assert (card.model, card.labels) == ("mnist-cnn", tuple("0123456789"))
    assert card.metrics == {}
    assert result.certificate.images == "10 drawn shapes"
    assert result.certificate.passed


def test_a_network_of_torchvision_is_exported(tmp_path: Path) -> None:
    result = cnnkit.export("torchvision/squeezenet1_1", tmp_path / "net.onnx")
    card = card_in(result.path)
    assert not card.trained
    assert len(card.labels) == 1000
    form = card.preprocessing
    assert form == find("torchvision/squeezenet1_1").preprocessing((3, 224, 224))
    assert (form.shape, form.fit, form.resize) == ((224, 224, 3), "cover", 256)
    assert result.certificate.passed


def test_a_network_of_the_users_own_is_exported_at_the_size_asked_for(tmp_path: Path) -> None:
    result = cnnkit.export("tinynets:silent", tmp_path / "net.onnx", shape=(3, 16, 4))
    assert session(result.path).get_inputs()[0].shape == ["batch", 16, 4, 3]
    assert card_in(result.path).labels == ("0", "1")


@pytest.mark.parametrize(
    ("ref", "shape", "name"),
    [
        ("tinynets:silent", None, "--input"),
        (LINEAR, (3, 9, 9), "images"),
        ("tinynets:NotANumber", (2, 12, 8), 2),
    ],
)
def test_an_input_that_does_not_fit_is_wrong_usage(
    ref: str, shape: tuple[int, int, int] | None, name: object, tmp_path: Path
) -> None:
    with expect_error(UsageError, name):
        cnnkit.export(ref, tmp_path / "net.onnx", shape=shape)
    assert list(tmp_path.iterdir()) == []


def test_an_onnx_file_is_not_exported_again(tiny_onnx: Path) -> None:
    with expect_error(UsageError, "ONNX"):
        cnnkit.export(tiny_onnx)


def test_a_folder_that_cannot_be_written_is_found_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with expect_error(OutputError):
        cnnkit.export(LINEAR, tmp_path / "file" / "net.onnx")


def test_weights_beyond_what_one_file_holds_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "MAX_WEIGHT_BYTES", 1000)
    with expect_error(OnnxError):
        cnnkit.export(LINEAR, tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "expected"), [("best", "model.onnx"), ("mine", "mine.onnx")])
def test_the_file_lies_beside_its_checkpoint(name: str, expected: str, photos_run: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / f"{name}.safetensors"
    shutil.copy(photos_run / "best.safetensors", checkpoint)
    assert cnnkit.export(tmp_path if name == "best" else checkpoint).path == tmp_path / expected
    assert {path.name for path in tmp_path.iterdir()} == {checkpoint.name, expected}


def test_drawn_images_stand_in_where_the_data_is_gone(own_photos: Path, tmp_path: Path) -> None:
    list(cnnkit.train(cnnkit.default_recipe(LINEAR, data=str(own_photos), epochs=1), runs_dir=tmp_path, device="cpu"))
    run = tmp_path / "tinynets-Linear-photos-1"
    assert cnnkit.export(run, trust_code=True).certificate.images == "10 images of photos"
    shutil.rmtree(own_photos)
    result = cnnkit.export(run, trust_code=True)
    assert result.certificate.images == "10 drawn shapes"
    assert result.trained
    with pytest.raises(DataError):
        cnnkit.evaluate(result.path)


def test_damaged_files_are_passed_over_in_the_comparison(own_photos: Path, tmp_path: Path) -> None:
    list(cnnkit.train(cnnkit.default_recipe(LINEAR, data=str(own_photos), epochs=1), runs_dir=tmp_path, device="cpu"))
    (own_photos / "light" / "09.png").unlink()
    for path in own_photos.glob("*/*[05].png"):
        path.write_bytes(b"no image")
    result = cnnkit.export(tmp_path / "tinynets-Linear-photos-1", trust_code=True)
    assert result.certificate.images == "10 images of photos"


def test_drawn_images_stand_in_where_every_file_is_damaged(own_photos: Path, tmp_path: Path) -> None:
    list(cnnkit.train(cnnkit.default_recipe(LINEAR, data=str(own_photos), epochs=1), runs_dir=tmp_path, device="cpu"))
    for path in own_photos.rglob("*.png"):
        path.write_bytes(b"no image")
    result = cnnkit.export(tmp_path / "tinynets-Linear-photos-1", trust_code=True)
    assert result.certificate.images == "10 drawn shapes"


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cnnkit.export(LINEAR, tmp_path / "net.onnx")
    assert capfd.readouterr() == ("", "")
