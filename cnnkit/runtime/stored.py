"""The tensors that an ONNX file stores: as much data as they declare, and none outside the file's folder."""

from math import prod
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from cnnkit.errors import OnnxError
from cnnkit.runtime.graphs import tensors
from cnnkit.words import counted

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

MAX_ELEMENTS = 2**31
"""Of one tensor: more than any weight of a network that fits into 2 GB."""

_TYPED_DATA = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


def check_tensors(model: "ModelProto", file: Path | None) -> bool:
    """Check all stored tensors, and return whether any of them keeps its data in another file.

    Args:
        model: as read, without external data.
        file: that the model is in, external data beside it; None where the model came from memory.

    Raises:
        OnnxError: sizes that do not match, or data that is absent or elsewhere.
    """
    from onnx import TensorProto

    external = False
    for tensor in tensors(model):
        count, width = _declared(tensor)
        if tensor.data_location == TensorProto.EXTERNAL:
            external = True
            _check_external(tensor, -(-count * width // 8), file)
        elif tensor.HasField("raw_data"):
            _require(tensor, -(-count * width // 8), len(tensor.raw_data), "bytes")
        else:
            _check_typed(tensor, count, width)
    return external


def _declared(tensor: "TensorProto") -> tuple[int, int]:
    """Return the number of elements and the bits of one."""
    from onnx import TensorProto
    from onnx.helper import tensor_dtype_to_np_dtype

    shape = list(tensor.dims)
    count = prod(shape)
    if any(size < 0 for size in shape) or count > MAX_ELEMENTS:
        raise OnnxError(f"the tensor {tensor.name!r} declares the shape {shape}, which no file can hold.")
    if tensor.data_type == TensorProto.STRING:
        return count, 0
    try:
        kind = TensorProto.DataType.Name(tensor.data_type)
        width = 8 * tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, ValueError) as error:
        raise OnnxError(f"the tensor {tensor.name!r} is of the unknown data type {tensor.data_type}.") from error
    packed = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}
    return count, packed.get(kind, width)


def _check_typed(tensor: "TensorProto", count: int, width: int) -> None:
    from onnx import TensorProto

    expected = count
    if tensor.data_type in {TensorProto.COMPLEX64, TensorProto.COMPLEX128}:
        expected = 2 * count
    elif 0 < width < 8:
        expected = -(-count * width // 8)
    _require(tensor, expected, sum(len(getattr(tensor, name)) for name in _TYPED_DATA), "values")


def _require(tensor: "TensorProto", expected: int, found: int, unit: str) -> None:
    if found != expected:
        raise OnnxError(
            f"the tensor {tensor.name!r} of shape {list(tensor.dims)} should have {expected:,} {unit} and has "
            f"{found:,}: the file is damaged."
        )


def _check_external(tensor: "TensorProto", size: int, file: Path | None) -> None:
    fields = {entry.key: entry.value for entry in tensor.external_data}
    location = fields.get("location", "")
    what = f"the data of the tensor {tensor.name!r} is in {location!r}"
    if file is None:
        raise OnnxError(f"{what}, beside a file; this model came from memory. Open it by its path.")
    # onnxruntime takes this prefix for an address in memory.
    outside = not location or "\0" in location or location.startswith("*/")
    for path in (PurePosixPath(location), PureWindowsPath(location)):
        outside |= bool(path.anchor) or ".." in path.parts
    if outside:
        raise OnnxError(f"{what}, outside the file's own folder; data must lie in that folder or below.")
    # Caches and mounts hold links, to where the file itself is, or to a place below: there the data may be, too.
    place = file.parent / location
    try:
        real, homes = place.resolve(), (file.parent.resolve(), file.resolve().parent)
    except (OSError, RuntimeError):
        raise OnnxError(f"{what}, a link that leads back to itself. Put the data itself beside the file.") from None
    if not any(real.is_relative_to(home) for home in homes):
        raise OnnxError(
            f"{what}, a link to {real}, outside the file's own folder. Put the data itself beside the file."
        )
    if not place.is_file():
        raise OnnxError(f"{what}, which is not there. Put it beside the .onnx file.")
    try:
        offset = int(fields.get("offset") or 0)
        length = int(fields.get("length") or size)
    except ValueError:
        raise OnnxError(f"{what}, with an offset or length that is no number.") from None
    if offset < 0 or length != size:
        raise OnnxError(f"{what}, with offset {offset} and length {length:,}; its shape needs {counted(size, 'byte')}.")
    if place.stat().st_size < offset + length:
        raise OnnxError(
            f"{what}, which has {counted(place.stat().st_size, 'byte')}; {offset + length:,} are needed: it is not "
            "whole."
        )
