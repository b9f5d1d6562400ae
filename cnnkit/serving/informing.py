"""What the server says of itself: health, models, metrics, documentation, the page; and the reload on request."""

import asyncio
import ipaddress
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from cnnkit.serving import metadata
from cnnkit.serving.inferring import require_version
from cnnkit.serving.openapi import document
from cnnkit.serving.problems import Problem, busy
from cnnkit.serving.receiving import Receive, Receiver, Scope
from cnnkit.serving.replies import Reply
from cnnkit.serving.static import page_file

if TYPE_CHECKING:
    from cnnkit.serving.app import App
    from cnnkit.serving.batching import Batcher
    from cnnkit.serving.served import ServedModel
    from cnnkit.serving.settings import Settings

_MAX_JSON = 2**16

Handler = Callable[["Informing", Scope, Receive, str, str], Awaitable[Reply]]


class Informing:
    """Serves all that runs no network."""

    def __init__(self, app: "App", receiver: Receiver, settings: "Settings") -> None:
        self._app = app
        self._repository = app.repository
        self._receiver = receiver
        self._settings = settings

    async def answer(self, scope: Scope, receive: Receive) -> Reply:
        """Answer a request.

        Raises:
            Problem: 404 for an unknown path, 405 for a method that it does not take, or what the path's handler says.
        """
        path, method = scope["path"], scope["method"]
        allowed = []
        for wanted, pattern, handler in _ROUTES:
            if match := pattern.fullmatch(path):
                if method == wanted or (method == "HEAD" and wanted == "GET"):
                    name, version = (*match.groups(""), "", "")[:2]
                    return await handler(self, scope, receive, name, version)
                allowed.append(wanted)
        if allowed:
            message = f"{path[:80]} takes {' or '.join(allowed)}; got {method[:20]}."
            raise Problem(405, "method", message, ((b"allow", ", ".join(allowed).encode()),))
        raise Problem(404, "not-found", f"there is nothing at {path[:80]!r}. See / and /docs.")

    async def _page(self, scope: Scope, _: Receive, name: str, __: str) -> Reply:
        seen = dict(scope["headers"]).get(b"if-none-match", b"")
        return page_file({"": "index.html", "docs": "docs.html"}.get(name, name), seen)

    async def _openapi(self, *_: Any) -> Reply:
        return _json(document(list(self._repository.batchers), self._settings))

    async def _metrics(self, *_: Any) -> Reply:
        self._app.measure()
        content, kind = self._app.metrics.render()
        return Reply(content, kind.encode())

    async def _models(self, *_: Any) -> Reply:
        run = asyncio.get_running_loop().run_in_executor
        models = [batcher.model for batcher in self._repository.batchers.values()]
        return _json({"models": [await run(self._repository.decoders.threads, _described, model) for model in models]})

    async def _live(self, *_: Any) -> Reply:
        return _json({"live": True})

    async def _ready(self, *_: Any) -> Reply:
        if not self._app.ready:
            raise busy("not-ready", "The server is about to stop, or has only just started.")
        return _json({"ready": True})

    async def _server(self, *_: Any) -> Reply:
        return _json(metadata.server_metadata())

    async def _model_ready(self, _: Scope, __: Receive, name: str, version: str) -> Reply:
        batcher = self._find(name, version)
        if not self._app.ready:
            raise busy("not-ready", "The server is about to stop.")
        return _json({"name": name, "ready": True, "version": str(batcher.model.version)})

    async def _model(self, _: Scope, __: Receive, name: str, version: str) -> Reply:
        model = self._find(name, version).model
        return _json(metadata.model_metadata(name, [str(model.version)], model.inputs, model.outputs))

    async def _config(self, _: Scope, __: Receive, name: str, version: str) -> Reply:
        model = self._find(name, version).model
        described = metadata.model_config(
            name,
            model.inputs,
            model.outputs,
            max_batch=self._settings.max_batch,
            max_delay_ms=self._settings.max_delay_ms,
            device=model.network.placement.device,
            labels=model.classifier.card.labels,
        )
        return _json(described)

    async def _statistics(self, _: Scope, __: Receive, name: str, version: str) -> Reply:
        batchers = [self._find(name, version)] if name else self._repository.batchers.values()
        taken = [b.statistics.snapshot(b.model.name, str(b.model.version)) for b in batchers]
        return _json(metadata.statistics(taken))

    async def _index(self, scope: Scope, receive: Receive, *_: str) -> Reply:
        only = (await self._asked(scope, receive, "ready")).get("ready") is True
        entries = [
            metadata.IndexEntry(name, str(batcher.model.version), self._app.ready)
            for name, batcher in self._repository.batchers.items()
        ]
        return _json(metadata.repository_index(entries, ready_only=only))

    async def _reload(self, scope: Scope, receive: Receive, *_: str) -> Reply:
        self._require_admin(scope)
        name = (await self._asked(scope, receive, "model")).get("model")
        if not isinstance(name, str | None):
            raise Problem(400, "json", 'expected {"model": NAME}, or {} for all models.')
        names = list(self._repository.batchers) if name is None else [self._repository.batcher(name).model.name]
        outcomes = [await self._repository.reload(each) for each in names]
        self._repository.tell_other_workers()
        if refused := [outcome for outcome in outcomes if outcome.reason]:
            said = "; ".join(f"{each.model} stays at version {each.version}: {each.reason}" for each in refused)
            raise Problem(422, "reload-refused", said)
        return _json({"models": [{"model": each.model, "version": str(each.version)} for each in outcomes]})

    async def _asked(self, scope: Scope, receive: Receive, field: str) -> dict[str, Any]:
        """Return the JSON object of a request that may have one field, or no body at all."""
        body = await self._receiver.body(scope, receive, _MAX_JSON)
        try:
            document = from_json(body or b"{}")
        except ValueError as error:
            raise Problem(400, "json", f"the request is not JSON: {error}.") from None
        if not isinstance(document, dict) or document.keys() - {field}:
            raise Problem(400, "json", f'expected a JSON object with at most "{field}".')
        return document

    def _require_admin(self, scope: Scope) -> None:
        """Let nobody in but programs on this machine: no proxy on behalf of others, no page in a browser.

        Raises:
            Problem: 404 where it is not offered, 405 for everybody else.
        """
        if not self._settings.admin:
            raise Problem(404, "not-found", "the server was started without --admin.")
        headers = dict(scope["headers"])
        address = scope["client"][0] if scope.get("client") else ""
        try:
            found = ipaddress.ip_address(address)
            local = (getattr(found, "ipv4_mapped", None) or found).is_loopback
        except ValueError:
            local = False
        if not local or headers.keys() & {b"origin", b"x-forwarded-for", b"forwarded"}:
            raise Problem(405, "admin", "only programs on the server's own machine may ask for that.")

    def _find(self, name: str, version: str) -> "Batcher":
        batcher = self._repository.batcher(name)
        require_version(batcher, version)
        return batcher


def _json(content: Any) -> Reply:
    return Reply(to_json(content))


def _described(model: "ServedModel") -> dict[str, Any]:
    card, form = model.classifier.card, model.form
    return {
        "name": model.name,
        "version": str(model.version),
        "ready": True,
        "labels": card.labels,
        "input": {
            "channels": form.channels,
            "height": form.height,
            "width": form.width,
            "fit": form.fit,
            "polarity": form.polarity,
        },
        "engine": model.classifier.engine,
        "model": card.model,
        "dataset": card.dataset,
        "features": model.features is not None,
        "assumptions": model.classifier.assumptions,
    }


def _routes(*rows: tuple[str, str, Handler]) -> Sequence[tuple[str, re.Pattern[str], Handler]]:
    model = r"/v2/models/([^/]+)(?:/versions/([^/]+))?"
    return [(method, re.compile(path.replace("MODEL", model)), handler) for method, path, handler in rows]


_ROUTES = _routes(
    ("GET", "/v2/health/live", Informing._live),
    ("GET", "/v2/health/ready", Informing._ready),
    ("GET", "/v2/?", Informing._server),
    ("GET", "/v2/models/stats", Informing._statistics),
    ("GET", "MODEL", Informing._model),
    ("GET", "MODEL/ready", Informing._model_ready),
    ("GET", "MODEL/config", Informing._config),
    ("GET", "MODEL/stats", Informing._statistics),
    ("POST", "/v2/repository/index", Informing._index),
    ("GET", "/models", Informing._models),
    ("GET", "/metrics", Informing._metrics),
    ("GET", "/openapi.json", Informing._openapi),
    ("POST", "/admin/reload", Informing._reload),
    ("GET", r"/(docs|[\w-]+\.(?:css|js))?", Informing._page),
)
