"""The body of a request, within its limits of time and size."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from cnnkit.serving.problems import CLOSE, Problem, busy
from cnnkit.serving.settings import Settings
from cnnkit.words import counted

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_BODIES_IN_MEMORY = 16
"""All bodies from their first piece to their answer may take this many times the largest that one may be."""
_HELD = "cnnkit.held"
"""In a scope: the bytes of its body that are counted."""
RECEIVED = "cnnkit.received"
"""In a scope, once all of its body is there."""
_INLINE_BYTES = 2**16
"""More than this is decompressed outside the event loop."""


class ClientGoneError(Exception):
    """The client closed the connection before its answer: nobody is left to tell."""


class Receiver:
    """Receives bodies, and knows how much memory all of them take."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._held = 0

    async def body(self, scope: Scope, receive: Receive, limit: int | None = None) -> bytes:
        """Return the body of a request, decompressed, of so many bytes at most; None for what the settings say.

        What it takes is counted until `release`.

        Raises:
            Problem: it is too large, too slow, damaged, or too much at a time.
            ClientGoneError: there is no client any more.
        """
        limit = min(self._settings.max_body, limit or self._settings.max_body)
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if int(length) > limit:  # the server refuses what is no number
            raise _too_large(limit)
        encoding = headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding not in _WINDOWS and encoding != b"identity":
            message = f"Content-Encoding {encoding.decode('latin-1')!r} is not known; expected gzip or deflate."
            raise Problem(415, "content-encoding", message, CLOSE)
        body = await self._receive(scope, receive, limit)
        if encoding == b"identity":
            return body
        if len(body) <= _INLINE_BYTES:
            content = _decompressed(body, encoding, limit)
        else:
            content = await asyncio.to_thread(_decompressed, body, encoding, limit)
        self._hold(scope, len(content))
        return content

    def release(self, scope: Scope) -> None:
        """Forget the body of a request that is answered."""
        self._held -= scope.pop(_HELD, 0)

    def _hold(self, scope: Scope, size: int) -> None:
        self._held += size - scope.get(_HELD, 0)
        scope[_HELD] = size
        if self._held > _BODIES_IN_MEMORY * self._settings.max_body:
            raise busy("memory", "The server holds as many bytes of requests as it can. Try again.", CLOSE)

    async def _receive(self, scope: Scope, receive: Receive, limit: int) -> bytes:
        if RECEIVED in scope:  # a deadline would cost more than all the rest
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            body: bytes = message["body"]
            if len(body) > limit:
                raise _too_large(limit)
            return body
        pieces: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._settings.receive_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGoneError
                    piece = message.get("body", b"")
                    if not message.get("more_body") and not pieces:
                        if len(piece) > limit:
                            raise _too_large(limit)
                        return bytes(piece)
                    pieces.append(piece)
                    size += len(piece)
                    if size > limit:
                        raise _too_large(limit)
                    self._hold(scope, size)
                    if not message.get("more_body"):
                        return b"".join(pieces)
        except TimeoutError:
            seconds = self._settings.receive_seconds
            said = f"the body did not come within {counted(seconds, 'second')}; {counted(size, 'byte')} of it did."
            raise Problem(408, "slow-request", said, CLOSE) from None


def _too_large(limit: int) -> Problem:
    return Problem(
        413, "body-too-large", f"the body is larger than {counted(limit, 'byte')}. Send less at a time.", CLOSE
    )


# What zlib calls the window of each format; clients send deflate with and without zlib's own header.
_WINDOWS = {b"gzip": (31,), b"x-gzip": (31,), b"deflate": (15, -15)}


def _decompressed(body: bytes, encoding: bytes, limit: int) -> bytes:
    for window in _WINDOWS[encoding]:
        stream = zlib.decompressobj(window)
        try:
            content = stream.decompress(body, limit + 1)
        except zlib.error:
            continue
        if len(content) > limit:
            raise _too_large(limit)
        if stream.eof and not stream.unused_data:
            return content
    raise Problem(400, "content-encoding", f"the body is not one valid stream of {encoding.decode()}.")
