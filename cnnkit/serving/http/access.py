"""Who may ask: the host that is asked for, API keys, other origins' pages, and programs on this machine."""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Collection, Iterable
from functools import lru_cache

from cnnkit.serving.http.errors import CLOSE, Headers, HttpError
from cnnkit.serving.http.request import Request
from cnnkit.serving.http.response import Response

_AUTHORITY = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+;=%-]+)(?::\d{0,5})?")
_FORWARDED = (b"x-forwarded", b"x-real-ip", b"forwarded", b"via", b"origin", b"sec-fetch-", b"cf-connecting-ip")
"""How the headers begin that proxies and browsers send and programs do not."""
_EXPOSED = b"X-Request-Id, Retry-After, Inference-Header-Content-Length"
_ALLOWED = b"Authorization, X-API-Key, Content-Type, Content-Encoding, X-Request-Id, Inference-Header-Content-Length"
_PREFLIGHT_SECONDS = b"600"


def require_host(request: Request, *, loopback: bool) -> None:
    """Make sure that a request names one host; on a loopback socket, one that only this machine can mean.

    A web page whose own name was pointed at 127.0.0.1 (DNS rebinding) sends that name, which has a dot.

    Raises:
        HttpError: 400, the host is absent, given twice or malformed (RFC 9112, section 3.2); 421, another host.
    """
    if request.version == "1.0" and not request.authority:
        return
    name = _host(request.authority)
    # RFC 9112 requires the header beside an absolute form, too, whose host is the one that counts.
    field = request.headers.get(b"host", request.authority if request.version == "1.0" else b"")
    if not name or not _host(field):
        raise HttpError(
            400, "http", "HTTP/1.1 requires exactly one Host header, with a host and perhaps a port.", CLOSE
        )
    if not loopback:
        return
    if not _may_be_this_machine(name):
        said = f"this server listens on the loopback address only; {name[:80]} is another host. Ask for localhost."
        raise HttpError(421, "host", said, CLOSE)


@lru_cache(64)
def _host(authority: bytes) -> str:
    """Return the name or address without the port; empty where there is none, or it is malformed."""
    match = _AUTHORITY.fullmatch(authority)
    return match[1].decode().lower().strip("[]").rstrip(".") if match else ""


@lru_cache(64)
def _may_be_this_machine(name: str) -> bool:
    """Whether a name cannot be that of a web page: it has no dot, or is an address."""
    if "." not in name or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(address: str) -> bool:
    """Whether an IP address is this machine's own, also in IPv6's form of IPv4."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def digests(keys: Iterable[str]) -> tuple[bytes, ...]:
    """Return what API keys are compared by: of one length, whatever theirs is."""
    return tuple(hashlib.sha256(key.encode()).digest() for key in keys)


def require_key(request: Request, known: Collection[bytes]) -> None:
    """Make sure that a request has one of the API keys, in a time that tells nothing of them; else HttpError 401."""
    if not known:
        return
    scheme, _, token = request.headers.get(b"authorization", b"").partition(b" ")
    key = token.strip() if scheme.lower() == b"bearer" else request.headers.get(b"x-api-key", b"")
    given = hashlib.sha256(key).digest()
    if not sum(hmac.compare_digest(given, each) for each in known):  # all of them, whichever it is
        said = "this server requires an API key: send Authorization: Bearer KEY, or X-API-Key: KEY."
        raise HttpError(401, "api-key", said, ((b"www-authenticate", b'Bearer realm="cnnkit"'),))


def cors_headers(request: Request, origins: Collection[str]) -> Headers:
    """Return the headers by which a browser lets a page of another origin read the response."""
    if not origins:
        return ()
    vary: Headers = ((b"vary", b"Origin"),)
    origin = request.headers.get(b"origin", b"")
    if origin and ("*" in origins or origin.decode("latin-1") in origins):
        return (*vary, (b"access-control-allow-origin", origin), (b"access-control-expose-headers", _EXPOSED))
    return vary


def preflight(request: Request, origins: Collection[str], methods: bytes) -> Response:
    """Answer OPTIONS: which methods a path takes, and for an allowed origin what its pages may send."""
    headers: Headers = ((b"allow", methods),)
    if len(cors_headers(request, origins)) > 1:
        headers += (
            (b"access-control-allow-methods", methods),
            (b"access-control-allow-headers", _ALLOWED),
            (b"access-control-max-age", _PREFLIGHT_SECONDS),
        )
    return Response(b"", status=204, headers=headers)


def require_local_program(request: Request) -> None:
    """Make sure that a request comes from a program on this machine: through no proxy, from no page in a browser.

    Raises:
        HttpError: 403; it does not.
    """
    # An absent header counts as local: HTTP/1.0 programs need not send one.
    name = _host(request.authority)
    local = not request.authority or name == "localhost" or is_loopback(name)
    foreign = any(header.startswith(_FORWARDED) for header in request.headers)
    if foreign or not local or not is_loopback(request.client):
        raise HttpError(403, "admin", "only programs on the server's own machine may ask for that.")
