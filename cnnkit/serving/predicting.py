"""`POST /predict/NAME`: an image file in, labels and probabilities out."""

import asyncio
from base64 import b64encode
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import numpy as np
from pydantic_core import to_json

from cnnkit.pictures import Pixels, encoded
from cnnkit.serving.answering import Answering
from cnnkit.serving.batching import Batcher, Job
from cnnkit.serving.problems import CLOSE, Problem, late
from cnnkit.serving.receiving import Receive, Scope
from cnnkit.serving.replies import Reply

if TYPE_CHECKING:
    from cnnkit.serving.served import ServedModel

# What browsers and curl say of a body that nobody told them the type of.
_ANY_TYPE = {b"", b"application/octet-stream", b"application/x-www-form-urlencoded"}
_EXPECTED = "send the bytes of a PNG, JPEG, WebP or BMP file, as curl --data-binary @image.png does"


class Predicting(Answering):
    """Serves the simple form."""

    async def answer(self, scope: Scope, receive: Receive, name: str, request_id: str) -> Reply:
        """Answer a request.

        Raises:
            Problem, ClientGoneError, CnnkitError: it cannot be served.
        """
        started = perf_counter()
        batcher = self.repository.batcher(name)
        top, shown = _query(scope["query_string"])
        _require_image_type(scope)
        # Refusing before the body is read costs next to nothing.
        batcher.require_place()
        body = await self.receiver.body(scope, receive)
        if not body:
            raise Problem(400, "empty-body", f"the body is empty; {_EXPECTED}.")
        job = Job(asyncio.get_running_loop().create_future(), (batcher.model.network.output,), image=body)
        deadline = job.admitted + self.settings.answer_seconds
        batcher.submit(job)
        await self.waiting.answer(job, receive, self.settings.answer_seconds)
        document = _document(job, top, request_id)
        if shown:
            document |= await self._shown(batcher, job, shown, deadline)
        document["timings_ms"]["total"] = _milliseconds(perf_counter() - started)
        return Reply(to_json(document), model=name)

    async def _shown(self, batcher: Batcher, job: Job, shown: frozenset[str], deadline: float) -> dict[str, Any]:
        """Return what the page draws, which takes longer than the answer: its request keeps a place meanwhile."""
        run = asyncio.get_running_loop().run_in_executor
        batcher.places += 1
        try:
            async with asyncio.timeout(deadline - perf_counter()):
                return await run(self.repository.decoders.threads, _drawn, job.model, job.prepared.pixels, shown)
        except TimeoutError:
            raise late(self.settings.answer_seconds) from None
        finally:
            batcher.places -= 1


def _query(query: bytes) -> tuple[int, frozenset[str]]:
    """Return how many classes to name, and what to show beside them."""
    if not query:
        return 5, frozenset()
    fields = parse_qs(query.decode("latin-1"))
    if unknown := fields.keys() - {"top", "show"}:
        raise Problem(400, "query", f"the query has {min(unknown)[:40]!r}; expected top and show.")
    top = fields.get("top", ["5"])[-1]
    if not (top.isascii() and top.isdigit() and int(top[:9]) >= 1 and len(top) < 9):
        raise Problem(400, "query", f"top is {top[:40]!r}; expected how many classes to name, 1 or more.")
    shown = frozenset(",".join(fields.get("show", [])).split(",")) - {""}
    if strange := shown - {"input", "features"}:
        raise Problem(400, "query", f"show has {min(strange)[:40]!r}; expected input, features or both.")
    return int(top), shown


def _require_image_type(scope: Scope) -> None:
    for name, value in scope["headers"]:
        if name == b"content-type":
            kind = value.partition(b";")[0].strip().lower()
            if kind not in _ANY_TYPE and not kind.startswith(b"image/"):
                said = kind[:60].decode("latin-1")
                raise Problem(415, "content-type", f"the body is {said!r}; {_EXPECTED}.", CLOSE)


def _document(job: Job, top: int, request_id: str) -> dict[str, Any]:
    labels = job.model.classifier.card.labels
    best = np.argsort(-job.probabilities, kind="stable")[:top].tolist()
    values = job.probabilities.tolist()
    timings = job.timings
    return {
        "model": job.model.name,
        "version": str(job.model.version),
        "request_id": request_id,
        "label": labels[best[0]],
        "probability": values[best[0]],
        "probabilities": [{"label": labels[index], "probability": values[index]} for index in best],
        "preprocessing": job.prepared.steps,
        "timings_ms": {
            "queue": _milliseconds(timings.queue),
            "decode": _milliseconds(timings.decode),
            "inference": _milliseconds(timings.inference),
        },
        "batch_size": job.batch,
    }


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _drawn(model: "ServedModel", pixels: Pixels, shown: frozenset[str]) -> dict[str, Any]:
    """Return the image as the network sees it, and what its first layers make of it."""
    drawn: dict[str, Any] = {}
    if "input" in shown:
        height, width, channels = pixels.shape
        drawn["input"] = {"height": height, "width": width, "channels": channels, "png": _png(pixels)}
    if "features" in shown:
        drawn["features"] = _features(model, pixels)
    return drawn


def _features(model: "ServedModel", pixels: Pixels) -> list[dict[str, Any]]:
    features = model.features
    layers = features.maps(pixels[None]) if features is not None else ()
    return [
        {
            "layer": layer.layer,
            "operator": layer.operator,
            "channels": layer.channels,
            "height": layer.height,
            "width": layer.width,
            "columns": layer.columns,
            "png": _data_uri(layer.png),
        }
        for layer in layers
    ]


def _png(pixels: Pixels) -> str:
    return _data_uri(encoded(pixels, compression=1))


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode()}"
