"""What a handler returns: a whole answer."""

from dataclasses import dataclass

from cnnkit.serving.problems import Headers

JSON = b"application/json"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to a request.

    Attributes:
        body: all of it.
        content_type: of the body.
        status: of HTTP.
        headers: beside the content's type and length.
        model: that the request was for, empty where it was for none.
    """

    body: bytes
    content_type: bytes = JSON
    status: int = 200
    headers: Headers = ()
    model: str = ""
