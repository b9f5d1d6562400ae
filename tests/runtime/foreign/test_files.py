"""Files as they lie about: as links, with data beside them, optimised for one machine, and of other formats."""

import json
import os

import coloured
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from coloured import Spec, build
from onnx import TensorProto, helper, numpy_helper

import cnnkit
from cnnkit.errors import CheckpointError, OnnxError
from cnnkit.runtime.guard import check
from tests.expecting import expect_error

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")


def write(folder, spec=Spec()):  # noqa: B008
    """Write `model.onnx` with its weights in `model.onnx_data` beside it."""
    folder.mkdir(parents=True)
    model = onnx.load_from_string(build(spec))
    onnx.save_model(
        model, folder / "model.onnx", save_as_external_data=True, location="model.onnx_data", size_threshold=0
    )
    return folder / "model.onnx"


def hugging_face(folder):
    """Blobs by their hashes, and snapshots of links to them."""
    stored = write(folder / "made")
    (folder / "blobs").mkdir()
    stored.rename(folder / "blobs" / "aaaa")
    stored.with_name("model.onnx_data").rename(folder / "blobs" / "bbbb")
    snapshot = folder / "snapshots" / "0123" / "onnx"
    snapshot.mkdir(parents=True)
    (snapshot / "model.onnx").symlink_to("../../../blobs/aaaa")
    (snapshot / "model.onnx_data").symlink_to("../../../blobs/bbbb")
    return snapshot / "model.onnx"


def config_map(folder):
    """Links to `..data`, which is a link to a folder with a date."""
    write(folder / "..2026_01_01")
    (folder / "..data").symlink_to("..2026_01_01", target_is_directory=True)
    for name in ("model.onnx", "model.onnx_data"):
        (folder / name).symlink_to(f"..data/{name}")
    return folder / "model.onnx"


def linked_folder(folder):
    write(folder / "real")
    (folder / "link").symlink_to("real", target_is_directory=True)
    return folder / "link" / "model.onnx"


def plain(folder):
    return write(folder / "real")


LAYOUTS = [plain, hugging_face, config_map, linked_folder]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_of_links_is_opened_by_every_command(layout, tmp_path, images, cli):
    path = layout(tmp_path / "hub")
    predicted = cli("predict", images["blue"], "-m", path, "--json")
    assert predicted.exit_code == 0, predicted.stderr
    scores = json.loads(predicted.stdout)["data"]["predictions"][0]["scores"]
    assert scores[0]["label"] == str(coloured.ORDER.index("blue"))
    assert cli("summary", path).exit_code == 0
    assert cli("benchmark", path, "--seconds", 0.05, "--batch", 1, "--device", "cpu").exit_code == 0
    assert "carries no model card" in cli("verify", path).stderr


@pytest.mark.parametrize("target", ["data", "folder", "chain"])
def test_a_link_that_leads_elsewhere_is_refused_by_every_command(target, tmp_path, images, cli):
    path = write(tmp_path / "net")
    data, outside = path.with_name("model.onnx_data"), tmp_path / "outside"
    outside.mkdir()
    data.rename(outside / "weights")
    if target == "data":
        data.symlink_to("../outside/weights")
    elif target == "chain":
        (path.parent / "other").symlink_to("../outside/weights")
        data.symlink_to("other")
    else:
        (path.parent / "sub").symlink_to("../outside", target_is_directory=True)
        data.symlink_to("sub/weights")
    commands = [["predict", images["red"], "-m", path], ["summary", path], ["benchmark", path, "--seconds", 0.05],
                ["serve", path], ["verify", path]]  # fmt: skip
    results = [cli(*command) for command in commands]
    assert [r.exit_code for r in results] == [1] * 5
    assert len({r.stderr for r in results}) == 1
    assert "outside the file's own folder" in results[0].stderr


def test_data_that_a_link_promises_and_is_not_there_is_an_error(tmp_path):
    path = write(tmp_path / "net")
    path.with_name("model.onnx_data").unlink()
    path.with_name("model.onnx_data").symlink_to("absent")
    with pytest.raises(OnnxError, match="which is not there"):
        check(path, "net.onnx")


def test_a_circle_of_links_is_an_error(tmp_path):
    path = write(tmp_path / "net")
    data = path.with_name("model.onnx_data")
    data.unlink()
    data.symlink_to("model.onnx_data")
    with pytest.raises(OnnxError, match=r"leads back to itself|which is not there"):
        check(path, "net.onnx")


@pytest.mark.parametrize("dimensions", ["zero", "minus one"])
def test_sizes_below_one_are_open_ones_with_data_beside_the_file_too(dimensions, tmp_path):
    path = write(tmp_path / "net", Spec(dimensions=dimensions))
    found = cnnkit.load(path, device="cpu").predict([coloured.picture("blue")])[0]
    assert found.scores[0].label == str(coloured.ORDER.index("blue"))


def optimised(folder, level):
    """Let onnxruntime write a convolutional network as it has optimised it for this processor."""
    rng = np.random.default_rng(0)
    weights = {
        "a": rng.normal(size=(16, 3, 3, 3)), "b": rng.normal(size=(16, 16, 3, 3)), "c": rng.normal(size=(16, 5)),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["image", "a"], ["x"], pads=[1] * 4), helper.make_node("Relu", ["x"], ["y"]),
        helper.make_node("Conv", ["y", "b"], ["z"], pads=[1] * 4), helper.make_node("GlobalAveragePool", ["z"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]), helper.make_node("MatMul", ["f", "c"], ["scores"]),
    ]  # fmt: skip
    given = helper.make_tensor_value_info("image", TensorProto.FLOAT, ("n", 3, 8, 8))
    gives = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ("n", 5))
    stored = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()]
    graph = helper.make_graph(nodes, "net", [given], [gives], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return folder / "optimised.onnx"


def refused(cli, path, image):
    """Return what each command says of a file that it refuses."""
    commands = [["predict", image, "-m", path], ["summary", path], ["benchmark", path, "--seconds", 0.05],
                ["serve", path], ["verify", path]]  # fmt: skip
    results = [cli(*command) for command in commands]
    assert [r.exit_code for r in results] == [1] * len(commands), [r.stderr for r in results]
    return {r.stderr for r in results}


def test_a_file_that_was_optimised_for_one_processor_is_refused_with_that_reason(tmp_path, images, cli):
    path = optimised(tmp_path, ort.GraphOptimizationLevel.ORT_ENABLE_ALL)
    if "com.microsoft.nchwc" not in {node.domain for node in onnx.load(path).graph.node}:
        pytest.skip("onnxruntime has no operators of its own for this processor")
    (said,) = refused(cli, path, images["red"])
    assert "optimised for one machine" in said
    assert "Use the file that it was made from" in said


def test_a_file_that_was_optimised_for_any_processor_runs(tmp_path, images, cli):
    path = optimised(tmp_path, ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED)
    assert any(node.domain == "com.microsoft" for node in onnx.load(path).graph.node)
    for command in (["predict", images["red"], "-m", path], ["summary", path],
                    ["benchmark", path, "--seconds", 0.05, "--batch", 1, "--device", "cpu"]):  # fmt: skip
        result = cli(*command)
        assert result.exit_code == 0, result.stderr


def test_a_compiled_context_is_refused_with_that_reason(tmp_path, images, cli):
    node = helper.make_node("EPContext", ["image"], ["scores"], domain="com.microsoft", embed_mode=1,
                            ep_cache_context=b"machine code", source="QNN")  # fmt: skip
    given = helper.make_tensor_value_info("image", TensorProto.FLOAT, ("n", 3, 8, 8))
    gives = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ("n", 5))
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(helper.make_graph([node], "net", [given], [gives]), opset_imports=imports, ir_version=9)
    onnx.save(model, tmp_path / "net.onnx")
    (said,) = refused(cli, tmp_path / "net.onnx", images["red"])
    assert "optimised for one machine" in said


@pytest.fixture
def ort_format(tmp_path):
    """A file in onnxruntime's own format."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "net.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.log_severity_level = 4
    ort.InferenceSession(build(Spec()), options, providers=["CPUExecutionProvider"])
    return tmp_path / "net.ort"


def test_onnxruntimes_own_format_is_refused_by_its_name(ort_format, images, cli):
    renamed = ort_format.rename(ort_format.with_suffix(".onnx"))
    (said,) = refused(cli, renamed, images["red"])
    assert "onnxruntime's own format" in said


def test_a_reference_to_an_ort_file_says_what_helps(ort_format):
    with expect_error(CheckpointError, ".onnx"):
        cnnkit.load(ort_format)
