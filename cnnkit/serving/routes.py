"""Which request goes where: one table."""

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


_TABLE: dict[tuple[str | None, ...], dict[str, Route]] = {}
"""The routes by the segments of their paths, with None for any, and then by method."""
_OPEN: dict[int, dict[tuple[int, ...], None]] = {}
"""Which segments are left open in paths of so many; paths that leave fewer open come first."""
for _route in sorted(ROUTES, key=lambda route: route.path.count("*")):
    _parts = tuple(None if part == "*" else part for part in _route.path[1:].split("/"))
    _TABLE.setdefault(_parts, {})[_route.method] = _route
    _OPEN.setdefault(len(_parts), {})[tuple(index for index, part in enumerate(_parts) if part is None)] = None
_ANYWHERE = {route.method: route for route in ROUTES}


def find(request: Request) -> dict[str, Route]:
    """Return the routes of a request's path by their method, and leave in the request what the path leaves open.

    Raises:
        HttpError: 404; there is nothing there.
    """
    segments = request.segments
    for places in _OPEN.get(len(segments), ()):
        parts: list[str | None] = list(segments)
        for place in places:
            parts[place] = None
        if (methods := _TABLE.get(tuple(parts))) is not None:
            request.params = tuple([segments[place] for place in places])
            return methods
    if not segments:
        return _ANYWHERE
    raise HttpError(404, "not-found", f"there is nothing at {request.path[:80]!r}. See / and /docs.")
