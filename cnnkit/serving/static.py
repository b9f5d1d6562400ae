"""The files of the page, which need nothing from elsewhere."""

from functools import cache
from importlib.resources import files

from cnnkit.files import sha256
from cnnkit.serving.http.errors import Headers, HttpError
from cnnkit.serving.http.response import Response

_TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
}
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ALWAYS: Headers = (
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    # Asked for again each time, and not sent again unless it changed.
    (b"cache-control", b"no-cache"),
)


@cache
def _files() -> dict[str, tuple[bytes, bytes, bytes]]:
    """Return content, type and tag of each file by its name."""
    found = {}
    for entry in (files("cnnkit.serving") / "page").iterdir():
        suffix = entry.name[entry.name.rfind(".") :]
        if suffix in _TYPES:
            content = entry.read_bytes()
            found[entry.name] = content, _TYPES[suffix], f'"{sha256(content)[:16]}"'.encode()
    return found


def page_file(name: str, seen: bytes = b"") -> Response:
    """Return a file of the page; `seen` has the tags of what the browser has, as `If-None-Match` says it.

    Raises:
        HttpError: 404; there is none of that name.
    """
    if name not in _files():
        raise HttpError(404, "not-found", f"there is nothing at /{name[:80]}. See / and /docs.")
    content, kind, tag = _files()[name]
    headers = (*_ALWAYS, (b"etag", tag))
    return Response(b"", kind, 304, headers) if tag in seen else Response(content, kind, headers=headers)
