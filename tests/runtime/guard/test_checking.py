"""The guard: what it lets through, what it hashes, and that no byte in the wrong place gets past it."""

import subprocess
import sys

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from cnnkit import zoo
from cnnkit.errors import CheckpointError, OnnxError
from cnnkit.runtime import guard


@pytest.mark.parametrize("name", zoo.entries())
def test_every_file_of_the_zoo_passes(name):
    checked = guard.check(zoo.folder() / name / "model.onnx", name)
    assert isinstance(checked.source, bytes)
    assert "cnnkit.card" in checked.metadata


def test_a_file_is_opened_as_it_was_checked(make_onnx, tmp_path):
    (tmp_path / "net.onnx").write_bytes(make_onnx())
    assert guard.check(tmp_path / "net.onnx", "net").source == make_onnx()


def test_external_data_is_opened_by_its_path_and_not_from_memory(make_onnx, tmp_path):
    model = onnx.load_from_string(make_onnx())
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, location="net.bin", size_threshold=0)
    assert guard.check(tmp_path / "net.onnx", "net").source == tmp_path / "net.onnx"
    with pytest.raises(OnnxError, match=r"this model came from memory\. Open it by its path"):
        guard.check((tmp_path / "net.onnx").read_bytes(), "net")


def test_a_file_beyond_the_cap_is_not_even_read(tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "MAX_FILE_BYTES", 10)
    (tmp_path / "net.onnx").write_bytes(bytes(11))
    with pytest.raises(OnnxError, match=r"an ONNX file holds .* at most"):
        guard.check(tmp_path / "net.onnx", "net")


def test_the_hash_is_of_graph_and_weights_and_not_of_the_metadata(make_onnx):
    model = onnx.load_from_string(make_onnx())
    before = guard.graph_sha256(model)
    helper.set_model_props(model, {"cnnkit.card": "anything"})
    assert guard.graph_sha256(model) == before
    assert model.metadata_props
    guard.require_unchanged(model, before, "net")
    guard.require_unchanged(model, "", "net")
    model.graph.initializer[0].raw_data = bytes(len(model.graph.initializer[0].raw_data))
    assert guard.graph_sha256(model) != before
    with pytest.raises(CheckpointError, match=r"net does not match its model card: .* Export it again"):
        guard.require_unchanged(model, before, "net")


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


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
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
