"""Which request goes where: one table, for the application and for the page at `/docs`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from cnnkit.serving import infer, info, predict
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
    Route("GET", "/docs", info.page, open=True),
    Route("GET", "/*", info.page, open=True),
)

Tree = dict[str | None, Any]


def _tree() -> Tree:
    """Return the routes by the segments of their paths; those of one path by method, under None."""
    root: Tree = {}
    for route in ROUTES:
        node = root
        for segment in route.path[1:].split("/"):
            node = node.setdefault(segment, {})
        node.setdefault(None, {})[route.method] = route
    return root


_TREE = _tree()


def find(request: Request) -> dict[str, Route]:
    """Return the routes of a request's path by their method, and leave in the request what the path leaves open.

    Raises:
        HttpError: 404; there is nothing there.
    """
    node: Tree | None = _TREE
    params: list[str] = []
    for segment in request.segments:
        assert node is not None  # noqa: S101
        if segment in node and segment != "*":
            node = node[segment]
        else:
            node = node.get("*")
            params.append(segment)
        if node is None:
            break
    methods: dict[str, Route] | None = node.get(None) if node is not None else None
    if methods is None:
        raise HttpError(404, "not-found", f"there is nothing at {request.path[:80]!r}. See / and /docs.")
    request.params = tuple(params)
    return methods
