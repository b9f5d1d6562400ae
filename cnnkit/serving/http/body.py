"""What a body holds: decompression, and the image in a form, in JSON, or as it is."""

import re
import zlib
from base64 import b64decode
from contextlib import suppress
from typing import Final

from pydantic_core import from_json

from cnnkit.serving.http.errors import CLOSE, HttpError, too_large
from cnnkit.serving.http.request import Request

# What zlib calls the window of each format; clients send deflate with and without zlib's own header.
_WINDOWS: Final = {b"gzip": (31,), b"x-gzip": (31,), b"deflate": (15, -15)}
_BOUNDARY = re.compile(rb'boundary=(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
_DISPOSITION = re.compile(rb"^content-disposition:.*?[;\s]name=.*", re.IGNORECASE | re.MULTILINE)
_FILE = re.compile(rb"[;\s]filename\*?=", re.IGNORECASE)
_PIECE = 2**16
"""Bytes of a stream that are decompressed, or come out of it, at a time."""
_MOST_PARTS = 32
_PARSED = 2**16
"""Bytes of JSON that are parsed whatever they hold: a list of empty lists takes twenty times its own memory."""
_EXPECTED = 'JSON must be {"image": "…"}, with the image file in base64.'
FORM = b"application/x-www-form-urlencoded"
"""What curl says of every body that it is not told the type of."""
MULTIPART, JSON = b"multipart/form-data", b"application/json"
_PLAIN = {b"", b"application/octet-stream", FORM}
SEND = "Send the bytes of a PNG, JPEG, WebP or BMP file, as curl --data-binary @image.png does, or a form, as curl -F"


def encoding_of(request: Request) -> bytes:
    """Return how a body is compressed, empty where it is not; or raise HttpError 415."""
    encoding = request.headers.get(b"content-encoding", b"").strip().lower()
    if encoding in {b"", b"identity"}:
        return b""
    if encoding not in _WINDOWS:
        shown = encoding[:40].decode("latin-1")
        raise HttpError(
            415, "content-encoding", f"Content-Encoding {shown!r} is not known; use gzip or deflate.", CLOSE
        )
    return encoding


def decompressed(body: bytes | bytearray, encoding: bytes, limit: int) -> bytes:
    """Return the content of a compressed body, or raise HttpError 413 or 400."""
    for window in _WINDOWS[encoding]:
        with suppress(zlib.error):
            return _stream_content(body, window, limit)
    raise HttpError(400, "content-encoding", f"the body is not one valid stream of {encoding.decode()}.")


def _stream_content(body: bytes | bytearray, window: int, limit: int) -> bytes:
    """Decompress piece by piece: in one go, zlib joins megabytes at the end, and no other thread runs meanwhile."""
    stream, used, pieces = zlib.decompressobj(window), 0, list[bytes]()
    room = limit
    while not stream.eof:
        given = body[used : used + _PIECE]
        piece = stream.decompress(given, _PIECE)
        if not given and not piece:
            raise zlib.error("the stream has no end")
        used += len(given) - len(stream.unconsumed_tail) - len(stream.unused_data)
        room -= len(piece)
        if room < 0:
            raise too_large(limit)
        pieces.append(piece)
    if used < len(body):
        raise zlib.error("something follows the stream")
    return b"".join(pieces)  # without the interpreter's lock where it is large


def require_image_type(request: Request) -> None:
    """Make sure that a body may hold an image; else HttpError 415."""
    kind = request.media_type
    if kind not in _PLAIN and kind not in {MULTIPART, JSON} and not kind.startswith(b"image/"):
        raise HttpError(
            415, "content-type", f"the body is {kind[:60].decode('latin-1')!r}. {SEND} file=@image.png does."
        )


def image_of(body: bytes, media_type: bytes, content_type: bytes) -> bytes:
    """Return the image file in a body.

    Args:
        body: after decompression.
        media_type: of the body.
        content_type: the same with its parameters.

    Raises:
        HttpError: 400; there is none, or more than one.
    """
    if media_type == MULTIPART:
        image = _from_form(body, content_type)
    elif media_type == JSON:
        image = _from_json(body)
    else:
        image = body
    if not image:
        raise HttpError(400, "empty-body", f"the image is empty. {SEND} file=@image.png does.")
    return image


def _from_form(body: bytes, content_type: bytes) -> bytes:
    """Return the only file of a form (RFC 7578); other fields are ignored beside it."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise HttpError(400, "form", "multipart/form-data needs its boundary in Content-Type; let the client set it.")
    mark = b"\r\n--" + (found[1] or found[2])
    _, *parts = (b"\r\n" + body).split(mark, _MOST_PARTS + 1)
    if len(parts) < 2 or not parts.pop().startswith(b"--"):
        said = f"the form has no complete part, or more than {_MOST_PARTS}; its boundary must end it."
        raise HttpError(400, "form", said)
    files: list[bytes] = []
    fields: list[bytes] = []
    for part in parts:
        head, blank, content = part.partition(b"\r\n\r\n")
        disposition = _DISPOSITION.search(head)
        if not blank or disposition is None:
            raise HttpError(400, "form", "a part of the form lacks its name, or the blank line before its content.")
        (files if _FILE.search(disposition[0]) else fields).append(content)
    chosen = files or fields
    if len(chosen) != 1:
        raise HttpError(400, "form", f"the form has {len(chosen)} files; send one, as curl -F file=@image.png does.")
    return chosen[0]


def _from_json(body: bytes) -> bytes:
    """Return the image of `{"image": BASE64}`; a data URI is taken as well."""
    # Neither base64 nor a data URI has these characters, so that there is nothing else in the document.
    if len(body) > _PARSED and (b"[" in body or body.count(b"{") != 1 or body.count(b'"') != 4):
        raise HttpError(400, "json", _EXPECTED)
    text = json_object(body, "image").get("image")
    if not isinstance(text, str):
        raise HttpError(400, "json", _EXPECTED)
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return b64decode(text.encode().translate(None, b" \t\r\n"), validate=True)
    except ValueError:
        raise HttpError(400, "json", "image is not base64, of which the letters are A–Z, a–z, 0–9, + and /.") from None


def json_object(body: bytes, field: str) -> dict[str, object]:
    """Return the JSON object of a body with one field, or none; or raise HttpError 400."""
    try:
        document = from_json(body or b"{}")
    except ValueError as error:
        raise HttpError(400, "json", f"the request is not JSON: {error}.") from None
    if not isinstance(document, dict) or document.keys() - {field}:
        raise HttpError(400, "json", f'expected a JSON object with at most "{field}".')
    return document
