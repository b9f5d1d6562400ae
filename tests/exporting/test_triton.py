"""The Triton model repository: read by Triton's own schema, whole or not there, and never a surprise to clients."""

import dataclasses
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

import cnnkit
from cnnkit.card import CARD_KEY, ModelCard
from cnnkit.errors import CnnkitError, OnnxError, OutputError, UsageError
from cnnkit.exporting.triton import export_triton, model_name, write_triton_repository
from cnnkit.runtime.guard import graph_sha256
from tests.expecting import expect_error

ZOO = Path(__file__).parents[2] / "models_zoo"
LENET = ZOO / "lenet-mnist" / "model.onnx"
ORT_TYPES = {"TYPE_UINT8": "tensor(uint8)", "TYPE_FP32": "tensor(float)", "TYPE_FP16": "tensor(float16)"}
Cli = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("few_shapes", "nets")


def read_config(folder: Path) -> Any:
    return text_format.Parse((folder / "config.pbtxt").read_text("utf-8"), model_config_pb2.ModelConfig())


def inside(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def variant(
    target: Path, *, of: Path = LENET, graph: Callable[[onnx.ModelProto], object] | None = None, **changes: Any
) -> Path:
    """Write a file, lenet unless told otherwise, with another card, or another graph."""
    model = onnx.load(of)
    card = ModelCard.from_metadata({p.key: p.value for p in model.metadata_props}, "lenet")
    del model.metadata_props[:]
    if graph is not None:
        graph(model)
        card = dataclasses.replace(card, graph_sha256=graph_sha256(model))
    if changes != {"card": None}:
        onnx.helper.set_model_props(model, {CARD_KEY: dataclasses.replace(card, **changes).to_json()})
    target.write_bytes(model.SerializeToString())
    return target


@pytest.mark.parametrize("entry", sorted(path.parent.name for path in ZOO.glob("*/model.onnx")))
def test_the_configuration_describes_the_file_in_tritons_own_schema(entry: str, tmp_path: Path) -> None:
    result = write_triton_repository(ZOO / entry / "model.onnx", tmp_path, name=entry)
    folder = tmp_path / entry
    assert inside(tmp_path) == sorted(str(Path(path)) for path in result.written)
    assert inside(folder) == sorted(["config.pbtxt", "labels.txt", str(Path("1/model.onnx"))])
    assert (folder / "1" / "model.onnx").read_bytes() == (ZOO / entry / "model.onnx").read_bytes()
    config = read_config(folder)
    assert (config.name, config.platform, config.max_batch_size) == (entry, "onnxruntime_onnx", 64)
    session = onnxruntime.InferenceSession(folder / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    for said, real in ((config.input, session.get_inputs()), (config.output, session.get_outputs())):
        assert [(t.name, list(t.dims)) for t in said] == [(t.name, t.shape[1:]) for t in real]
        assert [ORT_TYPES[model_config_pb2.DataType.Name(t.data_type)] for t in said] == [t.type for t in real]
    labels = (folder / "labels.txt").read_text("utf-8").splitlines()
    assert tuple(labels) == cnnkit.load(entry).card.labels
    assert {output.label_filename for output in config.output} == {"labels.txt"}
    batching = config.dynamic_batching
    assert list(batching.preferred_batch_size) == [8, 16, 32, 64]
    assert batching.max_queue_delay_microseconds == 500


@pytest.mark.parametrize(
    ("device", "kind", "gpus", "accelerators"),
    [
        ("auto", "KIND_AUTO", [], []),
        ("cpu", "KIND_CPU", [], []),
        ("cuda", "KIND_GPU", [], []),
        ("cuda:3", "KIND_GPU", [3], []),
        ("tensorrt", "KIND_GPU", [], ["tensorrt"]),
    ],
)
def test_the_device_becomes_the_instance_group(
    device: str, kind: str, gpus: list[int], accelerators: list[str], tmp_path: Path
) -> None:
    write_triton_repository(LENET, tmp_path, name="net", device=device)
    config = read_config(tmp_path / "net")
    (group,) = config.instance_group
    assert (type(group).Kind.Name(group.kind), list(group.gpus), group.count) == (kind, gpus, 1)
    found = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert [accelerator.name for accelerator in found] == accelerators


def test_labels_and_tensor_names_of_any_kind_are_read_back(tmp_path: Path) -> None:
    labels = ('say "no"', "back\\slash", "naïve 東京", "{}", "# none", "a, b", "'", " spaced ", "9", "%s")
    name = 'pic"ture\\{'

    def rename(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            node.input[:] = [name if value == "image" else value for value in node.input]
        model.graph.input[0].name = name

    write_triton_repository(variant(tmp_path / "odd.onnx", labels=labels, graph=rename), tmp_path / "repository")
    folder = tmp_path / "repository" / "odd"
    assert read_config(folder).input[0].name == name
    assert tuple((folder / "labels.txt").read_bytes().decode().split("\n")) == (*labels, "")


def test_a_file_with_raw_input_says_so(tmp_path: Path, tiny_run: Path) -> None:
    result = export_triton(tiny_run, tmp_path, name="raw", write=partial(cnnkit.export, tiny_run, raw_input=True))
    image = read_config(tmp_path / "raw").input[0]
    assert (list(image.dims), image.data_type) == ([3, 28, 28], model_config_pb2.TYPE_FP32)
    assert result.certificate is not None
    assert result.certificate.passed


def test_a_new_version_leaves_the_tuned_configuration_alone(tmp_path: Path) -> None:
    write_triton_repository(LENET, tmp_path, name="net")
    config = tmp_path / "net" / "config.pbtxt"
    config.write_text(config.read_text("utf-8").replace("count: 1", "count: 4"), "utf-8")
    (tmp_path / "net" / "07").mkdir()
    newer = variant(tmp_path / "newer.onnx", metrics={"accuracy": 0.99})
    result = write_triton_repository(newer, tmp_path, name="net")
    assert (result.outcome, result.version, result.written) == ("new version", 2, ("net/2/model.onnx",))
    assert (tmp_path / "net" / "2" / "model.onnx").read_bytes() == newer.read_bytes()
    assert (tmp_path / "net" / "1" / "model.onnx").read_bytes() == LENET.read_bytes()
    assert read_config(tmp_path / "net").instance_group[0].count == 4
    again = write_triton_repository(newer, tmp_path, name="net")
    assert (again.outcome, again.version, again.written) == ("unchanged", 2, ())
    assert not (tmp_path / "net" / "3").exists()
    with expect_error(UsageError, "config.pbtxt"):
        write_triton_repository(newer, tmp_path, name="net", device="cpu")


@pytest.mark.parametrize("what", ["labels", "preprocessing"])
def test_another_model_of_that_name_is_refused_and_nothing_changes(what: str, tmp_path: Path) -> None:
    write_triton_repository(LENET, tmp_path / "repository", name="net")
    card = cnnkit.load("lenet-mnist").card
    changed = {
        "labels": card.labels[::-1],
        "preprocessing": dataclasses.replace(card.preprocessing, fit="contain"),
    }[what]
    other = variant(tmp_path / "other.onnx", **{what: changed})
    before = inside(tmp_path / "repository")
    with expect_error(OutputError, what):
        write_triton_repository(other, tmp_path / "repository", name="net")
    assert inside(tmp_path / "repository") == before


def in_the_way(folder: Path) -> None:
    folder.write_text("a file")


def no_version(folder: Path) -> None:
    folder.mkdir()
    (folder / "config.pbtxt").write_text("")


def no_configuration(folder: Path) -> None:
    (folder / "1").mkdir(parents=True)


@pytest.mark.parametrize("make", [in_the_way, no_version, no_configuration])
def test_what_is_no_model_of_a_repository_is_left_alone(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "net")
    before = inside(tmp_path)
    with expect_error(OutputError, "Triton"):
        write_triton_repository(LENET, tmp_path, name="net")
    assert inside(tmp_path) == before


@pytest.mark.parametrize("existing", [False, True])
def test_a_disk_that_fills_up_leaves_no_half_model(existing: bool, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="only Unix can limit the size of files")
    if existing:
        write_triton_repository(LENET, tmp_path, name="net")
    newer = variant(tmp_path / "newer.onnx", metrics={"accuracy": 0.99})
    before = sorted(tmp_path.rglob("*"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with expect_error(OutputError):
            write_triton_repository(newer, tmp_path, name="net")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(tmp_path.rglob("*")) == before


def fixed_batch(path: Path) -> Path:
    def fix(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1

    return variant(path, graph=fix)


def cut(path: Path) -> Path:
    path.write_bytes(LENET.read_bytes()[:1000])
    return path


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda path: variant(path, card=None), "card"),
        (fixed_batch, "batch"),
        (cut, "bad.onnx"),
        (lambda path: path, "No such file"),
    ],
    ids=["foreign", "fixed batch", "cut off", "absent"],
)
def test_a_file_that_cannot_go_there_is_refused(make: Callable[[Path], Path], name: str, tmp_path: Path) -> None:
    with expect_error(OnnxError, name):
        write_triton_repository(make(tmp_path / "bad.onnx"), tmp_path / "repository")
    assert not (tmp_path / "repository").exists()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("lenet.onnx", "lenet"),
        ("my net (2).onnx", "my-net-2"),
        ("runs/lenet-0.5/best.safetensors", "lenet-0.5"),
        ("runs/lenet-1/model.onnx", "lenet-1"),
        ("東京.onnx", ""),
    ],
)
def test_a_model_is_named_after_its_file_or_run(path: str, name: str) -> None:
    assert model_name(Path(path)) == name


@pytest.mark.parametrize(
    ("ref", "name"), [("tinynets:Linear", "Linear"), ("torchvision/squeezenet1_1", "squeezenet1_1")]
)
def test_a_model_is_named_after_its_reference(ref: str, name: str, tmp_path: Path) -> None:
    write = None if ref.startswith("tinynets") else partial(cnnkit.export, ref, shape=(3, 64, 64))
    assert export_triton(ref, tmp_path, write=write).name == name


def test_a_run_becomes_a_model_and_its_retraining_the_next_version(
    tiny_run: Path, tiny_onnx: Path, tmp_path: Path, cli: Cli
) -> None:
    first = cli("export", tiny_run, "--triton", tmp_path, "--triton-device", "cpu", "--json")
    data = json.loads(first.stdout)["data"]
    assert (first.exit_code, first.stderr) == (0, "")
    assert set(data) == {"repository", "name", "version", "outcome", "written", "trained", "certificate"}
    assert (data["name"], data["version"], data["outcome"]) == (tiny_run.name, 1, "new model")
    again = cli("export", tiny_run, "--triton", tmp_path)
    assert (again.exit_code, again.stderr) == (0, "")
    assert "version 1: this file was there already" in again.stdout
    retrained = variant(tmp_path / "retrained.onnx", of=tiny_onnx, metrics={"accuracy": 0.99})
    third = cli("export", retrained, "--triton", tmp_path, "--name", tiny_run.name)
    assert (third.exit_code, third.stderr) == (0, "")
    assert "version 2: a new version" in third.stdout
    assert f"Serve it by: tritonserver --model-repository {tmp_path}\n" in third.stdout


def test_networks_that_disagree_reach_no_repository(tmp_path: Path, cli: Cli) -> None:
    result = cli("export", "tinynets:Planted", "--triton", tmp_path / "repository")
    assert result.exit_code == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["lenet", "--triton", "r", "-o", "a.onnx"], 2, "leave out --output"),
        (["lenet", "--onnx", "--name", "net"], 2, "--name and --triton-device are for a Triton repository"),
        (["lenet", "--onnx", "--triton-device", "cpu"], 2, "--name and --triton-device are for a Triton repository"),
        (["lenet", "--triton", "r", "--name", "../net"], 2, "'../net' cannot name a model"),
        (["lenet", "--triton", "r", "--name", ".."], 2, "'..' cannot name a model"),
        (["lenet", "--triton", "r", "--triton-device", "tpu"], 2, "there is no device 'tpu'"),
        (["lenet", "--triton", "r", "--triton-device", "cpu:1"], 2, "there is no device 'cpu:1'"),
        ([LENET, "--triton", "r", "--raw-input"], 2, "is an ONNX file already"),
        (["lenett", "--triton", "r"], 1, "Did you mean lenet"),
        (["lenet", "--triton", "file"], 1, "cannot write into file"),
    ],
)
def test_bad_usage_is_one_line_and_writes_nothing(
    arguments: list[object], code: int, message: str, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way")
    result = cli("export", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert inside(tmp_path) == ["file"]


def test_all_errors_are_cnnkits_own(tmp_path: Path) -> None:
    with pytest.raises(CnnkitError):
        write_triton_repository(tmp_path, tmp_path / "repository", name="net")
