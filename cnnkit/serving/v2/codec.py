"""Inference requests and responses of the Open Inference Protocol over HTTP, from and to bytes.

Source: the protocol's "HTTP/REST" part, and two extensions of NVIDIA's Triton Inference Server: binary tensor data (raw
requests too) and classification. Whatever comes as a request, `decode_request` returns one or raises `HttpError`.
"""

import gc
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from pydantic_core import from_json, to_json

from cnnkit.serving.http.errors import HttpError
from cnnkit.serving.v2 import tensors
from cnnkit.serving.v2.tensors import Array, TensorSpec, shown
from cnnkit.words import counted

HEADER_LENGTH = "Inference-Header-Content-Length"
"""The HTTP header with the length of the JSON part, where binary data follows it."""

MAX_JSON = 4 * 2**20
"""Bytes of JSON that are read: as objects they take up to thirty times that, and the server stands still meanwhile."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output that the client wants.

    Attributes:
        name: of the output.
        binary: as bytes after the JSON, not in it.
        classes: the best so many as strings `value:index:label`; 0 for the tensor itself.
    """

    name: str
    binary: bool = False
    classes: int = 0


@dataclass(frozen=True, slots=True)
class InferRequest:
    """An inference request that fits the model.

    Attributes:
        id: that the client gave it, and gets back; empty where it gave none.
        inputs: by name, all that the model takes; arrays may be read-only views of the body.
        outputs: in the order of the response.
        timeout_seconds: within which the client wants its answer; None where it does not say.
    """

    id: str
    inputs: dict[str, Array]
    outputs: tuple[RequestedOutput, ...]
    timeout_seconds: float | None = None


def decode_request(
    body: bytes, json_length: int | None, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> InferRequest:
    """Return the request in a body.

    Args:
        body: after decompression.
        json_length: value of the header `Inference-Header-Content-Length`, None where it is absent. 0 is a raw request:
            the body is nothing but the bytes of the only input.
        inputs: that the model takes, all of numbers.
        outputs: that it gives.

    Raises:
        HttpError: 400 for a body that is no request of the protocol, 413 for more JSON than is read, 422 for a request
            that does not fit the model.
    """
    if json_length == 0:
        return _raw_request(body, inputs, outputs)
    document, end = _document(body, json_length)
    parameters = _field(document, "parameters", dict, "", {})
    return InferRequest(
        _field(document, "id", str, "", ""),
        _inputs(document, body, end if json_length is not None else None, inputs),
        _outputs(document, _field(parameters, "binary_data_output", bool, "parameters", False), outputs),
        _timeout(parameters),
    )


def _document(body: bytes, json_length: int | None) -> tuple[dict[str, Any], int]:
    """Return the JSON object of a body, and where it ends."""
    end = len(body) if json_length is None else json_length
    if not 0 <= end <= len(body):
        raise HttpError(400, "json", f"{HEADER_LENGTH} is {json_length}; the body has {counted(len(body), 'byte')}.")
    if end > MAX_JSON:
        said = f"the JSON is {counted(end, 'byte')}; at most {MAX_JSON:,} are read. Send the tensors as binary data."
        raise HttpError(413, "json-too-large", said)
    try:
        document = _parsed(body if end == len(body) else body[:end])
    except ValueError as error:
        hint = (
            "" if json_length is not None else f" Where binary data follows the JSON, {HEADER_LENGTH} says its length."
        )
        raise HttpError(400, "json", f"the request is not JSON: {error}.{hint}") from None
    if type(document) is not dict:
        raise HttpError(400, "request", f"the request must be a JSON object with inputs; got {shown(document)}.")
    return document, end


def _parsed(text: bytes) -> Any:
    """Parse JSON without the garbage collector, which would look through what is made so far again and again."""
    collects = gc.isenabled()
    gc.disable()
    try:
        return from_json(text, allow_inf_nan=False)
    finally:
        if collects:
            gc.enable()


def _field(owner: dict[str, Any], key: str, kind: type[T], where: str, default: T | None = None) -> T:
    """Return a field of a JSON object; where there is no default it must be there."""
    value = owner.get(key, default)
    # A boolean is an int to isinstance.
    if type(value) is not kind:
        path, expected = f"{where}.{key}".lstrip("."), _KINDS[kind]
        got = f"got {shown(value)}" if key in owner else "it is missing"
        raise HttpError(400, "request", f"{path} must be {expected}; {got}.")
    return value


_KINDS: dict[type, str] = {
    str: "a string",
    int: "a whole number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}


def _timeout(parameters: dict[str, Any]) -> float | None:
    microseconds = _field(parameters, "timeout", int, "parameters", 0)
    return microseconds / 1e6 if 0 < microseconds < 2**63 else None


def _inputs(
    document: dict[str, Any], body: bytes, position: int | None, specs: Sequence[TensorSpec]
) -> dict[str, Array]:
    """Return the arrays by name; binary data is read from that position on, if there may be any."""
    given = _field(document, "inputs", list, "")
    by_name = {spec.name: spec for spec in specs}
    arrays: dict[str, Array] = {}
    for index, tensor in enumerate(given):
        where = f"inputs[{index}]"
        name, parameters = _named(tensor, where, by_name, arrays, "takes")
        spec = by_name[name]
        _require_datatype(_field(tensor, "datatype", str, where), spec, where)
        shape = tensors.checked_shape(_field(tensor, "shape", list, where), spec, where)
        if "binary_data_size" not in parameters:
            data = _field(tensor, "data", list, where)
            arrays[name] = tensors.from_json_data(data, spec.datatype, shape, where)
            continue
        size = _field(parameters, "binary_data_size", int, f"{where}.parameters")
        if position is None:
            said = (
                f"{where} is said to be binary, and the header {HEADER_LENGTH} is missing: it says where the JSON ends."
            )
            raise HttpError(400, "tensor-data", said)
        if "data" in tensor:
            raise HttpError(400, "request", f"{where} has data and binary_data_size; it must have one of them.")
        arrays[name] = tensors.from_bytes(body, position, size, spec.datatype, shape, where)
        position += size
    if len(arrays) < len(specs):
        missing = ", ".join(spec.name for spec in specs if spec.name not in arrays)
        raise HttpError(422, "tensor", f"the request lacks the input {missing}, which the model takes.")
    if position is not None and position != len(body):
        more = counted(len(body) - position, "byte")
        said = f"the body is {more} longer than its JSON and the binary data that it announces."
        raise HttpError(400, "tensor-data", said)
    return arrays


def _named(
    tensor: object, where: str, known: Mapping[str, object], seen: Mapping[str, object], verb: str
) -> tuple[str, dict[str, Any]]:
    """Return name and parameters of an input or output of the request."""
    if type(tensor) is not dict:
        raise HttpError(400, "request", f"{where} must be an object with a name; got {shown(tensor)}.")
    name = _field(tensor, "name", str, where)
    if name not in known:
        said = f"{where} is named {shown(name)}; the model {verb} {', '.join(known)}."
        raise HttpError(422, "tensor", said)
    if name in seen:
        raise HttpError(400, "request", f"{where} is named {name}, and so is one before it.")
    parameters = _field(tensor, "parameters", dict, where, {})
    if any(key.startswith("shared_memory") for key in parameters):
        raise HttpError(422, "not-offered", f"{where}: this server offers no shared memory; send binary data.")
    return name, parameters


def _require_datatype(datatype: str, spec: TensorSpec, where: str) -> None:
    if datatype != spec.datatype:
        hint = " An encoded image goes to POST /predict/NAME." if datatype == "BYTES" else ""
        said = f"{where}.datatype is {shown(datatype)}; {spec.name} takes {spec.datatype}.{hint}"
        raise HttpError(422, "tensor", said)


def _outputs(document: dict[str, Any], binary: bool, specs: Sequence[TensorSpec]) -> tuple[RequestedOutput, ...]:
    wanted = _field(document, "outputs", list, "", [])
    if not wanted:
        return tuple(RequestedOutput(spec.name, binary) for spec in specs)
    known = {spec.name: spec for spec in specs}
    requested: dict[str, RequestedOutput] = {}
    for index, output in enumerate(wanted):
        where = f"outputs[{index}]"
        name, parameters = _named(output, where, known, requested, "gives")
        classes = _field(parameters, "classification", int, f"{where}.parameters", 0)
        if "classification" in parameters and (classes < 1 or known[name].datatype == "BYTES"):
            said = (
                f"{where}.parameters.classification is {shown(classes)}; expected 1 or more, of an output of numbers."
            )
            raise HttpError(422, "tensor", said)
        as_bytes = _field(parameters, "binary_data", bool, f"{where}.parameters", binary)
        requested[name] = RequestedOutput(name, as_bytes, classes)
    return tuple(requested.values())


def _raw_request(body: bytes, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> InferRequest:
    """Return the request of a body that is nothing but the bytes of an input; its open dimension is worked out."""
    answer = tuple(RequestedOutput(spec.name, binary=True) for spec in outputs)
    spec = inputs[0]
    if len(inputs) != 1 or spec.shape.count(-1) > 1:
        said = f"{HEADER_LENGTH} is 0, and the shape of a request without JSON is not clear for this model."
        raise HttpError(422, "not-offered", said)
    each = math.prod(size for size in spec.shape if size != -1) * tensors.item_size(spec.datatype)
    count, rest = divmod(len(body), each)
    if rest or count < 1 or (-1 not in spec.shape and count != 1):
        size = counted(len(body), "byte")
        said = f"{HEADER_LENGTH} is 0, and the body has {size}; one image of {spec.datatype} takes {each}."
        raise HttpError(400, "tensor-data", said)
    shape = tuple(count if size == -1 else size for size in spec.shape)
    array = tensors.from_bytes(body, 0, len(body), spec.datatype, shape, spec.name)
    return InferRequest("", {spec.name: array}, answer)


def encode_response(
    request: InferRequest, name: str, version: str, outputs: Mapping[str, Array], labels: Sequence[str] = ()
) -> tuple[bytes, int | None]:
    """Return the body that answers a request, and the length of its JSON part, None where that is all of it.

    Args:
        request: that is answered.
        name: of the model.
        version: of the model.
        outputs: by name, at least those requested; arrays [N, …].
        labels: of the classes; given with classifications where an output has as many.

    Raises:
        NotFiniteError: JSON was asked for, and it has no form for some values.
    """
    described: list[dict[str, Any]] = []
    chunks: list[bytes] = []
    for wanted in request.outputs:
        array = outputs[wanted.name]
        if wanted.classes:
            array = _classified(array, wanted, labels)
        entry: dict[str, Any] = {"name": wanted.name, "datatype": tensors.datatype_of(array), "shape": array.shape}
        if wanted.binary:
            content = tensors.to_bytes(array)
            entry["parameters"] = {"binary_data_size": len(content)}
            chunks.append(content)
        else:
            entry["data"] = tensors.to_json_data(array, wanted.name)
        described.append(entry)
    document = {"model_name": name, "model_version": version, "outputs": described}
    if request.id:
        document["id"] = request.id
    head = to_json(document)
    return (b"".join((head, *chunks)), len(head)) if chunks else (head, None)


def _classified(array: Array, wanted: RequestedOutput, labels: Sequence[str]) -> Array:
    """Return the best classes of each row as strings [N, classes]; the first of equal ones comes first."""
    tensors.require_finite(array, wanted.name)
    rows = array.reshape(len(array) if array.ndim else 1, -1)
    # The complement of whole numbers falls as they rise, and does not overflow as their negative may.
    falling = -rows if rows.dtype.kind == "f" else ~rows
    best = np.argsort(falling, axis=1, kind="stable")[:, : wanted.classes]
    named = [f":{label}" for label in labels] if len(labels) == rows.shape[1] else [""] * rows.shape[1]
    texts = [f"{row[index]!s}:{index}{named[index]}" for row, order in zip(rows, best, strict=True) for index in order]
    return np.array(texts, object).reshape(best.shape)
