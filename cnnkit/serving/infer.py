"""The requests of the Open Inference Protocol."""

import asyncio

import numpy as np

from cnnkit.serving.batching.instance import ModelInstance
from cnnkit.serving.batching.job import Job
from cnnkit.serving.http.body import json_object
from cnnkit.serving.http.errors import HttpError, busy
from cnnkit.serving.http.request import Request
from cnnkit.serving.http.response import JSON, Response, json_response
from cnnkit.serving.services import LARGE_BODY, Services
from cnnkit.serving.v2 import documents
from cnnkit.serving.v2.codec import HEADER_LENGTH, InferRequest, decode_request, encode_response
from cnnkit.serving.v2.tensors import NotFiniteError

_LENGTH = HEADER_LENGTH.lower().encode()
_BINARY = b"application/octet-stream"
_LARGE_ANSWER = 2**13
"""Elements of all outputs: more are written outside the event loop."""


def accept(services: Services, request: Request) -> None:
    """Look at the head of an inference request, or raise HttpError."""
    services.batcher(request).require_room()


async def infer(services: Services, request: Request) -> Response:
    """Answer an inference request, or raise HttpError, CnnkitError."""
    batcher = services.batcher(request)
    body = await services.content(request)
    model = batcher.model
    length, large = _json_length(request.headers.get(_LENGTH)), len(body) > LARGE_BODY
    wanted = await services.call(decode_request, body, length, model.inputs, model.outputs, beside=large)
    inputs = wanted.inputs[model.network.input]
    if inputs.ndim and len(inputs) > model.max_images:
        said = f"the request has {len(inputs)} images; {model.name} takes {model.max_images} at a time (--max-batch)."
        raise HttpError(413, "too-many-images", said)
    outputs = tuple(output.name for output in wanted.outputs)
    job = Job(asyncio.get_running_loop().create_future(), outputs, inputs=inputs)
    request.patience = min(request.patience, wanted.timeout_seconds or float("inf"))
    model = await batcher.run(job)
    large = sum(rows.size for rows in job.rows.values()) > _LARGE_ANSWER
    try:
        response = await services.call(_response, wanted, job, model, beside=large)
    except NotFiniteError as error:
        # A network that gives NaN for numbers is at fault; one that was sent NaN is not.
        sane = inputs.dtype.kind != "f" or bool(np.isfinite(inputs).all())
        raise HttpError(500 if sane else 422, "not-finite", str(error)) from error
    request.timings = job.timings
    return response


def _response(request: InferRequest, job: Job, model: ModelInstance) -> Response:
    labels = model.classifier.card.labels
    content, json_length = encode_response(request, model.name, str(model.version), job.rows, labels)
    headers = () if json_length is None else ((_LENGTH, str(json_length).encode()),)
    return Response(content, JSON if json_length is None else _BINARY, headers=headers)


def _json_length(value: bytes | None) -> int | None:
    """Return the length of the JSON part; -1 for what is no number."""
    if value is None:
        return None
    return int(value) if value.isdigit() and len(value) < 19 else -1


async def live(_: Services, __: Request) -> Response:
    """Say that the server runs."""
    return json_response({"live": True})


async def ready(services: Services, request: Request) -> Response:
    """Say whether the server, or a model, takes requests."""
    of = _name_and_version(services.batcher(request).model) if request.params else {}
    if not services.ready:
        raise busy("not-ready", "The server is about to stop, or has only just started.")
    return json_response({**of, "ready": True})


def _name_and_version(model: ModelInstance) -> dict[str, str]:
    return {"name": model.name, "version": str(model.version)}


async def server(services: Services, _: Request) -> Response:
    """Say what this server is."""
    return json_response(documents.server_metadata(statistics=services.settings.workers == 1))


async def model(services: Services, request: Request) -> Response:
    """Say what a model takes and gives."""
    found = services.batcher(request).model
    return json_response(documents.model_metadata(found.name, [str(found.version)], found.inputs, found.outputs))


async def config(services: Services, request: Request) -> Response:
    """Say how a model is set up."""
    found = services.batcher(request).model
    limits = services.settings.max_batch, services.settings.max_delay_ms
    return json_response(documents.model_config(found.name, found.inputs, found.outputs, *limits))


async def statistics(services: Services, request: Request) -> Response:
    """Say what a model, or each of them, has done."""
    batchers = [services.batcher(request)] if request.params else list(services.repository.batchers.values())
    if services.settings.workers > 1:
        said = "statistics are those of one process, and there are several workers; GET /metrics has those of all."
        raise HttpError(404, "not-offered", said)
    taken = [each.statistics.document(each.model.name, str(each.model.version)) for each in batchers]
    return json_response({"model_stats": taken})


async def index(services: Services, request: Request) -> Response:
    """List the models and their states."""
    only = json_object(await services.content(request), "ready").get("ready") is True
    models = [batcher.model for batcher in services.repository.batchers.values()]
    state = {"state": "READY" if services.ready else "UNAVAILABLE", "reason": ""}
    return json_response([_name_and_version(each) | state for each in models if services.ready or not only])
