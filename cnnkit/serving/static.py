"""The files of the page, which need nothing from elsewhere."""

from functools import cache
from importlib.resources import files
from pathlib import PurePath

from cnnkit.serving.http.errors import Headers, HttpError
from cnnkit.serving.http.request import Request
from cnnkit.serving.http.response import Response
from cnnkit.serving.services import Services

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
    # Asked for again each time: another version of the server may have another page.
    (b"cache-control", b"no-cache"),
)


_NAMES = {"": "index.html", "docs": "docs.html"}


@cache
def _files() -> dict[str, Response]:
    """Return what is sent for each file by its name."""
    found = {}
    for entry in (files("cnnkit.serving") / "page").iterdir():
        if kind := _TYPES.get(PurePath(entry.name).suffix):
            found[entry.name] = Response(entry.read_bytes(), kind, headers=_ALWAYS)
    return found


async def page(_: Services, request: Request) -> Response:
    """Return a file of the page, or raise HttpError 404."""
    name = request.segments[0]
    try:
        return _files()[_NAMES.get(name, name)]
    except KeyError:
        raise HttpError(404, "not-found", f"there is nothing at /{name[:80]}. See / and /docs.") from None
