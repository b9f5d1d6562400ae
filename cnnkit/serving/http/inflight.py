"""What a server has under way: its connections, the bytes of their requests, and whether it is stopping."""

from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from cnnkit.serving.http.request import Request

if TYPE_CHECKING:
    from cnnkit.serving.http.errors import Headers

_BODIES_IN_MEMORY = 16
"""All bodies from their first piece to their response may take this many times the largest that one may be."""


class InFlight:
    """All connections of an event loop.

    Attributes:
        connections: that are open.
        draining: the server is stopping: every response is the last of its connection.
        always: headers of every response.
    """

    def __init__(self, max_body: int) -> None:
        self.connections: set[Any] = set()
        self.draining = False
        self.always: Headers = ()
        self._most = _BODIES_IN_MEMORY * max_body
        self._held = 0

    def hold(self, request: Request, size: int) -> bool:
        """Count what a request's body takes; False where that is too much for all together."""
        self._held += size - request.held
        request.held = size
        return self._held <= self._most

    def release(self, request: Request) -> None:
        """Forget the body of a request that is answered, or whose client left."""
        self._held -= request.held
        # A connection and its parser refer to each other: what they keep stays until the garbage is collected.
        request.held, request.body = 0, b""

    def check(self, now: float) -> None:
        """See to the deadlines of all connections, and bring the date up to date."""
        self.always = ((b"date", formatdate(usegmt=True).encode()),)
        for connection in list(self.connections):
            connection.check(now)
