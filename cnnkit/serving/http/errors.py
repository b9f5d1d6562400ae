"""Requests that cannot be served, in one form whatever went wrong."""

import errno

from cnnkit.errors import CnnkitError, ImageError, ImageFormatError, ImageTooLargeError
from cnnkit.words import counted

Headers = tuple[tuple[bytes, bytes], ...]

RETRY = ((b"retry-after", b"1"),)
CLOSE = ((b"connection", b"close"),)

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}


class HttpError(Exception):
    """A request that is answered with an error.

    Attributes:
        status: of HTTP.
        code: stable, for programs.
        message: a sentence for people: what was expected, what was found, what to do.
        headers: to send along, such as `Retry-After`.
    """

    def __init__(self, status: int, code: str, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers


def busy(code: str, message: str, headers: Headers = ()) -> HttpError:
    """Return a refusal because of overload or a stop: the client may try again."""
    return HttpError(503, code, message, RETRY + headers)


def late(seconds: float) -> HttpError:
    """Return the refusal of a request that has waited for so long."""
    said = f"no answer within {seconds:.6g} s: there is too much to do, or this request takes longer. Try again later."
    return busy("deadline", said)


def too_large(limit: int) -> HttpError:
    """Return the refusal of a body over its limit in bytes."""
    message = f"the body is larger than {counted(limit, 'byte')}. Send less at a time."
    return HttpError(413, "body-too-large", message, CLOSE)


def error_of(error: Exception) -> HttpError:
    """Return what to tell a client of an error in serving its request."""
    if isinstance(error, HttpError):
        return error
    if isinstance(error, ImageTooLargeError):
        return HttpError(413, error.code, str(error))
    if isinstance(error, ImageFormatError):
        hint = "" if error.kind else " Send the file as it is, as curl --data-binary @image.png does."
        return HttpError(415, error.code, f"{error}{hint}")
    if isinstance(error, ImageError):
        return HttpError(422, error.code, str(error))
    if _is_exhausted(error):
        return busy("memory", "The system has no memory, files or processes left for this request. Try again.")
    if isinstance(error, CnnkitError):
        return HttpError(500, error.code, str(error))
    said = f"internal error: {type(error).__name__}. The server's log has more under this request's id."
    return HttpError(500, "internal", said)


def _is_exhausted(error: BaseException | None) -> bool:
    """Whether the system has run out of something: files, processes or memory."""
    if isinstance(error, OSError) and error.errno in _EXHAUSTED:
        return True
    return error is not None and _is_exhausted(error.__cause__)
