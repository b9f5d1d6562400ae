"""What Starlette's routes, requests and responses cost for a request, beside a bare ASGI function.

    pip install starlette && python scripts/measure_starlette.py

Both answer the same request in this process, without a server; the time is that of the processor. `cnnkit serve` spends
about 200 µs on a request for a digit.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
TIMES, ROUNDS = 5000, 5
HEADERS = [(b"host", b"x"), (b"content-type", b"image/png"), (b"content-length", b"300")]
SCOPE = {
    "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
    "path": "/predict/lenet", "raw_path": b"/predict/lenet", "root_path": "", "query_string": b"", "headers": HEADERS,
    "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
}  # fmt: skip


def with_starlette() -> Callable[..., Awaitable[None]]:
    """Return an application with as many routes as the server has kinds of paths."""
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    async def predict(request: Any) -> Any:
        assert request.path_params["name"] == "lenet"  # noqa: S101
        await request.body()
        request.headers.get("content-type"), request.query_params.get("top")
        return Response(b"{}", media_type="application/json", headers={"x-request-id": "a"})

    async def other(_: Any) -> Any:
        return Response(b"")

    rest = [Route(path, other) for path in ("/v2", "/v2/models/{model}", "/models", "/metrics")]
    app: Callable[..., Awaitable[None]] = Starlette(routes=[Route("/predict/{name}", predict, methods=["POST"]), *rest])
    return app


async def bare(_: Message, receive: Receive, send: Send) -> None:
    """Answer without any of that."""
    await receive()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2"), (b"x-request-id", b"a")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


async def measure(app: Callable[..., Awaitable[None]]) -> float:
    """Return the microseconds of the processor for a request."""

    async def receive() -> Message:
        return {"type": "http.request", "body": b"x" * 300, "more_body": False}

    async def send(_: Message) -> None:
        pass

    began = time.process_time()
    for _ in range(TIMES):
        await app(dict(SCOPE), receive, send)
    return (time.process_time() - began) / TIMES * 1e6


async def main() -> None:
    """Measure both in turn, and print the least of each."""
    apps = {"starlette": with_starlette(), "bare": bare}
    found = {name: min([await measure(app) for _ in range(ROUNDS)]) for name, app in apps.items()}
    print(", ".join(f"{name} {microseconds:.1f} µs" for name, microseconds in found.items()))


if __name__ == "__main__":
    asyncio.run(main())
