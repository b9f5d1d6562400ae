"""From the bytes of an ONNX file to the one model that is checked, and that runs.

Nothing else of a file reaches onnxruntime: no field that the onnx library does not know, no local function, no data of
another file.
"""

import hashlib
from math import prod
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any, NamedTuple

from cnnkit.errors import OnnxError
from cnnkit.runtime import graphs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from onnx import ModelProto

MAX_FILE_BYTES = 2**31 - 1
"""What a protobuf can hold, data beside it included."""
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


class Parsed(NamedTuple):
    """The model that a file holds with the data beside it, and the SHA-256 of all bytes that it was read from."""

    model: "ModelProto"
    sha256: str


def parse(content: bytes, file: Path | None, grow: "Callable[[int], object]" = int) -> Parsed:
    """Return the model that a file holds, with data that lies beside it.

    Args:
        content: of the file.
        file: its path; None where there is none.
        grow: is told the bytes of all data, before that is read.

    Raises:
        OnnxError: it is damaged, too large, reaches for other files, or not of a version that can be read.
    """
    import onnx

    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except MemoryError:
        raise
    except Exception:  # protobuf's own
        raise OnnxError("it is not an ONNX file, or not a whole one. Copy or export it again.") from None
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
    kinds = {value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)}
    unknown = {*kinds, *(tensor.data_type for tensor in graphs.tensors(model))} - {*onnx.TensorProto.DataType.values()}
    if unknown:
        raise OnnxError(f"it is damaged: it has values of the unknown data type {min(unknown)}.")
    _check_versions(model)
    for function in model.functions:
        if not function.domain or function.domain.startswith(_RESERVED):
            raise OnnxError(
                f"it defines the operator {function.name} of {function.domain or 'the standard domain'} anew, which "
                "onnxruntime has itself. Export it with that function in a domain of its own."
            )
    digest = hashlib.sha256(content)
    for data in _read_external(model, len(content), file, grow):
        digest.update(data)
    return Parsed(model, digest.hexdigest())


def simplify(model: "ModelProto") -> "ModelProto":
    """Return what runs of a model: without local functions and training, sizes below one left open, one name a domain.

    Raises:
        OnnxError: it is not valid, or a local function cannot be replaced by its body.
    """
    from onnx import checker, inliner

    try:
        checker.check_model(model)
    except MemoryError:
        raise
    except Exception as error:  # onnx raises its own types, ValueError and RuntimeError alike
        raise OnnxError(f"it is not a valid ONNX file: {' '.join(str(error).split())[:300]}") from error
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


def fix_sizes(model: "ModelProto", sizes: "Mapping[str, tuple[int, ...]]", batched: str) -> None:
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


def _read_external(
    model: "ModelProto", total: int, file: Path | None, grow: "Callable[[int], object]"
) -> "Iterator[bytes]":
    """Read all data that lies beside the file into the model, and yield it: what is checked is what runs."""
    from onnx import TensorProto
    from onnx.helper import tensor_dtype_to_np_dtype

    found = []
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
            total += length
            if total > MAX_FILE_BYTES:
                raise OnnxError(f"it has more than {MAX_FILE_BYTES / 1e9:.1f} GB with its data. Export it in float16.")
            found.append((tensor, _place(fields.get("location", ""), file, what), offset, length, f"{what}, which"))
    if found:
        grow(total)
    for tensor, place, offset, length, what in found:
        data = _read(place, offset, length, what)
        if len(data) < length:
            raise OnnxError(f"{what} has {len(data):,} of {length:,} bytes: it is not whole.")
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
        tensor.raw_data = data
        yield data


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
