"""What a client is told when a request cannot be served."""

Headers = tuple[tuple[bytes, bytes], ...]


class Problem(Exception):  # noqa: N818 - it is an answer as well
    """A request that is answered with an error.

    Attributes:
        status: of HTTP.
        code: stable, for programs.
        message: a sentence for people: what was expected, what came, what to do.
        headers: to send along, such as `Retry-After`.
    """

    def __init__(self, status: int, code: str, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers
