"""Tensors whose data lies beside an ONNX file: read into the model, from the file's own folder only.

Afterwards one text of bytes holds all that runs: it is what is checked, hashed, tried and opened.
"""

from math import prod
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from cnnkit.errors import OnnxError
from cnnkit.runtime.graphs import tensors
from cnnkit.words import counted

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

_PACKED = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}
"""Bits of an element, by `TensorProto.DataType`, where it is not a number of bytes."""


def read_external(model: "ModelProto", file: Path | None, most: int) -> None:
    """Read all data that lies beside the file into the model.

    Args:
        model: as read.
        file: that the model is in; None where the model came from memory.
        most: bytes that the model may have with its data.

    Raises:
        OnnxError: the data is not in the file's folder, not whole, or too much.
    """
    from onnx import TensorProto

    total = model.ByteSize()
    for tensor in tensors(model):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        size = _size(tensor)
        total += size
        if total > most:
            raise OnnxError(f"it has more than {most / 1e9:.1f} GB with the data beside it. Export it in float16.")
        data = _data(tensor, size, file)
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
        tensor.raw_data = data


def _size(tensor: "TensorProto") -> int:
    from onnx import TensorProto
    from onnx.helper import tensor_dtype_to_np_dtype

    if min(tensor.dims, default=0) < 0:
        raise OnnxError(f"the tensor {tensor.name!r} declares the shape {list(tensor.dims)}.")
    try:
        bits = _PACKED.get(TensorProto.DataType.Name(tensor.data_type), 0)
        bits = bits or 8 * tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, ValueError) as error:
        raise OnnxError(f"the tensor {tensor.name!r} is of the unknown data type {tensor.data_type}.") from error
    return -(-prod(tensor.dims) * bits // 8)


def _data(tensor: "TensorProto", size: int, file: Path | None) -> bytes:
    fields = {entry.key: entry.value for entry in tensor.external_data}
    location = fields.get("location", "")
    what = f"the data of the tensor {tensor.name!r} is in {location!r}"
    if file is None:
        raise OnnxError(f"{what}, beside a file; this model came from memory. Open it by its path.")
    outside = not location or "\0" in location
    for path in (PurePosixPath(location), PureWindowsPath(location)):
        outside |= bool(path.anchor) or ".." in path.parts
    if outside:
        raise OnnxError(f"{what}, outside the file's own folder; data must lie in that folder or below.")
    # Caches and mounts hold links, to where the file itself is, or to a place below: there the data may be, too.
    try:
        real = (file.parent / location).resolve()
        homes = (file.parent.resolve(), file.resolve().parent)
    except (OSError, RuntimeError):
        raise OnnxError(f"{what}, a link that leads back to itself. Put the data itself beside the file.") from None
    if not any(real.is_relative_to(home) for home in homes):
        raise OnnxError(
            f"{what}, a link to {real}, outside the file's own folder. Put the data itself beside the file."
        )
    try:
        offset, length = int(fields.get("offset") or 0), int(fields.get("length") or size)
    except ValueError:
        raise OnnxError(f"{what}, with an offset or length that is no number.") from None
    if offset < 0 or length != size:
        raise OnnxError(f"{what}, with offset {offset} and length {length:,}; its shape needs {counted(size, 'byte')}.")
    if not real.is_file():  # a pipe would wait for ever
        raise OnnxError(f"{what}, which is not there. Put it beside the .onnx file.")
    try:
        with real.open("rb") as opened:
            opened.seek(offset)
            data = opened.read(size)
    except OSError as error:
        raise OnnxError(f"{what}, which cannot be read: {error.strerror or error}.") from error
    if len(data) < size:
        raise OnnxError(f"{what}, which has {counted(real.stat().st_size, 'byte')}; {offset + size:,} are needed: it "
                        "is not whole.")  # fmt: skip
    return data
