"""From bytes to requests: httptools' parser, and what it lets through and this server does not."""

from typing import Any

import httptools

from cnnkit.serving.http.errors import CLOSE, HttpError, too_large
from cnnkit.serving.http.request import Request

MAX_HEAD = 32 * 2**10
"""Bytes of a request line and its headers."""


class RequestParser:
    """Reads the requests of one connection, which hears of each when it begins, and of its head, body and end.

    Attributes:
        in_head: a head is being received.
        receiving: the request whose body is being received.
        error: why the bytes are no request.
    """

    def __init__(self, receiver: Any) -> None:
        self.in_head = False
        self.receiving: Request | None = None
        self.error: HttpError | None = None
        self.client = ""
        self._receiver = receiver
        self._parser = httptools.HttpRequestParser(self)
        self._url, self._headers = b"", dict[bytes, bytes]()
        self._size = 0  # of what was received of the current request
        self._head = 0  # of its target and headers
        self._beside = 0  # of what was received after the last piece of its body
        self._upgrading = self._completed = False

    def feed(self, data: bytes) -> bool:
        """Parse bytes; return whether any of them belong to a request. `error` says what is wrong with them."""
        self._completed = False
        self._beside += len(data)
        self._feed(data)
        # Where in the data an earlier request ended, the parser does not say.
        self._size += 1 if self._completed else len(data)
        if self.error is None and self.in_head and self._size > MAX_HEAD:
            self.error = head_too_large()
        request = self.receiving
        if self.error is None and request is not None:
            if self._beside > MAX_HEAD:
                self.error = head_too_large()  # The parser keeps a trailer, and copies it with each piece of it.
            elif self._size > 2 * request.limit + 4 * MAX_HEAD:
                self.error = too_large(request.limit)  # by the overhead of its chunks
        return self._completed or self.in_head or request is not None

    def stop(self) -> Request | None:
        """Forget the request that is being received, and return it."""
        request, self.receiving, self.in_head = self.receiving, None, False
        return request

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # RFC 9110, section 7.8: a server may ignore it. The parser does not, so it gets the head without it.
                lines = [b"%s: %s\r\n" % item for item in self._headers.items() if item[0] != b"upgrade"]
                start = b"%s %s HTTP/%s\r\n" % (self._parser.get_method(), self._url, self._version().encode())
                data = b"".join((start, *lines, b"\r\n", data[upgrade.args[0] :]))
                self._parser = httptools.HttpRequestParser(self)
                self._upgrading = False
            except httptools.HttpParserError as error:
                self.error = self.error or HttpError(400, "http", f"{error}. Expected HTTP/1.1 (RFC 9112).", CLOSE)
                return
            else:
                return

    def _version(self) -> str:
        return self._parser.get_http_version()

    # What httptools calls; where one of these raises, it stops.

    def on_message_begin(self) -> None:
        """Begin another request."""
        if not self._receiver.begun():
            raise ValueError
        self._url, self._headers, self._head, self._size, self.in_head = b"", {}, 0, 0, True

    def on_url(self, url: bytes) -> None:
        """Keep the target, which may come in pieces."""
        self._url += url
        self._head += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; those of a trailer are not of interest."""
        if self.receiving is not None:
            return
        self._head += len(name) + len(value) + 4
        if self._head > MAX_HEAD:
            self.error = head_too_large()  # not only at its end: to join thousands of one name takes long
            raise ValueError
        name = name.lower()
        self._headers[name] = self._headers[name] + b", " + value if name in self._headers else value

    def on_headers_complete(self) -> None:
        """Hand the request over."""
        method = self._parser.get_method()
        if self._parser.should_upgrade() and method != b"CONNECT":
            self._upgrading = True
            return
        self.error = _problem_of(method, self._version(), self._url, self._headers)
        if self.error is not None:
            raise ValueError
        keep_alive = self._parser.should_keep_alive()
        request = Request(method.decode(), self._url, self._headers, self.client, self._version(), keep_alive)
        self.receiving, self.in_head, self._beside = request, False, 0
        self._receiver.head_received(request)

    def on_body(self, piece: bytes) -> None:
        """Keep some of the body, unless the request has its response already."""
        request, self._beside = self.receiving, 0
        if request is None or request.response is not None:
            return
        if not request.body:
            request.body = piece
        else:
            request.body = request.body if isinstance(request.body, bytearray) else bytearray(request.body)
            request.body += piece
        self._receiver.body_received(request)

    def on_message_complete(self) -> None:
        """End the request."""
        if (request := self.receiving) is not None and not self._upgrading:
            self.receiving, self._completed, request.complete = None, True, True
            self._receiver.completed(request)


def _problem_of(method: bytes, version: str, url: bytes, headers: dict[bytes, bytes]) -> HttpError | None:
    """Return what the parser lets through and this server does not."""
    if method == b"CONNECT":
        return HttpError(405, "method", "CONNECT is for proxies; this is none.", CLOSE)
    if version not in {"1.0", "1.1"}:
        return HttpError(400, "http", f"HTTP/{version} is not known here; use HTTP/1.1.", CLOSE)
    coding = headers.get(b"transfer-encoding", b"chunked").strip().lower()
    if coding != b"chunked" or (version == "1.0" and b"transfer-encoding" in headers):
        return HttpError(400, "http", "the only Transfer-Encoding is chunked, in HTTP/1.1.", CLOSE)
    return head_too_large() if len(url) > MAX_HEAD else None


def head_too_large() -> HttpError:
    """Return the refusal of a head, or of a trailer, over `MAX_HEAD`."""
    said = f"the request line and headers, or a trailer, are larger than {MAX_HEAD // 1024} KiB."
    return HttpError(431, "headers-too-large", said, CLOSE)
