"""Tensors as the Open Inference Protocol writes them, in JSON and as bytes, and as numpy arrays.

JSON data is one list in row-major order, or lists nested as the shape says. Bytes are little-endian and row-major,
without gaps; a string is its length in four bytes, then its UTF-8 bytes. Source: the Open Inference Protocol's "Tensor
Data", and the binary tensor data extension of NVIDIA's Triton Inference Server.
"""

import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cnnkit.serving.http.errors import HttpError
from cnnkit.words import counted

Array = NDArray[Any]

_DTYPES = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_OF_ONNX = {
    "tensor(bool)": "BOOL",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
} | {f"tensor({sign}int{bits})": f"{sign}int{bits}".upper() for sign in ("", "u") for bits in (8, 16, 32, 64)}
_MAX_DIMENSION = 2**63 - 1


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor that a model takes or gives.

    Attributes:
        name: of the graph's input or output.
        datatype: in the protocol's words, such as `UINT8`.
        shape: -1 where a dimension is open.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]


class NodeArg(Protocol):
    """What onnxruntime says of an input or output."""

    name: str
    type: str
    shape: list[Any]


class Describable(Protocol):
    """An onnxruntime session, as far as it describes itself."""

    def get_inputs(self) -> Sequence[NodeArg]:
        """Return the inputs of the graph."""

    def get_outputs(self) -> Sequence[NodeArg]:
        """Return the outputs of the graph."""


def describe(session: Describable) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return the inputs and outputs of a session; what has no datatype in the protocol, such as a map, is left out."""
    return _specs(session.get_inputs()), _specs(session.get_outputs())


def _specs(nodes: Sequence[NodeArg]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(node.name, _OF_ONNX[node.type], tuple(d if isinstance(d, int) else -1 for d in node.shape))
        for node in nodes
        if node.type in _OF_ONNX
    )


def shown(value: object) -> str:
    """Return a value from a request as JSON writes it, in printable ASCII and short enough for a message.

    >>> print(shown([1, True, None, {"a": 1}, "7" * 99]), shown({}))
    [1, true, null, {…}, "777777777777777777777777777777…] {…}
    """
    if isinstance(value, dict):
        return "{…}"
    if isinstance(value, list):
        few = [("[…]" if isinstance(item, list) else shown(item)) for item in value[:6]]
        return f"[{', '.join(few)}{', …' if len(value) > len(few) else ''}]"
    text = json.dumps(value[:32] if isinstance(value, str) else value).replace("\x7f", "\\u007f")
    return text if len(text) <= 32 else f"{text[:31]}…"


def checked_shape(shape: list[Any], spec: TensorSpec, where: str) -> tuple[int, ...]:
    """Return the shape that a request gives its tensor, once it fits the model, or raise HttpError 422."""
    if len(shape) != len(spec.shape):
        _misfit(shape, spec, where)
    for given, fixed in zip(shape, spec.shape, strict=True):
        # A boolean is an int to isinstance.
        if type(given) is not int or not 1 <= given <= _MAX_DIMENSION or fixed not in {-1, given}:
            _misfit(shape, spec, where)
    return tuple(shape)


def _misfit(shape: list[Any], spec: TensorSpec, where: str) -> None:
    expected = ", ".join("N" if size == -1 else str(size) for size in spec.shape)
    message = f"{where}.shape is {shown(shape)}; {spec.name} takes [{expected}]"
    raise HttpError(422, "tensor", f"{message}{', N from 1 on' if -1 in spec.shape else ''}.")


def item_size(datatype: str) -> int:
    """Return the bytes of an element; strings have none of their own."""
    return _DTYPES[datatype].itemsize


def from_bytes(body: bytes, start: int, size: int, datatype: str, shape: tuple[int, ...], where: str) -> Array:
    """Return the tensor in `size` bytes of a body, as a view of them where they lie well for its type.

    Raises:
        HttpError: 400; there are fewer bytes than that, or not as many as the shape needs.
    """
    dtype = _DTYPES[datatype]
    needed = math.prod(shape) * dtype.itemsize
    if size != needed:
        said = f"{where} of {datatype} {list(shape)} is {counted(needed, 'byte')}; binary_data_size says {size}."
        raise HttpError(400, "tensor-data", said)
    if start + size > len(body):
        raise HttpError(
            400,
            "tensor-data",
            f"{where} is {counted(size, 'byte')} by its binary_data_size, and the body has "
            f"{max(0, len(body) - start):,} left.",
        )
    # A byte other than 0 and 1 is no boolean, whatever numpy makes of it.
    if datatype == "BOOL":
        return np.frombuffer(body, np.uint8, size, start).astype(np.bool_).reshape(shape)
    view = np.frombuffer(body, dtype, size // dtype.itemsize, start).reshape(shape)
    return view if view.flags.aligned else view.copy()


def from_json_data(data: list[Any], datatype: str, shape: tuple[int, ...], where: str) -> Array:
    """Return the tensor in the `data` of a request, or raise HttpError 400 or 422."""
    if datatype == "FP16":
        raise HttpError(422, "not-offered", f"{where}: FP16 has no form in JSON; send it as binary data.")
    values = _flat(data, shape, where)
    dtype = _DTYPES[datatype]
    allowed, expected = _EXPECTED[dtype.kind]
    if not allowed.issuperset(map(type, values)):
        wrong = next(value for value in values if type(value) not in allowed)
        raise HttpError(400, "tensor-data", f"{where}.data must be {expected} for {datatype}; it has {shown(wrong)}.")
    try:
        with np.errstate(over="ignore"):
            result = np.array(values, dtype)
    except OverflowError:
        result = None
    if result is None or (dtype.kind == "f" and not np.isfinite(result).all()):
        raise HttpError(400, "tensor-data", f"{where}.data has numbers beyond the range of {datatype}.")
    return result.reshape(shape)


_EXPECTED: dict[str, tuple[frozenset[type], str]] = {
    "b": (frozenset({bool}), "true or false"),
    "u": (frozenset({int}), "whole numbers from 0 on"),
    "i": (frozenset({int}), "whole numbers"),
    "f": (frozenset({int, float}), "numbers"),
}


def _flat(data: list[Any], shape: tuple[int, ...], where: str) -> list[Any]:
    """Return the elements of data that is flat, or nested exactly as the shape says."""
    count = math.prod(shape)
    if not (data and type(data[0]) is list):
        if len(data) != count:
            said = f"{where}.data has {len(data)} elements; {list(shape)} has {count}."
            raise HttpError(400, "tensor-data", said)
        return data
    level = data
    fits = len(level) == shape[0]
    for size in shape[1:]:
        fits = fits and set(map(type, level)) == {list} and set(map(len, level)) == {size}
        if not fits:
            break
        level = list(chain.from_iterable(level))
    if not fits or len(level) != count:
        said = f"{where}.data is neither flat nor nested as its shape {list(shape)} says."
        raise HttpError(400, "tensor-data", said)
    return level


def datatype_of(array: Array) -> str:
    """Return the protocol's name for the type of an array that onnxruntime gave.

    >>> datatype_of(np.zeros(1, np.float32)), datatype_of(np.array(["a"], object))
    ('FP32', 'BYTES')
    """
    return _NAMES.get(array.dtype, "BYTES")


def to_bytes(array: Array) -> bytes:
    """Return the binary form of a tensor; strings may be str or bytes."""
    if array.dtype in _NAMES:
        return array.tobytes()
    contents = [item if isinstance(item, bytes) else str(item).encode() for item in array.flat]
    return b"".join(struct.pack("<I", len(content)) + content for content in contents)


class NotFiniteError(Exception):
    """An output that JSON, which has neither NaN nor infinity, cannot hold."""


def to_json_data(array: Array, name: str) -> list[Any]:
    """Return the elements of a tensor in row-major order, for JSON.

    Raises:
        NotFiniteError: some are not finite numbers.
    """
    require_finite(array, name)
    values: list[Any] = array.ravel().tolist()
    return values


def require_finite(array: Array, name: str) -> None:
    """Make sure that an output can be written as JSON.

    Raises:
        NotFiniteError: it cannot.
    """
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        said = f"output {name} has values that are not finite numbers, for which JSON has no form."
        raise NotFiniteError(f"{said} Are the input's values in the range that the model takes? Ask for binary data.")
