"""From the bytes of an ONNX file to the one model that is checked, and that runs.

Nothing else of a file reaches onnxruntime: no field that the onnx library does not know, no local function, no data of
another file.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from math import prod
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from cnnkit.errors import OnnxError
from cnnkit.runtime import graphs
from cnnkit.runtime.guard.limits import count_fields
from cnnkit.words import counted

if TYPE_CHECKING:
    from onnx import ModelProto

MAX_FILE_BYTES = 2**31 - 1
"""What a protobuf can hold, data beside it included."""
MAX_NODES = 20_000
MAX_GROWTH = 2**28
"""Bytes that the bodies of local functions may take in place of their calls."""
MAX_PARTS = 1_000_000
"""Nodes, names, attributes, dimensions and whatever else takes more memory once the file is read."""

_RESERVED = ("ai.onnx", "com.microsoft", "com.ms.")
"""What the domains begin with whose operators are onnxruntime's own, together with the empty one."""


def read_bytes(file: Path | bytes) -> bytes:
    """Return the content of a file.

    Raises:
        OnnxError: it cannot be read, or is too large, or of another format.
    """
    if isinstance(file, Path):
        file = _read(file, 0, MAX_FILE_BYTES + 1)
    if len(file) > MAX_FILE_BYTES:
        raise OnnxError(f"it is too large: an ONNX file holds {MAX_FILE_BYTES / 1e9:.1f} GB at most.")
    if file[4:8] == b"ORTM":
        raise OnnxError(
            "it is not an ONNX file, but of onnxruntime's own format (.ort), which is made for one kind of machine. "
            "Use the .onnx file that it was made from."
        )
    if not file:
        raise OnnxError("it is not an ONNX file: it is empty. Copy or export it again.")
    if file.startswith(b"version https://git-lfs"):
        raise OnnxError("it is a pointer of Git LFS, not the file itself. Fetch that: git lfs pull")
    if file[:512].lstrip()[:1] == b"<":
        raise OnnxError("it is a page (HTML or XML), not an ONNX file. Download the file itself.")
    return file


def parse(content: bytes, file: Path | None) -> "ModelProto":
    """Return the model that a file holds, with data that lies beside it.

    Raises:
        OnnxError: it is damaged, too large, not of a version that can be read, or not a valid ONNX file.
    """
    import onnx

    model = onnx.ModelProto()
    try:
        parts = count_fields(content, onnx.ModelProto.DESCRIPTOR, MAX_PARTS)
        if parts <= MAX_PARTS:
            model.ParseFromString(content)
    except Exception:  # protobuf's own
        raise OnnxError("it is not an ONNX file, or not a whole one. Copy or export it again.") from None
    if parts > MAX_PARTS:
        raise OnnxError(f"it has more than {MAX_PARTS:,} parts.")
    model.DiscardUnknownFields()
    if not model.HasField("graph") or not model.ir_version:
        raise OnnxError("it is not an ONNX file: there is no graph in it.")
    if not model.graph.output:
        raise OnnxError("its graph has no output.")
    names: list[Any] = [
        name for n in graphs.nodes(model) for name in (n.name, n.op_type, n.domain, *n.input, *n.output)
    ]
    for value in (*model.graph.input, *model.graph.output):
        names += [value.name, *graphs.dimensions(value)]
    if any(isinstance(name, bytes) for name in names):
        raise OnnxError("it is damaged: there are names in it that are no text.")
    kinds = [value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)]
    unknown = {*kinds, *(tensor.data_type for tensor in graphs.tensors(model))} - {*onnx.TensorProto.DataType.values()}
    if unknown:
        raise OnnxError(f"it is damaged: it has values of the unknown data type {min(unknown)}.")
    _check_versions(model)
    _check_functions(model)
    _read_external(model, file)
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # onnx raises its own types, ValueError and RuntimeError alike
        raise OnnxError(f"it is not a valid ONNX file: {' '.join(str(error).split())[:300]}") from error
    return model


def simplify(model: "ModelProto") -> "ModelProto":
    """Return what runs of a model: without local functions and training, sizes below one left open, one name a domain.

    Raises:
        OnnxError: a local function cannot be replaced by its body.
    """
    from onnx import inliner

    if model.functions:
        try:
            model = inliner.inline_local_functions(model)
        except Exception as error:  # onnx raises its own types
            raise OnnxError(f"its local functions cannot be inlined: {' '.join(str(error).split())[:200]}") from error
        if model.functions:
            raise OnnxError(f"its local function {model.functions[0].name} is of another opset. Export it again.")
    model.ClearField("training_info")
    for entry in (*model.opset_import, *graphs.nodes(model)):
        if entry.domain == "ai.onnx":
            entry.ClearField("domain")
    if len({entry.domain for entry in model.opset_import}) < len(model.opset_import):
        raise OnnxError("it names two opsets of one domain. Export it again.")
    for value in (*model.graph.input, *model.graph.output):
        for size in value.type.tensor_type.shape.dim:
            if size.HasField("dim_value") and size.dim_value <= 0:  # onnxruntime takes a size of 0 for one of 0
                size.ClearField("dim_value")
    return model


def fix_sizes(model: "ModelProto", sizes: Mapping[str, tuple[int, ...]], batched: str) -> None:
    """Declare the sizes of inputs, but for the batch of one, so that onnxruntime takes no others."""
    for value in model.graph.input:
        for place, (dimension, size) in enumerate(
            zip(value.type.tensor_type.shape.dim, sizes.get(value.name, ()), strict=False)
        ):
            if place or value.name != batched:
                dimension.dim_value = size


def graph_sha256(model: "ModelProto") -> str:
    """Return the SHA-256 of a model without its metadata, so that the card in it can hold it."""
    from onnx import ModelProto

    bare = ModelProto()
    bare.CopyFrom(model)
    bare.ClearField("metadata_props")
    return hashlib.sha256(bare.SerializeToString(deterministic=True)).hexdigest()


def _check_versions(model: "ModelProto") -> None:
    import onnx

    newest = onnx.defs.onnx_opset_version()
    opset = max((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), default=1)
    for kind, version, first, last in (("ONNX IR version", model.ir_version, 3, onnx.IR_VERSION),
                                       ("opset", opset, 1, newest)):  # fmt: skip
        if not first <= version <= last:
            raise OnnxError(
                f"it uses {kind} {version}; onnx {onnx.__version__} reads up to {kind} {last}. Export it with an older "
                "version, or update onnx and onnxruntime."
            )


def _check_functions(model: "ModelProto") -> None:
    """Count the nodes as they are when each call of a local function is replaced by its body; none may call itself."""
    for function in model.functions:
        if not function.domain or function.domain.startswith(_RESERVED):
            raise OnnxError(
                f"it defines the operator {function.name} of {function.domain or 'the standard domain'} anew, which "
                "onnxruntime has itself. Export it with that function in a domain of its own."
            )

    def calls(block: Any) -> list[tuple[str, str, str]]:
        return [(n.domain, n.op_type, n.overload) for body in graphs.inside(block) for n in body.node]

    named = {(f.domain, f.name, f.overload): f for f in model.functions}
    waiting = {name: Counter(calls(function)) for name, function in named.items()}
    if len(waiting) < len(model.functions):
        raise OnnxError("two of its local functions have one name.")
    sizes: dict[tuple[str, str, str], int] = {}  # nodes of each with those of the functions that it calls
    spaces: dict[tuple[str, str, str], int] = {}  # bytes of the same
    while waiting:
        ready = [name for name, called in waiting.items() if not called.keys() & waiting.keys()]
        if not ready:
            raise OnnxError("its local functions call themselves without end.")
        for name in ready:
            called = waiting.pop(name)
            sizes[name] = sum(count * (1 + sizes.get(each, 0)) for each, count in called.items())
            inner = sum(count * spaces.get(each, 0) for each, count in called.items())
            spaces[name] = named[name].ByteSize() + inner
    total = sum(1 + sizes.get(called, 0) for called in calls(model.graph))
    if total > MAX_NODES:
        raise OnnxError(f"it has {counted(total, 'node')}; {MAX_NODES:,} are the most.")
    if (space := sum(spaces.get(called, 0) for called in calls(model.graph))) > MAX_GROWTH:
        raise OnnxError(f"its local functions take {space / 1e6:,.0f} MB once they are in place of their calls.")


def _read_external(model: "ModelProto", file: Path | None) -> None:
    """Read all data that lies beside the file into the model: what is checked is what runs."""
    from onnx import TensorProto
    from onnx.helper import tensor_dtype_to_np_dtype

    left = MAX_FILE_BYTES - model.ByteSize()
    for tensor in graphs.tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            fields = {entry.key: entry.value for entry in tensor.external_data}
            what = f"the data of the tensor {tensor.name!r} is in {fields.get('location', '')!r}"
            shown = prod(tensor.dims) * tensor_dtype_to_np_dtype(tensor.data_type).itemsize
            try:
                offset, length = int(fields.get("offset") or 0), int(fields.get("length") or shown)
            except ValueError:
                raise OnnxError(f"{what}, with an offset or length that is no number.") from None
            if offset < 0 or not 0 <= length <= shown:
                raise OnnxError(f"{what}, with offset {offset} and length {length:,}; its shape needs {shown:,} bytes.")
            left -= length
            if left < 0:
                raise OnnxError(f"it has more than {MAX_FILE_BYTES / 1e9:.1f} GB with its data. Export it in float16.")
            data = _read(_place(fields.get("location", ""), file, what), offset, length, f"{what}, which")
            if len(data) < length:
                raise OnnxError(f"{what}, which has {len(data):,} of {length:,} bytes: it is not whole.")
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
            tensor.raw_data = data


def _place(location: str, file: Path | None, what: str) -> Path:
    """Return where data lies: in the file's own folder or below, where caches and mounts may hold links to it."""
    if file is None:
        raise OnnxError(f"{what}, beside a file; this model came from memory. Open it by its path.")
    outside = not location or "\0" in location
    for path in (PurePosixPath(location), PureWindowsPath(location)):
        outside |= bool(path.anchor) or ".." in path.parts
    if outside:
        raise OnnxError(f"{what}, outside the file's own folder; data must lie in that folder or below.")
    try:
        real = (file.parent / location).resolve()
        homes = (file.parent.resolve(), file.resolve().parent)
    except (OSError, RuntimeError):
        raise OnnxError(f"{what}, a link that leads back to itself. Put the data itself beside the file.") from None
    if not any(real.is_relative_to(home) for home in homes):
        raise OnnxError(
            f"{what}, a link to {real}, outside the file's own folder. Put the data itself beside the file."
        )
    return real


def _read(path: Path, offset: int, most: int, what: str = "") -> bytes:
    try:
        if not path.is_file():  # a pipe would wait for ever
            raise OnnxError(f"{what} is not there. Put it beside the .onnx file." if what else "there is no such file.")
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(most)
    except OSError as error:
        raise OnnxError(f"{what or 'it'} cannot be read: {error.strerror or error}.") from error
