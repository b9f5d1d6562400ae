"""The guard: what it lets through, what it hashes, and that no byte in the wrong place gets past it."""

import importlib.util
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import cnnkit
from cnnkit import zoo
from cnnkit.errors import CheckpointError, OnnxError
from cnnkit.runtime import guard
from cnnkit.runtime.foreign import opening
from cnnkit.runtime.guard import checking, known, reading, trial

_spec = importlib.util.spec_from_file_location("crafted", Path(__file__).with_name("crafted.py"))
crafted = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(crafted)
linux = pytest.mark.skipif(sys.platform != "linux", reason="the limits are those of Linux")


@pytest.mark.parametrize("name", zoo.entries())
def test_every_file_of_the_zoo_passes_and_runs_as_it_is(name):
    path = zoo.folder() / name / "model.onnx"
    checked = guard.check(path, name)
    assert (checked.source, known.ANY) == (path.read_bytes(), checked.most) == guard.proven_content(path)
    assert "cnnkit.card" in checked.metadata


def outsourced(make_onnx, folder):
    model = onnx.load_from_string(make_onnx())
    onnx.save(model, folder / "net.onnx", save_as_external_data=True, location="net.bin", size_threshold=0)
    return folder / "net.onnx"


def test_external_data_is_part_of_what_is_opened(make_onnx, tmp_path):
    path = outsourced(make_onnx, tmp_path)
    checked = guard.check(path, "net")
    assert checked.source == guard.check(make_onnx(), "net").source
    (tmp_path / "net.bin").write_bytes(bytes((tmp_path / "net.bin").stat().st_size))
    assert guard.check(path, "net").source != checked.source
    with pytest.raises(OnnxError, match=r"this model came from memory\. Open it by its path"):
        guard.check(path.read_bytes(), "net")


def test_a_file_beyond_the_cap_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_FILE_BYTES", 10)
    (tmp_path / "net.onnx").write_bytes(bytes(11))
    with pytest.raises(OnnxError, match=r"an ONNX file holds .* at most"):
        guard.check(tmp_path / "net.onnx", "net")


def test_what_the_parser_does_not_know_does_not_run(make_onnx):
    model = make_onnx()
    field = bytes([15 << 3 | 2, 4]) + b"evil"
    checked = guard.check(model + field, "net")
    assert field not in checked.source
    assert checked.source == guard.check(model, "net").source


def test_onnxruntime_opens_what_starts_like_its_own_format_as_onnx(make_onnx):
    from cnnkit.runtime.session import open_session

    model = onnx.load_from_string(make_onnx())
    model.producer_name = "ORTM"
    content = model.SerializeToString()
    assert content[4:8] == b"ORTM"
    with pytest.raises(OnnxError, match="onnxruntime's own format"):
        guard.check(content, "net")
    assert open_session(content, "net", device="cpu").get_inputs()[0].name == "picture"


def test_the_hash_is_of_graph_and_weights_and_not_of_the_metadata(make_onnx):
    model = onnx.load_from_string(make_onnx())
    before = guard.graph_sha256(model)
    helper.set_model_props(model, {"cnnkit.card": "anything"})
    assert guard.graph_sha256(model) == before
    assert model.metadata_props
    model.graph.initializer[0].raw_data = bytes(len(model.graph.initializer[0].raw_data))
    assert guard.graph_sha256(model) != before


def test_a_card_of_other_weights_is_refused(tmp_path):
    model = onnx.load(zoo.folder() / zoo.entry("lenet").name / "model.onnx")
    tensor = next(each for each in model.graph.initializer if each.data_type == TensorProto.FLOAT)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + 1, tensor.name))
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    for _ in range(2):  # a passed trial does not make the card right
        with pytest.raises(CheckpointError, match=r"net does not match its model card: .* Export it again"):
            guard.check_with_card(tmp_path / "net.onnx", "net")
        assert guard.proven_content(tmp_path / "net.onnx") is None


def test_an_exported_file_is_known(tmp_path, monkeypatch):
    path = cnnkit.export("shapes-cnn", tmp_path / "net.onnx").path
    monkeypatch.setattr(guard.trial, "run", None)  # it would be called
    assert guard.proven_content(path) == (path.read_bytes(), known.ANY)
    assert cnnkit.load(path, device="cpu").card.model == "shapes-cnn"


# Operators


@pytest.mark.parametrize("domain", ["", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "com.ms.own"])
def test_a_local_function_does_not_take_the_place_of_an_operator(domain):
    body = [helper.make_node("Add", ["a", "b"], ["c"])]
    function = helper.make_function(domain, "Sub", ["a", "b"], ["c"], body, [helper.make_opsetid("", 17)])
    call = helper.make_node("Sub", ["x", "x"], ["x2"], domain=domain)
    model = crafted.after(call, functions=[function], domains=[domain] if domain else [])
    with pytest.raises(OnnxError, match=r"defines the operator Sub .* anew"):
        guard.check(model.SerializeToString(), "net")


def test_a_local_function_of_another_domain_runs_as_its_body():
    body = [helper.make_node("Neg", ["a"], ["b"])]
    function = helper.make_function("own", "Turn", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    model = crafted.after(helper.make_node("Turn", ["x"], ["x2"], domain="own"), functions=[function], domains=["own"])
    checked = guard.check(model.SerializeToString(), "net")
    assert not checked.model.functions
    assert [node.op_type for node in onnx.load_from_string(checked.source).graph.node] == ["Neg", "Flatten", "MatMul"]


FLOAT = np.float32
REFUSED = {
    "a type behind an operator of onnxruntime's": (
        [helper.make_node("Gelu", ["one"], ["g"], domain="com.microsoft"), helper.make_node("Floor", ["g"], ["f"]),
         helper.make_node("Cast", ["f"], ["d"], to=7),
         helper.make_node("Div", ["least", "d"], ["q"])], "ends onnxruntime by"),
    "a remainder of pixels": (
        [helper.make_node("Cast", ["x"], ["d"], to=7), helper.make_node("Mod", ["least", "d"], ["q"])],
        "divides integers"),
    "a size of pixels, hidden by an operator of onnxruntime's": (
        [helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
         helper.make_node("Gelu", ["most"], ["g"], domain="com.microsoft"),
         helper.make_node("Cast", ["g"], ["n"], to=7),
         helper.make_node("Unsqueeze", ["n", "nought"], ["s"]), helper.make_node("ConstantOfShape", ["s"], ["q"])],
        "shows only when it runs"),
    "places of pixels in a list": ([helper.make_node("NonZero", ["x"], ["q"])], "depend on the pixels"),
    "an operator for boxes": ([helper.make_node("RoiAlign", ["x", "x", "three"], ["q"])], "not one of those"),
    "a mask of attention": (
        [helper.make_node("Attention", ["x", "x", "x", "least"], ["q"], domain="com.microsoft", num_heads=1)], "masks"),
    "an operator of another program": ([helper.make_node("Relu", ["x"], ["q"], domain="org.own")], "not one of those"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_might_be_otherwise_for_another_image_is_refused(what):
    nodes, said = REFUSED[what]
    constants = [
        ("one", FLOAT([-1])),
        ("least", np.array([-(2**63)])),
        ("three", np.array([3])),
        ("nought", np.array([0])),
    ]
    domains = sorted({node.domain for node in nodes} - {""})
    model = crafted.adding(*nodes, last="q", constants=constants, domains=domains)
    with pytest.raises(OnnxError, match=said):
        guard.check(model.SerializeToString(), "net")


def dividing(count):
    """Return a classifier that divides the smallest integer by -1 for so many images."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Sub", ["s", "offset"], ["d"]),
        helper.make_node("Div", ["least", "d"], ["q"]),
    ]  # fmt: skip
    constants = [("offset", np.array([count + 1, 0, 0, 0])), ("least", np.array([-(2**63)]))]
    return crafted.adding(*nodes, last="q", constants=constants).SerializeToString()


def test_what_ends_the_process_for_a_number_of_images_never_gets_so_many():
    with pytest.raises(OnnxError, match="ends onnxruntime by SIGFPE"):
        guard.check(dividing(4), "net")
    classifier = opening.open_onnx(dividing(3), "net", device="cpu")
    assert len(classifier.predict([np.zeros((4, 4, 3), np.uint8)] * 3)) == 3


def branch(*nodes, stored=()):
    gives = helper.make_tensor_value_info("b", TensorProto.FLOAT, None)
    tensors = [numpy_helper.from_array(np.array(value), name) for name, value in stored]
    return helper.make_graph(nodes, "body", [], [gives], tensors)


def choosing(body, other=None, *before):
    node = helper.make_node("If", ["yes"], ["x2"], then_branch=body, else_branch=other or body)
    constants = [("three", np.array([3])), *([] if before else [("yes", True)])]
    return crafted.after(*before, node, constants=constants).SerializeToString()


def test_a_branch_by_the_pixels_is_refused():
    cast = helper.make_node("Cast", ["x"], ["all"], to=TensorProto.BOOL)
    by_pixels = cast, helper.make_node("ReduceMax", ["all"], ["yes"], keepdims=0)
    relu = branch(helper.make_node("Relu", ["x"], ["b"]))
    assert not guard.check(choosing(relu), "net").failure
    with pytest.raises(OnnxError, match="shows only"):
        guard.check(choosing(relu, relu, *by_pixels), "net")


def test_names_of_a_branch_are_not_those_of_another():
    bodies = [
        branch(helper.make_node("Cast", ["x"], ["whole"], to=7), helper.make_node("Div", ["whole", "d"], ["e"]),
               helper.make_node("Cast", ["e"], ["b"], to=1), stored=[("d", np.array([divisor]))])
        for divisor in (-1, 5)
    ]  # fmt: skip
    assert not guard.check(choosing(bodies[1]), "net").failure
    for content in (choosing(*bodies), choosing(*reversed(bodies))):
        with pytest.raises(OnnxError, match="divides integers"):
            guard.check(content, "net")


@pytest.mark.parametrize("level", ["BASIC", "EXTENDED"])
def test_what_onnxruntime_optimises_for_any_machine_is_allowed(level, tmp_path):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    options.optimized_model_filepath = str(tmp_path / "net.onnx")
    ort.InferenceSession(crafted.network().SerializeToString(), options, providers=["CPUExecutionProvider"])
    assert not guard.check(tmp_path / "net.onnx", "net").failure


CHILD = """
import sys
from cnnkit.errors import CnnkitError
from cnnkit.runtime.foreign.opening import open_onnx
while line := sys.stdin.readline():
    try:
        open_onnx(bytes.fromhex(line), "mutant", device="cpu")
        print("opened", flush=True)
    except CnnkitError as error:
        print(type(error).__name__, flush=True)
"""


class Opener:
    """Opens files in a process of its own: were native code to crash, it would take the tests with it."""

    def __init__(self):
        self._process = None

    def open(self, content):
        if self._process is None:
            command = [sys.executable, "-c", CHILD]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._process.stdin.write(content.hex() + "\n")
        self._process.stdin.flush()
        said = self._process.stdout.readline().strip()
        if not said:
            self.close()
        return said

    def close(self):
        if self._process is not None:
            with self._process as process:
                process.stdin.close()
            self._process = None


@pytest.fixture(scope="module")
def opener():
    made = Opener()
    yield made
    made.close()


EDIT = st.tuples(
    st.integers(0, 10_000),
    st.sampled_from(["set", "flip", "delete", "insert"]),
    st.sampled_from([b"\0", b"\x01", b"\x7f", b"\x80", b"\xff"]) | st.binary(min_size=1, max_size=8),
)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(edits=st.lists(EDIT, min_size=1, max_size=6))
def test_no_mutation_of_a_file_is_more_than_an_error(make_onnx, opener, edits):
    data = bytearray(make_onnx())
    for anywhere, kind, value in edits:
        place = anywhere % len(data)
        match kind:
            case "set":
                data[place] = value[0]
            case "flip":
                data[place] ^= 1 << value[0] % 8
            case "delete":
                del data[place : place + len(value)]
            case _:
                data[place:place] = value
    assert opener.open(bytes(data)) in {"opened", "OnnxError", "CheckpointError"}


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "git lfs pull"),
     (b"\n<!DOCTYPE html><html>", "Download the file itself"), (b"", "it is empty"), (b"text", "not a whole one")],
)  # fmt: skip
def test_what_is_often_saved_in_place_of_a_file_is_named(content, said):
    with pytest.raises(OnnxError, match=said):
        guard.check(content, "net.onnx")


def _of_size(*nodes, constants):
    """Return a network that adds a constant of the size `s`, which the nodes make of the number of images."""
    shape = helper.make_node("Shape", ["x"], ["shape"])
    count = helper.make_node("Gather", ["shape", "zero"], ["count"])
    made = helper.make_node("ConstantOfShape", ["s"], ["c"])
    return crafted.adding(shape, count, *nodes, made, last="c", constants=[("zero", [0]), *constants])


def test_a_size_that_is_chosen_by_the_number_of_images_is_never_that_of_another_number():
    for count, refused in ((5, False), (4, True)):
        equal = helper.make_node("Equal", ["count", "trap"], ["is"])
        where = helper.make_node("Where", ["is", "many", "one"], ["s"])
        model = _of_size(equal, where, constants=[("trap", [count]), ("many", [2**33]), ("one", [1])])
        if refused:
            with pytest.raises(OnnxError, match=crafted.TOO_MUCH):
                guard.check(model.SerializeToString(), "net.onnx")
        else:
            classifier = opening.open_onnx(model.SerializeToString(), "net.onnx", device="cpu")
            assert len(classifier.predict([np.zeros((4, 4, 3), np.uint8)] * 5)) == 5


def test_a_size_that_grows_with_the_number_of_images_leaves_it_open():
    double = helper.make_node("Mul", ["count", "two"], ["s"])
    model = _of_size(double, constants=[("two", [2])])
    assert guard.check(model.SerializeToString(), "net.onnx").signature.batch is None


def growing(power):
    """Return a classifier that takes memory and time with a power of the number of its images."""
    shape = [helper.make_node("Shape", ["x"], ["shape"]), helper.make_node("Gather", ["shape", "first"], ["n0"])]
    shape += [helper.make_node("Mul", [f"n{index}", "n0"], [f"n{index + 1}"]) for index in range(power - 1)]
    made = [
        helper.make_node("Unsqueeze", [f"n{power - 1}", "axes"], ["length"]),
        helper.make_node("ConstantOfShape", ["length"], ["e0"]),
        *(helper.make_node("Erf", [f"e{index}"], [f"e{index + 1}"]) for index in range(60)),
    ]
    constants = [("first", np.int64(0)), ("axes", np.array([0]))]
    return crafted.adding(*shape, *made, last="e60", constants=constants).SerializeToString()


def test_what_grows_faster_than_its_images_is_tried_with_as_many_as_will_run():
    with pytest.raises(OnnxError, match="as a trial in another process shows"):
        guard.check(growing(5), "net")
    assert guard.check(growing(1), "net").most == 64


def test_no_more_images_run_together_than_were_tried(make_onnx, monkeypatch):
    run_all = trial.run
    monkeypatch.setattr(trial, "run", lambda *given: run_all(*given)._replace(most=4))
    classifier = opening.open_onnx(make_onnx(), "net", device="cpu")
    ran = []
    run = classifier.network.session.run
    monkeypatch.setattr(classifier.network.session, "run", lambda names, feed: ran.append(feed) or run(names, feed))
    pixels = np.random.default_rng(0).integers(0, 256, (10, *classifier.card.preprocessing.shape), np.uint8)
    together = classifier.network.logits(pixels)
    assert [len(array) for feed in ran for array in feed.values()] == [4, 4, 2]
    alone = [classifier.network.logits(pixels[index : index + 1]) for index in range(10)]
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-5, atol=1e-6)


def test_only_the_sizes_that_were_tried_are_taken(make_onnx):
    checked = guard.check(make_onnx(), "net")
    (shape,) = (each.type.tensor_type.shape.dim for each in checked.model.graph.input)
    assert [dimension.HasField("dim_value") for dimension in shape] == [False, True, True, True]


HEAVY = {
    "nodes of two bytes each": (lambda: b"\x08\x09" + crafted.delimited(7, b"\x0a\x00" * 8_000_000)),
    "divisions by a large constant": (
        lambda: crafted.adding(
            helper.make_node("Cast", ["x"], ["d0"], to=7),
            *(helper.make_node("Div", [f"d{index}", "large"], [f"d{index + 1}"]) for index in range(4000)),
            last="d4000", constants=[("large", np.full(2**20, 3, np.int64))],
        ).SerializeToString()),
    "a graph without end": (
        lambda: crafted.after(
            *(helper.make_node("Relu", [a], [b]) for a, b in pairwise(["x", *map("r{}".format, range(300_000)), "x2"]))
        ).SerializeToString()),
    "names within names": (lambda: b"\x08\x09" + crafted.nested(50)),
}  # fmt: skip


@linux
@pytest.mark.parametrize("what", HEAVY)
def test_what_takes_long_to_check_is_checked_in_another_process(what):
    content = HEAVY[what]()
    began = time.process_time()
    with pytest.raises(OnnxError, match=f"net was not opened: .*({crafted.TOO_MUCH}|not a whole one)"):
        guard.check(content, "net")
    assert time.process_time() - began < 0.5


def test_a_name_that_is_no_text_or_a_damaged_file_is_found_in_another_process(monkeypatch):
    monkeypatch.setattr(checking, "parse", None)  # it would be called here
    for content in (b"text", crafted.network().SerializeToString().replace(b"flat", b"\xff\xfe\xff\xff")):
        with pytest.raises(OnnxError, match=r"not a whole one|no text"):
            guard.check(content, "net")


def test_data_that_changes_while_it_is_tried_is_not_opened(make_onnx, tmp_path, monkeypatch):
    path, run = outsourced(make_onnx, tmp_path), trial.run

    def changing(*given):
        found = run(*given)
        (tmp_path / "net.bin").write_bytes(bytes((tmp_path / "net.bin").stat().st_size))
        return found

    monkeypatch.setattr(trial, "run", changing)
    with pytest.raises(OnnxError, match="changed while it was read"):
        guard.check(path, "net")


def test_a_known_file_is_checked_again_for_another_use(make_onnx, monkeypatch):
    content = make_onnx()
    guard.check(content, "net")
    monkeypatch.setattr(trial, "run", None)  # it would be called
    assert not guard.check(content, "net").failure
    with pytest.raises(TypeError):
        guard.check(content, "net", run=False, batch=3)
