"""What a client is told when a request cannot be served, in one form whatever went wrong."""

from pydantic_core import to_json

from cnnkit.errors import CnnkitError, ImageError, ImageFormatError, ImageTooLargeError
from cnnkit.words import counted

Headers = tuple[tuple[bytes, bytes], ...]

RETRY = ((b"retry-after", b"1"),)
CLOSE = ((b"connection", b"close"),)


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

    def body(self, request_id: str, *, flat: bool = False) -> bytes:
        """Return the JSON body; flat is the Open Inference Protocol's form, whose `error` is the sentence."""
        said = {"code": self.code, "request_id": request_id}
        return to_json({"error": self.message, **said} if flat else {"error": {"message": self.message, **said}})


def busy(code: str, message: str, headers: Headers = ()) -> Problem:
    """Return a refusal that the client may try again."""
    return Problem(503, code, message, RETRY + headers)


def late(seconds: float) -> Problem:
    """Return the refusal of a request that has waited for so long."""
    return busy("deadline", f"no answer within {counted(seconds, 'second')}: the server has too much to do. Try again.")


def problem_of(error: Exception) -> Problem:
    """Return what to tell a client of an error in serving its request."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ImageTooLargeError):
        return Problem(413, error.code, str(error))
    if isinstance(error, ImageFormatError):
        return Problem(415, error.code, f"{error} Send the file as it is, as curl --data-binary @image.png does.")
    if isinstance(error, ImageError):
        return Problem(422, error.code, str(error))
    if isinstance(error, CnnkitError):
        return busy(error.code, str(error))
    return busy("internal", f"cnnkit broke: {type(error).__name__}. The server's log has the request's id and more.")
