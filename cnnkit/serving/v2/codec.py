"""Inference requests and responses of the Open Inference Protocol over HTTP, from and to bytes.

Source: the protocol's "HTTP/REST" part, and two extensions of NVIDIA's Triton Inference Server: binary tensor data and
classification. Of whatever is sent as a request, `decode_request` returns one or raises `HttpError`.
"""

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError
from pydantic_core import from_json, to_json

from cnnkit.serving.http.errors import HttpError
from cnnkit.serving.v2 import tensors
from cnnkit.serving.v2.tensors import Array, TensorSpec, shown
from cnnkit.words import counted

HEADER_LENGTH = "Inference-Header-Content-Length"
"""The HTTP header with the length of the JSON part, where binary data follows it."""

MAX_JSON = 4 * 2**20
"""Bytes of JSON that are read: as objects they take up to thirty times that, and the server stands still meanwhile."""
_MOST_TENSORS = 1024


class _Part(BaseModel):
    """A part of a request in JSON; fields that are not known here are ignored."""

    model_config = ConfigDict(strict=True)


class _TensorParameters(_Part):
    binary_data_size: int | None = None
    binary_data: bool | None = None
    classification: Annotated[int, Field(ge=1)] | None = None
    shared_memory_region: Any = None


class _Tensor(_Part):
    name: str
    parameters: _TensorParameters = _TensorParameters()


class _Input(_Tensor):
    datatype: str
    shape: Annotated[list[int], FailFast()]
    data: list[Any] | None = None


class _Parameters(_Part):
    binary_data_output: bool = False
    timeout: int = 0


class _Request(_Part):
    id: str = ""
    inputs: Annotated[list[_Input], FailFast(), Field(max_length=_MOST_TENSORS)]
    outputs: Annotated[list[_Tensor], FailFast(), Field(max_length=_MOST_TENSORS)] = []
    parameters: _Parameters = _Parameters()


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
        json_length: value of the header `Inference-Header-Content-Length`, None where it is absent.
        inputs: that the model takes, all of numbers.
        outputs: that it gives.

    Raises:
        HttpError: 400 for a body that is no request of the protocol, 413 for more JSON than is read, 422 for a request
            that does not fit the model.
    """
    request = _parsed(body, json_length)
    microseconds = request.parameters.timeout
    return InferRequest(
        request.id,
        _inputs(request.inputs, body, json_length, inputs),
        _outputs(request, outputs),
        microseconds / 1e6 if 0 < microseconds < 2**63 else None,
    )


def _parsed(body: bytes, json_length: int | None) -> _Request:
    end = len(body) if json_length is None else json_length
    if not 0 <= end <= len(body):
        size = counted(len(body), "byte")
        raise HttpError(400, "json", f"{HEADER_LENGTH} must be the length of the JSON; the body has {size}.")
    if end > MAX_JSON:
        said = f"the JSON is {counted(end, 'byte')}; at most {MAX_JSON:,} are read. Send the tensors as binary data."
        raise HttpError(413, "json-too-large", said)
    gc.disable()  # it would look through all that is made here again and again
    try:
        return _Request.model_validate(from_json(body[:end], allow_inf_nan=False))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
        said = first["msg"].partition(" or instance of")[0]
        raise HttpError(400, "request", f"{path or 'the request'}: {said}.") from None
    except ValueError as error:
        hint = f" Where binary data follows the JSON, {HEADER_LENGTH} says its length." if json_length is None else ""
        raise HttpError(400, "json", f"the request is not JSON: {error}.{hint}") from None
    finally:
        gc.enable()


def _inputs(given: list[_Input], body: bytes, position: int | None, specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """Return the arrays by name; binary data is read from that position on, if there may be any."""
    known = {spec.name: spec for spec in specs}
    arrays: dict[str, Array] = {}
    for index, tensor in enumerate(given):
        where = f"inputs[{index}]"
        spec = _known(tensor, where, known, arrays)
        if tensor.datatype != spec.datatype:
            hint = " An encoded image goes to POST /predict/NAME." if tensor.datatype == "BYTES" else ""
            said = f"{where}.datatype is {shown(tensor.datatype)}; {spec.name} takes {spec.datatype}.{hint}"
            raise HttpError(422, "tensor", said)
        shape = tensors.checked_shape(tensor.shape, spec, where)
        size = tensor.parameters.binary_data_size
        if (tensor.data is None) == (size is None):
            raise HttpError(400, "request", f"{where} must have either data or parameters.binary_data_size.")
        if tensor.data is not None:
            arrays[spec.name] = tensors.from_json_data(tensor.data, spec.datatype, shape, where)
        elif position is None or size is None:
            said = f"{where} is binary, and the header {HEADER_LENGTH} is missing: it says where the JSON ends."
            raise HttpError(400, "tensor-data", said)
        else:
            arrays[spec.name] = tensors.from_bytes(body, position, size, spec.datatype, shape, where)
            position += size
    if missing := known.keys() - arrays.keys():
        said = f"the request lacks the input {', '.join(sorted(missing))}, which the model takes."
        raise HttpError(422, "tensor", said)
    if position is not None and position != len(body):
        more = counted(len(body) - position, "byte")
        said = f"the body is {more} longer than its JSON and the binary data that it announces."
        raise HttpError(400, "tensor-data", said)
    return arrays


def _known(tensor: _Tensor, where: str, known: Mapping[str, TensorSpec], seen: Mapping[str, object]) -> TensorSpec:
    """Return the model's input or output that a request names."""
    if tensor.name not in known:
        said = f"{where} is named {shown(tensor.name)}; the model has {', '.join(known)}."
        raise HttpError(422, "tensor", said)
    if tensor.name in seen:
        raise HttpError(400, "request", f"{where} is named {tensor.name}, and so is one before it.")
    if tensor.parameters.shared_memory_region is not None:
        raise HttpError(422, "not-offered", f"{where}: this server offers no shared memory; send binary data.")
    return known[tensor.name]


def _outputs(request: _Request, specs: Sequence[TensorSpec]) -> tuple[RequestedOutput, ...]:
    binary = request.parameters.binary_data_output
    if not request.outputs:
        return tuple(RequestedOutput(spec.name, binary) for spec in specs)
    known = {spec.name: spec for spec in specs}
    wanted: dict[str, RequestedOutput] = {}
    for index, output in enumerate(request.outputs):
        where, parameters = f"outputs[{index}]", output.parameters
        spec = _known(output, where, known, wanted)
        if parameters.classification and spec.datatype == "BYTES":
            raise HttpError(422, "tensor", f"{where}: {spec.name} is text, and a classification needs numbers.")
        as_bytes = binary if parameters.binary_data is None else parameters.binary_data
        wanted[spec.name] = RequestedOutput(spec.name, as_bytes, parameters.classification or 0)
    return tuple(wanted.values())


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
        elif not wanted.binary:
            tensors.require_finite(array, wanted.name)
        entry: dict[str, Any] = {"name": wanted.name, "datatype": tensors.datatype_of(array), "shape": array.shape}
        if wanted.binary:
            content = tensors.to_bytes(array)
            entry["parameters"] = {"binary_data_size": len(content)}
            chunks.append(content)
        else:
            entry["data"] = array.ravel().tolist()
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
