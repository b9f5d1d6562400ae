"""What is measured for a model reference, with PyTorch and without."""

from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

import cnnkit
from cnnkit.errors import CheckpointError, DeviceError, OnnxError, UnknownNameError, UsageError
from cnnkit.inspection import torch_candidates
from cnnkit.runtime.candidates import examine
from tests.expecting import expect_error

pytestmark = pytest.mark.usefixtures("few_shapes", "nets")
QUICK = {"devices": ["cpu"], "batches": [2], "threads": [1], "seconds": 0.02}


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A file without a card."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, 4, 4]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "net", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "foreign.onnx").write_bytes(model.SerializeToString())
    return tmp_path / "foreign.onnx"


def test_files_and_zoo_entries_are_measured_as_they_are(tiny_onnx: Path, foreign: Path) -> None:
    found = cnnkit.benchmark("lenet", "lenet-mnist", tiny_onnx, foreign, "lenet", **QUICK)
    assert [(model.name, model.input_type) for model in found.models] == [
        ("lenet", "uint8 [N, 28, 28, 1]"),
        ("lenet-mnist", "uint8 [N, 28, 28, 1]"),
        (str(tiny_onnx), "uint8 [N, 28, 28, 3]"),
        (str(foreign), "float32 [N, 3, 4, 4]"),
    ]
    assert found.notes == ()
    assert [row.model for row in found.measurements] == [model.name for model in found.models]
    assert {row.threads for row in found.measurements} == {1}


@pytest.mark.parametrize("kind", ["run", "checkpoint"])
def test_what_was_trained_is_exported_first_and_leaves_nothing(kind: str, tiny_run: Path) -> None:
    before = sorted(tiny_run.rglob("*"))
    ref = tiny_run if kind == "run" else tiny_run / "best.safetensors"
    found = cnnkit.benchmark(ref, **QUICK)
    assert found.notes == (f"{ref} was exported for this benchmark",)
    assert found.models[0].input_type == "uint8 [N, 28, 28, 3]"
    assert sorted(tiny_run.rglob("*")) == before


def test_what_was_not_trained_has_random_weights_and_an_input_that_may_be_given() -> None:
    found = cnnkit.benchmark("tinynets:silent", shape=(3, 4, 16), **QUICK)
    assert found.notes == ("tinynets:silent, with random weights, was exported for this benchmark",)
    assert found.models[0].input_type == "uint8 [N, 4, 16, 3]"
    for ref in ("lenet", "digits"):
        with expect_error(UsageError, ref, "--input"):
            cnnkit.benchmark(ref, shape=(1, 28, 28), **QUICK)


def test_pytorch_is_measured_beside_it_and_its_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    found = cnnkit.benchmark("softmax-regression", **{**QUICK, "threads": [before % 2 + 1]}, torch=True)
    assert torch.get_num_threads() == before
    assert [row.engine for row in found.measurements] == ["onnxruntime", "PyTorch eager", "PyTorch compiled"]
    assert {row.threads for row in found.measurements} == {before % 2 + 1}
    assert (found.failures, found.notes) == ((), ())
    assert found.versions["PyTorch"] == torch.__version__
    compiled = found.measurements[-1]
    assert compiled.first_run_ms > 20 * compiled.latency_p50_ms


def test_each_number_of_threads_is_a_candidate(tiny_onnx: Path) -> None:
    found = torch_candidates.torch_candidates(examine("a.onnx", tiny_onnx, ["cpu"]), [1, 2])
    assert [(one.engine, one.device, one.threads, one.optional) for one in found] == [
        ("PyTorch eager", "CPU", 1, False),
        ("PyTorch eager", "CPU", 2, False),
        ("PyTorch compiled", "CPU", 1, True),
        ("PyTorch compiled", "CPU", 2, True),
    ]


@pytest.mark.parametrize("ref", ["lenet", "tinynets:Regular"])
def test_pytorch_does_what_the_file_does(ref: str, tmp_path: Path) -> None:
    """The same input, and outputs of the same names and shapes; eager and compiled agree where weights do."""
    path = cnnkit.export(ref, tmp_path / "a.onnx").path
    target = examine("a.onnx", path, ["cpu"])
    eager = next(iter(torch_candidates.torch_candidates(target, [1], trust_code=True)))
    logits, probabilities = eager.open(3).whole()
    assert logits.shape == probabilities.shape == (3, len(target.card.labels))
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)


def test_a_file_with_raw_input_is_not_normalised_twice(tiny_run: Path, tmp_path: Path) -> None:
    path = cnnkit.export(tiny_run, tmp_path / "raw.onnx", raw_input=True).path
    target = examine("raw.onnx", path, ["cpu"])
    assert target.described.input_type == "float32 [N, 3, 28, 28]"
    logits, _ = torch_candidates.torch_candidates(target, [1])[0].open(2).whole()
    assert logits.shape == (2, 3)


def test_what_cannot_be_compiled_is_left_out_with_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "no-compiler"))
    monkeypatch.setenv("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")
    from torch._inductor import config

    with config.patch({"cpp.cxx": (str(tmp_path / "no-compiler"),)}):
        found = cnnkit.benchmark("softmax-regression", **QUICK, torch=True)
    assert [row.engine for row in found.measurements] == ["onnxruntime", "PyTorch eager"]
    assert found.notes[0].startswith("PyTorch compiled of softmax-regression is left out: torch.compile cannot compile")


GREEDY = """
import torch
from torch import nn

@torch.compiler.disable
def ask():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

class Net(nn.Module):
    input_shape = (3, 8, 8)

    def __init__(self, num_classes=2):
        super().__init__()
        self.fc = nn.Linear(192, num_classes)

    def forward(self, images):
        if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
            ask()
        return self.fc(images.flatten(1))
"""


@pytest.mark.slow
@pytest.mark.slow
def test_too_little_memory_is_not_blamed_on_the_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "greedynet.py").write_text(GREEDY, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    found = cnnkit.benchmark("greedynet:Net", **QUICK, torch=True)
    assert [row.engine for row in found.measurements] == ["onnxruntime", "PyTorch eager"]
    assert any("CUDA out of memory" in note and "cannot compile" not in note for note in found.notes)


def test_pytorch_cannot_be_measured_without_a_card(foreign: Path) -> None:
    with expect_error(OnnxError, "--torch"):
        cnnkit.benchmark(foreign, **QUICK, torch=True)


def test_code_that_a_card_names_is_imported_only_where_trusted(tmp_path: Path) -> None:
    path = cnnkit.export("tinynets:Linear", tmp_path / "own.onnx").path
    with expect_error(CheckpointError, "tinynets:Linear"):
        cnnkit.benchmark(path, **QUICK, torch=True)


@pytest.mark.parametrize(
    ("refs", "options", "error", "name"),
    [
        (["lennet"], {}, UnknownNameError, "lenet"),
        (["nowhere.onnx"], {}, CheckpointError, "nowhere.onnx"),
        ([], {}, UsageError, "measure"),
        (["lenet"], {"devices": []}, UsageError, "device"),
        (["lenet"], {"devices": ["gpu"]}, UsageError, "gpu"),
        (["lenet"], {"batches": [0]}, UsageError, "--batch 0"),
        (["lenet"], {"threads": [0]}, UsageError, "--threads 0"),
        (["lenet"], {"seconds": 0}, UsageError, "--seconds 0"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_measured(
    refs: list[str], options: dict[str, object], error: type[Exception], name: str
) -> None:
    with expect_error(error, name):
        cnnkit.benchmark(*refs, **{**QUICK, **options})


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_device_that_cannot_be_had_is_a_device_error_even_beside_one_that_can() -> None:
    with expect_error(DeviceError, "--device cuda"):
        cnnkit.benchmark("lenet", **{**QUICK, "devices": ["cpu", "cuda"]})


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU that PyTorch can use")
@pytest.mark.parametrize("with_torch", [False, True])
def test_on_a_gpu_copies_and_computation_are_told_apart(with_torch: bool) -> None:
    found = cnnkit.benchmark("lenet", devices=["cuda", "cpu"], batches=[1, 256], seconds=0.2, torch=with_torch)
    on_gpu = [row for row in found.measurements if row.device == "CUDA"]
    assert len(on_gpu) == (6 if with_torch else 2)
    for row in on_gpu:
        assert row.threads is None
        assert 0 < row.copy_in_ms < row.latency_mean_ms * 1.2
        assert 0 < row.compute_ms < row.latency_mean_ms * 1.2
        assert 0 < row.copy_out_ms < row.latency_mean_ms * 1.2
        assert row.copy_in_ms + row.compute_ms + row.copy_out_ms == pytest.approx(row.latency_mean_ms, rel=0.5)
        assert row.peak_memory_mb is None or row.peak_memory_mb >= 0
