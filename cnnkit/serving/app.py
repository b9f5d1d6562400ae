"""The ASGI application: which request goes where, and what every answer has in common."""

import asyncio
import logging
import re
import secrets
from collections.abc import Coroutine, Sequence
from itertools import count
from time import perf_counter
from typing import Any

from cnnkit.errors import without_frames
from cnnkit.serving.inferring import Inferring
from cnnkit.serving.informing import Informing
from cnnkit.serving.metrics import Metrics
from cnnkit.serving.predicting import Predicting
from cnnkit.serving.problems import CLOSE, Headers, Problem, busy, problem_of
from cnnkit.serving.receiving import ClientGoneError, Receive, Receiver, Scope, Send
from cnnkit.serving.replies import JSON, Reply
from cnnkit.serving.repository import Repository
from cnnkit.serving.settings import ModelSource, Settings
from cnnkit.serving.waiting import TICK_SECONDS, WaitingRoom

_log = logging.getLogger("cnnkit.serving")
_INFER = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/infer")
_REQUEST_ID = re.compile(rb"[!-~]{1,128}")
_LOGGED_EVERY = 1.0
"""Seconds between two lines that say how many requests were refused."""


class App:
    """Serves models over HTTP.

    Attributes:
        repository: of the models.
        metrics: of this process.
        stopping: new requests are still answered, and told to be the last of their connection.
    """

    def __init__(self, sources: Sequence[ModelSource], settings: Settings) -> None:
        self.metrics = Metrics()
        self.repository = Repository(sources, settings, self.metrics)
        self.stopping = False
        self._settings = settings
        self._waiting = WaitingRoom()
        self._receiver = Receiver(settings)
        needed = self.repository, self._receiver, self._waiting, settings
        self._predicting, self._inferring = Predicting(*needed), Inferring(*needed)
        self._informing = Informing(self, self._receiver, settings)
        # Cheaper than a random number for each request, and as hard to mistake.
        self._prefix, self._numbers = secrets.token_hex(4), count(1)
        self._refusals = 0

    def open(self) -> None:
        """Open the models; the server that runs the application starts it once they are.

        Raises:
            CnnkitError: one of them cannot be served.
        """
        self.repository.open()

    @property
    def engines(self) -> str:
        """What the models run on."""
        return ", ".join(sorted({batcher.model.classifier.engine for batcher in self.repository.batchers.values()}))

    @property
    def ready(self) -> bool:
        """Whether a load balancer should send requests here."""
        return bool(self.repository.batchers) and not self.stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or follow the server from its start to its end."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        started = perf_counter()
        request_id = self._request_id(scope)
        path: str = scope["path"]
        try:
            reply = await self._route(path, scope, receive, request_id)
        except ClientGoneError:
            self.metrics.left()
            return
        except Exception as error:
            reply = self._failed(error, path, scope, request_id)
            without_frames(error)  # which hold the request, which holds it
        finally:
            self._receiver.release(scope)
        await send({"type": "http.response.start", "status": reply.status, "headers": self._headers(reply, request_id)})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else reply.body})
        self._note(reply, path, scope, request_id, perf_counter() - started)

    async def _route(self, path: str, scope: Scope, receive: Receive, request_id: str) -> Reply:
        if path.startswith("/predict/"):
            _require_post(scope)
            return await self._predicting.answer(scope, receive, path[9:], request_id)
        if match := _INFER.fullmatch(path):
            _require_post(scope)
            return await self._inferring.answer(scope, receive, match[1], match[2] or "")
        return await self._informing.answer(scope, receive)

    def _failed(self, error: Exception, path: str, scope: Scope, request_id: str) -> Reply:
        problem, model = problem_of(error), self._model_of(path)
        if problem.code == "internal":
            extra = {"event": "bug", "request_id": request_id, "path": _written(scope)}
            _log.error("cnnkit broke", exc_info=error, extra=extra)
        if problem.status == 503 and model:
            self.metrics.refused(model, problem.code)
            self._refusals += 1
        body = problem.body(request_id, flat=path.startswith("/v2"))
        return Reply(body, JSON, problem.status, problem.headers, model, problem.code)

    def is_full(self, scope: Scope) -> bool:
        """Whether a request is for a model that takes no more of them."""
        model = self._model_of(scope["path"])
        return bool(model) and self.repository.batchers[model].is_full and scope["method"] == "POST"

    def refuse(self, scope: Scope, started: float) -> tuple[Reply, Headers]:
        """Return the refusal of a request that came at `started`, and all of its headers, where its model is full.

        Most requests of an overload get no further, and a task for each would cost more than all the rest.
        """
        path: str = scope["path"]
        request_id = self._request_id(scope)
        reply = self._failed(self.repository.batchers[self._model_of(path)].refusal(), path, scope, request_id)
        self._note(reply, path, scope, request_id, perf_counter() - started)
        return reply, self._headers(reply, request_id)

    def _model_of(self, path: str) -> str:
        """Return the model that a path is about, if there is one: what clients make up must not become a metric."""
        name = path[9:] if path.startswith("/predict/") else match[1] if (match := _INFER.fullmatch(path)) else ""
        return name if name in self.repository.batchers else ""

    def _headers(self, reply: Reply, request_id: str) -> Headers:
        about: Headers = ((b"content-type", reply.content_type), (b"x-request-id", request_id.encode("latin-1")))
        if reply.status != 304:  # whose length would be that of what is not sent
            about += ((b"content-length", str(len(reply.body)).encode()),)
        last = CLOSE if self.stopping and CLOSE[0] not in reply.headers else ()
        return (*about, *reply.headers, *last)

    def _note(self, reply: Reply, path: str, scope: Scope, request_id: str, seconds: float) -> None:
        endpoint = "predict" if path.startswith("/predict/") else "infer" if path.endswith("/infer") else "other"
        self.metrics.answered(endpoint, reply.model, reply.status, seconds)
        if reply.model:
            self.repository.batchers[reply.model].statistics.request(seconds, succeeded=reply.status < 400)
        # A line for each refusal would make an overload worse.
        if self._settings.access_log or (reply.status >= 400 and not (reply.status == 503 and reply.model)):
            extra = {
                "event": "request",
                "request_id": request_id,
                "status": reply.status,
                **({"code": reply.code} if reply.code else {}),
                "ms": round(seconds * 1000, 2),
                "client": scope["client"][0] if scope.get("client") else "",
            }
            _log.log(
                logging.WARNING if reply.status >= 400 else logging.INFO,
                "%s %s",
                scope["method"],
                _written(scope),
                extra=extra,
            )

    def _request_id(self, scope: Scope) -> str:
        for name, value in scope["headers"]:
            if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
                return str(value, "ascii")
        return f"{self._prefix}-{next(self._numbers):x}"

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self.repository.serve()
        chores: list[Coroutine[Any, Any, None]] = [self._waiting.keep(), self._measure(), self.repository.watch()]
        tasks = [asyncio.create_task(chore) for chore in chores]
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.repository.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _measure(self) -> None:
        """Say now and then what only changes with every request: lengths of queues, refusals."""
        said = perf_counter()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.measure()
            if self._refusals and perf_counter() - said >= _LOGGED_EVERY:
                _log.warning("refused %d requests", self._refusals, extra={"event": "refused"})
                self._refusals, said = 0, perf_counter()

    def measure(self) -> None:
        """Bring the gauges up to date."""
        for name, batcher in self.repository.batchers.items():
            self.metrics.queue(name, batcher.places)

    def refuse_waiting(self) -> None:
        """Tell all clients that still wait that the server stops."""
        self._waiting.refuse_all(busy("stopping", "The server stops. Try again at another.", CLOSE))

    @property
    def waiting(self) -> int:
        """Requests that wait for a batch."""
        return len(self._waiting)


def _written(scope: Scope) -> str:
    """Return a request's path for the log, where it must not make lines of its own."""
    return str(scope["raw_path"][:200], "ascii")


def _require_post(scope: Scope) -> None:
    if scope["method"] != "POST":
        message = f"{scope['path'][:80]} takes POST; got {scope['method'][:20]}."
        raise Problem(405, "method", message, ((b"allow", b"POST"),))
