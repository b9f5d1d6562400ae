"""`POST /predict/NAME`: an image file in, labels and probabilities out."""

import asyncio
from base64 import b64encode
from time import perf_counter
from typing import Any
from urllib.parse import parse_qs

import numpy as np

from cnnkit.cautions import cautions
from cnnkit.errors import ImageFormatError
from cnnkit.pictures import Pixels, encoded
from cnnkit.serving.batching.instance import ModelInstance
from cnnkit.serving.batching.job import Job
from cnnkit.serving.http.body import FORM, JSON, SEND, image_of, require_image_type
from cnnkit.serving.http.errors import HttpError
from cnnkit.serving.http.request import Request
from cnnkit.serving.http.response import Response, json_response
from cnnkit.serving.services import LARGE_BODY, Services


def accept(services: Services, request: Request) -> None:
    """Look at the head of a request: a refusal before the body is received costs next to nothing.

    Raises:
        HttpError: it cannot be served.
    """
    batcher = services.batcher(request)
    _query(request.query)
    require_image_type(request)
    batcher.require_room()


async def predict(services: Services, request: Request) -> Response:
    """Answer a request, or raise HttpError, CnnkitError."""
    batcher = services.batcher(request)
    top, shown = _query(request.query)
    body = await services.content(request)
    kind, content_type = request.media_type, request.headers.get(b"content-type", b"")
    large = kind == JSON and len(body) > LARGE_BODY
    image = await services.call(image_of, body, kind, content_type, beside=large)
    job = Job(asyncio.get_running_loop().create_future(), (batcher.model.network.output,), image=image)
    try:
        model = await batcher.run(job)
    except ImageFormatError as error:
        if kind != FORM or error.kind:
            raise
        # curl -d takes line ends out of a file; what is left is no image any more.
        hint = f"curl -d changes files. {SEND} file=@image.png does; JSON needs Content-Type: application/json."
        raise HttpError(415, error.code, f"{error} {hint}") from error
    request.timings = job.timings
    document = _document(job, model, top, request.id)
    if shown:
        # This takes longer than the answer, and the request is in flight meanwhile.
        with batcher.another():
            document |= await services.call(_drawn, model, job.prepared.pixels, shown)
    document["timings_ms"]["total"] = _milliseconds(perf_counter() - request.received)
    return json_response(document)


def _query(query: bytes) -> tuple[int, frozenset[str]]:
    """Return how many classes to name, and what to show beside them."""
    if not query:
        return 5, frozenset()
    fields = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    if unknown := fields.keys() - {"top", "show"}:
        raise HttpError(400, "query", f"the query has {min(unknown)[:40]!r}; expected top and show.")
    top = fields.get("top", ["5"])[-1]
    if not (top.isascii() and top.isdigit() and int(top[:9]) >= 1 and len(top) < 9):
        raise HttpError(400, "query", f"top is {top[:40]!r}; expected how many classes to name, 1 or more.")
    shown = frozenset(",".join(fields.get("show", [])).split(",")) - {""}
    if strange := shown - {"input", "features"}:
        raise HttpError(400, "query", f"show has {min(strange)[:40]!r}; expected input, features or both.")
    return int(top), shown


def _document(job: Job, model: ModelInstance, top: int, request_id: str) -> dict[str, Any]:
    labels = model.classifier.card.labels
    best = np.argsort(-job.probabilities, kind="stable")[:top].tolist()
    values = job.probabilities.tolist()
    timings = job.timings
    return {
        "model": model.name,
        "version": str(model.version),
        "request_id": request_id,
        "label": labels[best[0]],
        "probability": values[best[0]],
        "probabilities": [{"label": labels[index], "probability": values[index]} for index in best],
        "preprocessing": job.prepared.steps,
        "warnings": [kind for step in cautions(job.prepared.steps) for kind in step.kinds],
        "timings_ms": {
            "queue": _milliseconds(timings.queue),
            "decode": _milliseconds(timings.before + timings.decode),
            "inference": _milliseconds(timings.inference),
        },
        "batch_size": job.batch,
    }


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _drawn(model: ModelInstance, pixels: Pixels, shown: frozenset[str]) -> dict[str, Any]:
    """Return the image as the network sees it, and what its first layers make of it."""
    drawn: dict[str, Any] = {}
    if "input" in shown:
        height, width, channels = pixels.shape
        png = _data_uri(encoded(pixels, compression=1))
        drawn["input"] = {"height": height, "width": width, "channels": channels, "png": png}
    if "features" in shown:
        features = model.features
        layers = features.maps(pixels[None]) if features is not None else ()
        names = ("layer", "operator", "channels", "height", "width", "columns")
        drawn["features"] = [
            {name: getattr(layer, name) for name in names} | {"png": _data_uri(layer.png)} for layer in layers
        ]
    return drawn


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode()}"
