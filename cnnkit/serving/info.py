"""What the server says of itself: its models, metrics and description; and the reload on request."""

import asyncio
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from pydantic_core import from_json

from cnnkit.files import JsonObject
from cnnkit.serving.batching.instance import ModelInstance
from cnnkit.serving.http.access import require_local_program
from cnnkit.serving.http.body import json_object
from cnnkit.serving.http.errors import HttpError
from cnnkit.serving.http.request import Request
from cnnkit.serving.http.response import Response, json_response
from cnnkit.serving.services import Services


@cache
def description() -> JsonObject:
    """Return the OpenAPI document."""
    document: dict[str, Any] = from_json((files("cnnkit.serving") / "openapi.json").read_bytes())
    document["info"]["version"] = version("cnnkit")
    return document


async def openapi(_: Services, __: Request) -> Response:
    """Describe the server in OpenAPI's form."""
    return json_response(description())


async def metrics(services: Services, _: Request) -> Response:
    """Return the metrics of all workers."""
    services.measure()
    content, kind = services.metrics.render()
    return Response(content, kind.encode())


async def models(services: Services, _: Request) -> Response:
    """Describe the models."""
    found = [batcher.model for batcher in services.repository.batchers.values()]
    return json_response({"models": [await services.call(_described, model) for model in found]})


def _described(model: ModelInstance) -> dict[str, Any]:
    card, form = model.classifier.card, model.form
    return {
        "name": model.name,
        "version": str(model.version),
        "ready": True,
        "labels": card.labels,
        "input": {name: getattr(form, name) for name in ("channels", "height", "width", "fit", "polarity")},
        "engine": model.classifier.engine,
        "model": card.model,
        "dataset": card.dataset,
        "features": model.features is not None,
        "assumptions": model.classifier.assumptions,
    }


def accept_admin(services: Services, request: Request) -> None:
    """Let only programs on this machine in, or raise HttpError 404 or 403."""
    if not services.settings.admin:
        raise HttpError(404, "not-found", "the server was started without --admin.")
    require_local_program(request)


async def reload(services: Services, request: Request) -> Response:
    """Load model files again."""
    name = json_object(await services.content(request), "model").get("model")
    if not isinstance(name, str | None):
        raise HttpError(400, "json", 'expected {"model": NAME}, or {} for all models.')
    repository = services.repository
    request.patience = float("inf")  # loading takes as long as it takes
    names = list(repository.batchers) if name is None else [repository.batcher(name).model.name]
    # A client that leaves does not leave it half done.
    outcomes = [await asyncio.shield(repository.reload(each)) for each in names]
    repository.tell_other_workers()
    if refused := [outcome for outcome in outcomes if outcome.reason]:
        said = "; ".join(f"{each.model} stays at version {each.version}: {each.reason}" for each in refused)
        raise HttpError(422, "reload-refused", said)
    return json_response({"models": [{"model": each.model, "version": str(each.version)} for each in outcomes]})
