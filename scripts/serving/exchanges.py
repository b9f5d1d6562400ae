"""Bytes sent as they are, on a connection of their own, and the answers that come back.

By the parser that the server uses, bytes are a complete request, no request, or one that goes on. The first two must be
answered; for the last one, the connection may be closed without an answer, by the deadline for receiving.
"""

import socket
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass
from itertools import count

import httptools

RECEIVE_SECONDS, GRACE_SECONDS = 2.0, 2.0
"""The server's deadline for receiving, and how much longer is waited for it."""
_WINDOWS = {"gzip": 31, "deflate": 15}


@dataclass
class Reply:
    """An answer as it comes in."""

    status: int = 0
    kind: str = ""
    coding: str = ""
    body: bytes = b""
    retry: bool = False


class Replies:
    """The answers on one connection."""

    def __init__(self, *, to_head: bool) -> None:
        self.done: list[Reply] = []
        self._current = Reply()
        self.to_head = to_head
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Take what came."""
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep what matters."""
        if name.lower() == b"content-type":
            self._current.kind = value.decode("latin-1")
        elif name.lower() == b"content-encoding":
            self._current.coding = value.decode("latin-1")
        self._current.retry |= name.lower() == b"retry-after"

    def on_headers_complete(self) -> None:
        """End an answer without a body, of which the parser cannot know."""
        if self.to_head:
            self.on_message_complete()

    def on_body(self, body: bytes) -> None:
        """Keep the body."""
        self._current.body += body

    def on_message_complete(self) -> None:
        """Go on to the next, and leave out those that only say that there will be one."""
        self._current.status = self._parser.get_status_code()
        if self._current.coding and self._current.body:
            self._current.body = zlib.decompress(self._current.body, _WINDOWS[self._current.coding])
        if self._current.status >= 200 and not (self.to_head and self.done):
            self.done.append(self._current)
        self._current = Reply()


def exchange(port: int, sent: bytes) -> tuple[list[Reply], float | None]:
    """Send bytes; return the answers, and after how long the server closed the connection; None where it did not."""
    replies = Replies(to_head=sent.startswith(b"HEAD "))
    began = time.perf_counter()
    until = began + RECEIVE_SECONDS + GRACE_SECONDS
    with socket.create_connection(("127.0.0.1", port), GRACE_SECONDS) as connection:
        with suppress(ConnectionError):  # it may refuse to read on, and has said why
            connection.sendall(sent)
        while time.perf_counter() < until:
            # One answer is what matters; where more are due, they come at once.
            connection.settimeout(0.05 if replies.done else max(0.01, until - time.perf_counter()))
            try:
                data = connection.recv(65536)
            except TimeoutError:
                break
            except ConnectionError:
                data = b""
            if not data:
                return replies.done, time.perf_counter() - began
            with suppress(httptools.HttpParserUpgrade):
                try:
                    replies.feed(data)
                except httptools.HttpParserError as error:
                    if replies.to_head and replies.done:
                        break  # the parser takes the next answer for the body that HEAD has not
                    raise OSError(f"the answer is not HTTP: {error}: {data[:200]!r}") from error
            if len(replies.done) == 1 and b"\r\n\r\n" not in sent[sent.find(b"\r\n\r\n") + 4 :]:
                break
    return replies.done, None


def must_be_answered(sent: bytes) -> str:
    """Return why bytes must be answered: they are a complete request, or no request; nothing where they go on."""
    whole = count()

    class Events:
        def on_message_complete(self) -> None:
            next(whole)

    try:
        httptools.HttpRequestParser(Events()).feed_data(sent)
    except httptools.HttpParserUpgrade:
        return "it is a complete request"
    except httptools.HttpParserError as error:
        return f"it is no HTTP ({error})"
    return "it is a complete request" if next(whole) else ""
