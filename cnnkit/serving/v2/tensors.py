"""Tensors as the Open Inference Protocol writes them, in JSON and as bytes, and as numpy arrays.

JSON data is one list in row-major order, or lists nested as the shape says. Bytes are little-endian and row-major,
without gaps; a string is its length in four bytes, then its UTF-8 bytes. Source: the Open Inference Protocol's "Tensor
Data", and the binary tensor data extension of NVIDIA's Triton Inference Server.
"""

import math
import reprlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.runtime.session import Session
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

shown = reprlib.repr
"""A value from a request, short enough for a message and without control characters."""


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


def describe(session: Session) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return the inputs and outputs of a session; what has no datatype in the protocol, such as a map, is left out."""
    return _specs(session.get_inputs()), _specs(session.get_outputs())


def _specs(nodes: Sequence[Any]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(node.name, _OF_ONNX[node.type], tuple(d if isinstance(d, int) else -1 for d in node.shape))
        for node in nodes
        if node.type in _OF_ONNX
    )


def checked_shape(shape: Sequence[int], spec: TensorSpec, where: str) -> tuple[int, ...]:
    """Return the shape that a request gives its tensor, once it fits the model, or raise HttpError 422."""
    if len(shape) != len(spec.shape) or not all(
        1 <= given <= _MAX_DIMENSION and fixed in {-1, given} for given, fixed in zip(shape, spec.shape, strict=True)
    ):
        expected = ", ".join("N" if size == -1 else str(size) for size in spec.shape)
        said = f"{where}.shape is {shown(shape)}; {spec.name} takes [{expected}], N from 1 on."
        raise HttpError(422, "tensor", said)
    return tuple(shape)


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
        said = f"{where} is {counted(size, 'byte')} by its binary_data_size; the body has {len(body) - start:,} left."
        raise HttpError(400, "tensor-data", said)
    # A byte other than 0 and 1 is no boolean, whatever numpy makes of it.
    if datatype == "BOOL":
        return np.frombuffer(body, np.uint8, size, start).astype(np.bool_).reshape(shape)
    view = np.frombuffer(body, dtype, size // dtype.itemsize, start).reshape(shape)
    return view if view.flags.aligned else view.copy()


def from_json_data(data: list[Any], datatype: str, shape: tuple[int, ...], where: str) -> Array:
    """Return the tensor in the `data` of a request, or raise HttpError 400."""
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
    if data and type(data[0]) is list:
        for inside in shape[1:]:
            if set(map(type, data)) != {list} or set(map(len, data)) != {inside}:
                break
            data = list(chain.from_iterable(data))
    if len(data) != math.prod(shape):
        said = f"{where}.data has {len(data)} elements, or is not nested as its shape {list(shape)} says."
        raise HttpError(400, "tensor-data", said)
    return data


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


def require_finite(array: Array, name: str) -> None:
    """Make sure that an output can be written as JSON; else NotFiniteError."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        said = f"output {name} has values that are not finite numbers, for which JSON has no form."
        raise NotFiniteError(f"{said} Are the input's values in the range that the model takes? Ask for binary data.")
