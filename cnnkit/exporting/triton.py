"""A Triton model repository for a file of ours: for clusters there is an engine already.

The layout and the fields of `config.pbtxt` are those of NVIDIA's Triton Inference Server, "Model Repository" and "Model
Configuration" of its user guide; the tests read the text with the server's own protobuf schema.
"""

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx

from cnnkit.card import CARD_KEY, ModelCard
from cnnkit.errors import OnnxError, OutputError, UsageError
from cnnkit.exporting.export import export
from cnnkit.exporting.results import ExportResult, Outcome, TritonModel
from cnnkit.files import require_writable, write_folder_atomic
from cnnkit.registry import short_name
from cnnkit.runtime.foreign.opening import open_onnx
from cnnkit.sources import Ref, find

MAX_BATCH_SIZE = 64
PREFERRED_BATCH_SIZES = (8, 16, 32, 64)
MAX_QUEUE_DELAY_MICROSECONDS = 500

_TYPES: dict[int, str] = {
    onnx.TensorProto.UINT8: "TYPE_UINT8",
    onnx.TensorProto.FLOAT: "TYPE_FP32",
    onnx.TensorProto.FLOAT16: "TYPE_FP16",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def write_triton_repository(
    source: Path, repository: Path, *, name: str | None = None, device: str = "auto"
) -> TritonModel:
    """Put an exported file into a Triton model repository: `config.pbtxt`, `labels.txt` and `1/model.onnx`.

    Where the repository has the model already, the file becomes its next version, provided that clients see no
    difference: the newest version there takes the same input and gives the same classes. The older versions, the labels
    and `config.pbtxt`, with all that was tuned in it, stay as they are. The file of the newest version itself is not
    written again.

    Args:
        source: an ONNX file with a model card.
        repository: folder of models; made where it is not there.
        name: of the model; None for the file's own.
        device: `auto` for GPUs where the server has them, `cpu`, `cuda`, `cuda:N`, or `tensorrt` for onnxruntime's
            TensorRT provider; other than `auto` for a new model only.

    Raises:
        OnnxError: the file is no ONNX file, carries no card, or fixes its batch.
        UsageError: the name or the device is not a valid one.
        OutputError: the folder cannot be written, or has another model of that name; nothing is changed.
    """
    name = name or model_name(source)
    require_place(repository, name, device)
    content, model, card = _read(source, str(source))
    folder = repository / name
    if not folder.exists():
        files = {
            "config.pbtxt": _configuration(name, model, device).encode(),
            "labels.txt": "".join(f"{label}\n" for label in card.labels).encode(),
            "1/model.onnx": content,
        }
        write_folder_atomic(folder, files)
        return _result(repository, name, 1, card, "new model", tuple(files))
    newest = _newest_version(folder)
    there, _, its_card = _read(folder / str(newest) / "model.onnx", str(folder))
    if there == content:
        return _result(repository, name, newest, card, "unchanged", ())
    _require_same_interface(card, its_card, folder)
    write_folder_atomic(folder / str(newest + 1), {"model.onnx": content})
    return _result(repository, name, newest + 1, card, "new version", (f"{newest + 1}/model.onnx",))


def export_triton(
    ref: Ref,
    repository: str | Path,
    *,
    name: str | None = None,
    device: str = "auto",
    write: Callable[[Path], ExportResult] | None = None,
) -> TritonModel:
    """Put a network into a Triton model repository; see `write_triton_repository`.

    Args:
        ref: an ONNX file of ours, which is copied, or what `cnnkit.export` takes, which is exported, with its proof.
        repository: folder of models.
        name: of the model there; None for that of the file, the run or the network.
        device: where the server runs it: `auto`, `cpu`, `cuda`, `cuda:N` or `tensorrt`.
        write: exports the network to a file; None for `cnnkit.export` without options.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = export_triton("lenet", folder)
    >>> made.version, made.written
    (1, ('lenet/config.pbtxt', 'lenet/labels.txt', 'lenet/1/model.onnx'))
    """
    source = find(ref)
    target = Path(repository).expanduser()
    name = name or model_name(source.path or Path(source.text.rpartition(":")[2]))
    if not source.has_layers and source.path is not None:
        if write is not None:
            raise UsageError(f"{source.text} is an ONNX file already; it cannot be exported again with other options.")
        return write_triton_repository(source.path, target, name=name, device=device)
    require_place(target, name, device)
    with TemporaryDirectory() as folder:
        exported = (write or partial(export, source))(Path(folder) / "model.onnx")
        return write_triton_repository(exported.path, target, name=name, device=device)


def require_place(repository: Path, name: str, device: str) -> None:
    """Raise what `write_triton_repository` would about the name, the device or the folder, before any long work."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a model of a Triton repository: expected letters, digits, dots, underscores and "
            "hyphens, a letter or digit first. Give it a --name."
        )
    _instance_group(device)
    require_writable(repository)
    folder = repository / name
    if folder.exists():
        _newest_version(folder)
        if device != "auto":
            raise UsageError(
                f"{folder} is there, and its config.pbtxt says where it runs. Leave out --triton-device and edit its "
                "instance_group, or choose another --name."
            )


def model_name(source: Path) -> str:
    """Return the name that a file gives its model in a repository: its own, or that of its run folder.

    >>> model_name(Path("runs/lenet-mnist-1/model.onnx")), model_name(Path("my net.onnx"))
    ('lenet-mnist-1', 'my-net')
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", short_name(str(source))).strip("-._")


def _result(
    repository: Path, name: str, version: int, card: ModelCard, outcome: Outcome, written: tuple[str, ...]
) -> TritonModel:
    return TritonModel(
        repository=repository,
        name=name,
        version=version,
        outcome=outcome,
        written=tuple(f"{name}/{path}" for path in written),
        trained=card.trained,
        certificate=card.parity,
    )


def _read(path: Path, name: str) -> tuple[bytes, onnx.ModelProto, ModelCard]:
    """Return an ONNX file of ours: its content, its graph and its card, once onnxruntime could open it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise OnnxError(f"cannot read {path}: {error.strerror or error}.") from error
    # Opened from its bytes, a file has no folder to read further weights from, just as in the repository.
    card = open_onnx(content, name, device="cpu").card
    model = onnx.load_model_from_string(content)
    if CARD_KEY not in {entry.key for entry in model.metadata_props}:
        raise OnnxError(
            f"{name} carries no model card, so its labels are unknown. Name what it was exported from: a run, a "
            "checkpoint or a zoo entry."
        )
    (image,) = model.graph.input
    if image.type.tensor_type.shape.dim[0].HasField("dim_value"):
        raise OnnxError(f"{name} fixes its batch; Triton's batching needs one that is open. Export it anew.")
    return content, model, card


def _newest_version(folder: Path) -> int:
    # What is not a number, or starts with a zero, is no version to Triton either.
    inside = folder.iterdir() if folder.is_dir() else ()
    numbers = [int(path.name) for path in inside if re.fullmatch(r"[1-9][0-9]*", path.name)]
    if not numbers or not (folder / "config.pbtxt").is_file():
        raise OutputError(f"{folder} is there, and is no model of a Triton repository. Choose another --name.")
    return max(numbers)


def _require_same_interface(card: ModelCard, other: ModelCard, folder: Path) -> None:
    differing = [
        what
        for what, one, two in (
            ("labels", card.labels, other.labels),
            ("preprocessing", card.preprocessing, other.preprocessing),
            ("kind of input", card.raw_input, other.raw_input),
        )
        if one != two
    ]
    if differing:
        raise OutputError(
            f"{folder} serves a model whose card has other {' and '.join(differing)}; a new version must not surprise "
            "its clients. Choose another --name or folder."
        )


def _instance_group(device: str) -> list[str]:
    """Return what the configuration says about where the model runs."""
    match = re.fullmatch(r"(auto|cpu|cuda|tensorrt)(?::(\d+))?", device)
    if match is None or (match[2] and match[1] in {"auto", "cpu"}):
        raise UsageError(f"there is no device {device!r}; expected auto, cpu, cuda, cuda:N or tensorrt.")
    kind = {"auto": "KIND_AUTO", "cpu": "KIND_CPU"}.get(match[1], "KIND_GPU")
    gpus = [f"    gpus: [ {int(match[2])} ]"] if match[2] else []
    lines = ["instance_group [", "  {", "    count: 1", f"    kind: {kind}", *gpus, "  }", "]"]
    if match[1] == "tensorrt":
        accelerator = '    gpu_execution_accelerator [ { name: "tensorrt" } ]'
        lines += ["optimization {", "  execution_accelerators {", accelerator, "  }", "}"]
    return lines


def _configuration(name: str, model: onnx.ModelProto, device: str) -> str:
    """Return `config.pbtxt`, a `ModelConfig` in protobuf's text format."""
    lines = [
        f"name: {_quoted(name)}",
        'platform: "onnxruntime_onnx"',
        f"max_batch_size: {MAX_BATCH_SIZE}",
        *_tensors("input", model.graph.input),
        *_tensors("output", model.graph.output),
        "dynamic_batching {",
        f"  preferred_batch_size: [ {', '.join(map(str, PREFERRED_BATCH_SIZES))} ]",
        f"  max_queue_delay_microseconds: {MAX_QUEUE_DELAY_MICROSECONDS}",
        "}",
        *_instance_group(device),
    ]
    return "\n".join(lines) + "\n"


def _tensors(field: str, values: Sequence[onnx.ValueInfoProto]) -> list[str]:
    lines = [f"{field} ["]
    for index, value in enumerate(values):
        # The batch is not among the dimensions: `max_batch_size` says that there is one.
        kind, dims = value.type.tensor_type.elem_type, value.type.tensor_type.shape.dim[1:]
        if kind not in _TYPES:
            expected = " or ".join(map(onnx.TensorProto.DataType.Name, _TYPES))
            raise OnnxError(f"{value.name} is {onnx.TensorProto.DataType.Name(kind)}; expected {expected}.")
        lines += [
            "  {",
            f"    name: {_quoted(value.name)}",
            f"    data_type: {_TYPES[kind]}",
            f"    dims: [ {', '.join(str(dim.dim_value) if dim.HasField('dim_value') else '-1' for dim in dims)} ]",
            *(['    label_filename: "labels.txt"'] if field == "output" else []),
            "  }," if index < len(values) - 1 else "  }",
        ]
    return [*lines, "]"]


def _quoted(text: str) -> str:
    # Protobuf's text format escapes quotes, backslashes and control characters as JSON does.
    return json.dumps(text, ensure_ascii=False)
