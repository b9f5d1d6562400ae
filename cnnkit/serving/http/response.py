"""What a handler returns: a whole response."""

from dataclasses import dataclass
from http import HTTPStatus

from pydantic_core import to_json

from cnnkit.serving.http.errors import Headers, HttpError

JSON = b"application/json"

_STATUS_LINES = {each.value: b"HTTP/1.1 %d %s\r\n" % (each, each.phrase.encode()) for each in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Response:
    """A response to a request.

    Attributes:
        body: all of it.
        content_type: of the body.
        status: of HTTP.
        headers: beside the content's type and length.
        code: of the error, empty where there is none.
        shed: the request was refused because of overload: its client is read again only after a moment.
    """

    body: bytes
    content_type: bytes = JSON
    status: int = 200
    headers: Headers = ()
    code: str = ""
    shed: bool = False

    def encoded(self, more: Headers, *, body: bool = True) -> bytes:
        """Return the bytes to send, with more headers; without the body, what HEAD is answered with."""
        lines = [_STATUS_LINES[self.status]]
        if self.status not in {204, 304}:  # which have no content
            lines.append(b"content-type: %s\r\ncontent-length: %d\r\n" % (self.content_type, len(self.body)))
        lines += [b"%s: %s\r\n" % header for header in (*self.headers, *more)]
        return b"".join((*lines, b"\r\n", self.body if body else b""))


def json_response(content: object) -> Response:
    """Return a response with a JSON document."""
    return Response(to_json(content))


def error_response(error: HttpError, request_id: str, *, flat: bool = False) -> Response:
    """Return the response that tells a client of an error; flat is the Open Inference Protocol's form."""
    said = {"code": error.code, "request_id": request_id}
    body = to_json({"error": error.message, **said} if flat else {"error": {"message": error.message, **said}})
    shed = error.code in {"queue-full", "decoders-full"}
    return Response(body, JSON, error.status, error.headers, error.code, shed)
