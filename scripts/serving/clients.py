"""Clients on plain sockets, one a thread, which know exactly what was sent and what came back."""

import socket
import time
from dataclasses import dataclass, field
from typing import Self

import httptools


@dataclass
class Answer:
    """A complete answer; `stays` says whether the server takes another request on the connection."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float
    stays: bool


class LostError(Exception):
    """A request without a complete answer.

    Attributes:
        first: it was the first request on its connection.
        late: the server had closed the connection before the request was sent, which no client can know in time.
    """

    def __init__(self, what: str, *, first: bool, late: bool) -> None:
        super().__init__(what)
        self.first, self.late = first, late


@dataclass
class _Reading:
    """What the parser calls while an answer comes in."""

    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    complete: bool = False
    stays: bool = False

    def __post_init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete, self.stays = True, self.parser.should_keep_alive()


class Client:
    """One connection at a time, made when it is needed."""

    def __init__(self, port: int, timeout: float = 60.0) -> None:
        self.port, self.timeout = port, timeout
        self.answers_here = 0
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(self) -> None:
        """Make a connection if there is none that the server keeps open.

        Raises:
            OSError: the server does not take it.
        """
        if self._socket is not None and is_closed(self._socket):
            self.close()
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self.port), self.timeout)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.answers_here = 0

    def ask(self, request: bytes) -> Answer:
        """Send a request and return its answer.

        Raises:
            OSError: no connection, so that nothing was sent.
            LostError: the server took the connection and gave no complete answer.
        """
        self.connect()
        assert self._socket is not None  # noqa: S101
        began, late = time.perf_counter(), False
        try:
            self._socket.sendall(request)
            # On one machine a close is seen at once: if it is not there now, the request was there before it.
            late = is_closed(self._socket)
            answer = self._read(began)
        except (OSError, httptools.HttpParserError) as error:
            raise self._lost(f"{type(error).__name__}: {error}", late=late) from error
        if answer is None:
            raise self._lost("closed", late=late)
        self.answers_here += 1
        if not answer.stays:
            self.close()
        return answer

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _lost(self, what: str, *, late: bool) -> LostError:
        self.close()
        return LostError(what, first=self.answers_here == 0, late=late)

    def _read(self, began: float) -> Answer | None:
        assert self._socket is not None  # noqa: S101
        reading = _Reading()
        while not reading.complete:
            data = self._socket.recv(65536)
            if not data:
                if reading.headers:
                    raise ConnectionError("closed in the middle of the answer")
                return None
            reading.parser.feed_data(data)
        seconds = time.perf_counter() - began
        return Answer(reading.parser.get_status_code(), reading.headers, reading.body, seconds, reading.stays)


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side has closed a connection, and nothing that it sent before is left to read."""
    timeout = connection.gettimeout()
    connection.settimeout(0)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(timeout)
