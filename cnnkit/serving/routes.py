"""Which request goes where: one table, of which the first path that fits counts."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from cnnkit.serving import infer, info, predict, static
from cnnkit.serving.http.errors import HttpError
from cnnkit.serving.http.request import Request
from cnnkit.serving.http.response import Response
from cnnkit.serving.services import Services

_SMALL = 2**16
"""Bytes of a body where none is expected, or a short one."""


@dataclass(frozen=True)
class Route:
    """What a path is answered by.

    Attributes:
        method: of HTTP.
        path: `*` stands for any one segment.
        handler: that answers.
        accept: what looks at the head before the body is received.
        endpoint: in the metrics.
        limit: of a body in bytes; None for what the settings say.
        open: no API key is needed.
    """

    method: str
    path: str
    handler: Callable[[Services, Request], Awaitable[Response]]
    accept: Callable[[Services, Request], None] | None = None
    endpoint: str = "other"
    limit: int | None = _SMALL
    open: bool = False


def _of_model(method: str, suffix: str, handler: Any, **more: Any) -> list[Route]:
    """Return the route of a model, and that of a version of it."""
    return [Route(method, f"/v2/models/*{middle}{suffix}", handler, **more) for middle in ("", "/versions/*")]


ROUTES = (
    Route("POST", "/predict/*", predict.predict, predict.accept, "predict", None),
    *_of_model("POST", "/infer", infer.infer, accept=infer.accept, endpoint="infer", limit=None),
    Route("GET", "/v2/health/live", infer.live, open=True),
    Route("GET", "/v2/health/ready", infer.ready, open=True),
    Route("GET", "/v2", infer.server),
    Route("GET", "/v2/", infer.server),
    Route("GET", "/v2/models/stats", infer.statistics),
    *_of_model("GET", "", infer.model),
    *_of_model("GET", "/ready", infer.ready),
    *_of_model("GET", "/config", infer.config),
    *_of_model("GET", "/stats", infer.statistics),
    Route("POST", "/v2/repository/index", infer.index),
    Route("GET", "/models", info.models),
    Route("GET", "/metrics", info.metrics),
    Route("GET", "/openapi.json", info.openapi, open=True),
    Route("POST", "/admin/reload", info.reload, info.accept_admin),
    Route("GET", "/docs", static.page, open=True),
    Route("GET", "/*", static.page, open=True),
)


def _by_length() -> dict[int, dict[tuple[str, ...], dict[str, Route]]]:
    """Return the routes by the number of segments of their paths, then by these segments, then by method."""
    table: dict[int, dict[tuple[str, ...], dict[str, Route]]] = {}
    for route in ROUTES:
        pattern = tuple(route.path[1:].split("/"))
        table.setdefault(len(pattern), {}).setdefault(pattern, {})[route.method] = route
    return table


_TABLE = _by_length()
_ANYWHERE = {route.method: route for route in ROUTES}


def find(request: Request) -> dict[str, Route]:
    """Return the routes of a request's path by their method, and leave in the request what the path leaves open.

    Raises:
        HttpError: 404; there is nothing there.
    """
    segments = request.segments
    for pattern, methods in _TABLE.get(len(segments), {}).items():
        params = []
        for part, segment in zip(pattern, segments, strict=True):
            if part == "*":
                params.append(segment)
            elif part != segment:
                break
        else:
            request.params = tuple(params)
            return methods
    if not segments:
        return _ANYWHERE
    raise HttpError(404, "not-found", f"there is nothing at {request.path[:80]!r}. See / and /docs.")
