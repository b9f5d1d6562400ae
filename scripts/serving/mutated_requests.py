"""Requests made wrong in many ways, each from a seed and a number, so that any can be had again."""

import base64
import copy
import gzip
import json
from collections.abc import Callable

from serving.mutated_images import BYTEWISE, Dice, cut, drop, flip, repeat
from serving.servers import digit

CHUNKED = (b"Transfer-Encoding", b"chunked")


class Parts:
    """A request in its parts, which mutations change; `raw` puts them together."""

    def __init__(self, method: str, path: str, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> None:
        self.method, self.path, self.version = method.encode(), path.encode(), b"HTTP/1.1"
        self.headers, self.body = [(b"Host", b"127.0.0.1"), *headers], body
        self.chunked = CHUNKED in headers
        if method == "POST" and not self.chunked:
            self.headers.append((b"Content-Length", str(len(body)).encode()))

    def raw(self) -> bytes:
        """Return the bytes of the request."""
        lines = [b" ".join((self.method, self.path, self.version)), *(b": ".join(header) for header in self.headers)]
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(self.body), self.body) if self.chunked else self.body
        return b"\r\n".join((*lines, b"", b"")) + body


def infer_json(dice: Dice) -> dict[str, object]:
    """Return an inference request of the Open Inference Protocol as JSON."""
    data = [dice.randrange(256) for _ in range(784)]
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 28, 28, 1], "data": data}
    outputs = [{"name": "logits", "parameters": {"classification": 3}}, {"name": "probabilities"}]
    return {"id": "soak", "inputs": [tensor], "outputs": outputs[: dice.randrange(3)]}


def infer_binary(dice: Dice) -> tuple[bytes, bytes]:
    """Return the JSON and the binary part of an inference request."""
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 28, 28, 1], "parameters": {"binary_data_size": 784}}
    wanted = [{"name": "probabilities", "parameters": {"binary_data": True}}]
    return json.dumps({"inputs": [tensor], "outputs": wanted}).encode(), dice.randbytes(784)


GETS = (
    "/", "/models", "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/lenet", "/v2/models/lenet/ready",
    "/v2/models/lenet/config", "/v2/models/lenet/stats", "/v2/models/lenet/versions/1", "/metrics", "/openapi.json",
    "/docs", "/nothing",
)  # fmt: skip
JSON, PNG = (b"Content-Type", b"application/json"), (b"Content-Type", b"image/png")
INFER = "/v2/models/lenet/infer"


def whole_request(dice: Dice) -> Parts:
    """Return a request as it should be."""
    kind = dice.randrange(9)
    if kind <= 1:
        return Parts("GET", dice.choice(GETS), [])
    if kind == 2:
        return Parts("POST", dice.choice(("/v2/repository/index", "/admin/reload")), [JSON], b"{}")
    if kind == 3:
        return Parts("POST", "/predict/lenet?top=3&show=input,features", [PNG], digit())
    if kind == 4:
        head, tail = infer_binary(dice)
        return Parts("POST", INFER, [(b"Inference-Header-Content-Length", str(len(head)).encode())], head + tail)
    if kind == 5:
        packed = gzip.compress(json.dumps(infer_json(dice)).encode(), mtime=0)
        return Parts("POST", INFER, [JSON, (b"Content-Encoding", b"gzip")], packed)
    if kind == 6:
        return Parts("POST", "/predict/lenet", [PNG, CHUNKED], digit())
    if kind == 7:
        return Parts("POST", "/predict/lenet", [PNG, (b"X-Request-Id", b"soak"), (b"Expect", b"100-continue")], digit())
    return Parts("POST", INFER, [JSON], json.dumps(infer_json(dice)).encode())


METHODS = (
    b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT", b"PRI", b"BREW", b"get",
    b"",
)  # fmt: skip
PIECES = (
    b"..", b"//", b"%2e%2e/", b"%00", b"%ff%fe", b"%", b"%zz", b"?top=0", b"?top=-1", b"?top=99999999999999999999",
    b"?show=everything", b"?top=1&top=2", b"?top=%31", b"#x", b"a" * 3000, "é".encode(), b"\\", b";", b"*",
)  # fmt: skip
NUMBERS = (
    b"0", b"1", b"-1", b"+5", b"0x10", b"1e3", b"5 5", b"99999999999999999999999", b"4294967296",
    b"18446744073709551616", b"", b" ", b"5,5", b"\xb2", b"17000000",
)  # fmt: skip
HEADERS = (
    (b"Content-Type", b"text/html"), (b"Content-Type", b"\xff\xfe"),
    (b"Content-Type", b"application/json; charset=utf-7"), (b"Content-Encoding", b"gzip"),
    (b"Content-Encoding", b"deflate"), (b"Content-Encoding", b"br"), (b"Content-Encoding", b"gzip, gzip"),
    CHUNKED, (b"Transfer-Encoding", b"gzip, chunked"),
    (b"Transfer-Encoding", b"identity"), (b"Connection", b"close"), (b"Connection", b"Upgrade"),
    (b"Upgrade", b"websocket"), (b"Upgrade", b"h2c"), (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"Sec-WebSocket-Version", b"13"), (b"Expect", b"100-continue"), (b"Expect", b"nothing"),
    (b"Accept-Encoding", b"gzip;q=nan"), (b"Accept-Encoding", b"gzip"), (b"Host", b"evil.example"),
    (b"Range", b"bytes=5-2"), (b"If-None-Match", b"*"), (b"X-Request-Id", b"\x01\xff\x7f"),
    (b"X-Request-Id", b"r" * 5000), (b"X-Long", b"l" * 70_000), (b"", b"empty"), (b"Bad Name", b"1"),
    (b"X-Fold", b"a\r\n b"), (b"traceparent", b"00-zz-zz-01"), (b"Content-Length", b"5"),
)  # fmt: skip
VALUES: tuple[object, ...] = (
    None, True, -1, 0, 1.5, 10**30, 1e308, "", "image", "\ud800", "a" * 5000, [], {}, [[]], [[1], [2, 3]],
    {"a": {"b": []}}, [1, 28, 28], [1, 28, 28, 2**62], [-1, 28, 28, 1], [0, 28, 28, 1], "UINT8", "BYTES", "FP16",
    "FP32", [None] * 784, [256] * 784, ["x"] * 784, [1e400], float("nan"),
)  # fmt: skip


def _change_method(parts: Parts, dice: Dice) -> None:
    parts.method = dice.choice(METHODS) if dice.random() < 0.8 else flip(parts.method, dice)


def _change_path(parts: Parts, dice: Dice) -> None:
    if dice.random() < 0.6:
        place = dice.randrange(len(parts.path) + 1)
        parts.path = parts.path[:place] + dice.choice(PIECES) + parts.path[place:]
    else:
        parts.path = dice.choice((flip, cut, drop, repeat))(parts.path, dice)


def _change_version(parts: Parts, dice: Dice) -> None:
    parts.version = dice.choice(
        (b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/9.9", b"HTTP/1.1x", b"http/1.1", b"", b"ICY")
    )


def _change_header(parts: Parts, dice: Dice) -> None:
    if not parts.headers:
        return
    place = dice.randrange(len(parts.headers))
    name, value = parts.headers[place]
    match dice.randrange(5):
        case 0:
            del parts.headers[place]
        case 1:
            parts.headers.append((name, value))
        case 2:
            parts.headers[place] = (flip(name, dice), value)
        case 3:
            parts.headers[place] = (name, dice.choice((flip, drop, repeat))(value, dice))
        case _:
            parts.headers[place] = (name, dice.choice(NUMBERS))


def _add_headers(parts: Parts, dice: Dice) -> None:
    for _ in range(dice.choice((1, 1, 2, 200))):
        parts.headers.append(dice.choice(HEADERS))


def _change_length(parts: Parts, dice: Dice) -> None:
    for place, (name, value) in enumerate(parts.headers):
        if name.lower().endswith(b"content-length") and dice.random() < 0.7:
            near = str(int(value) + dice.choice((-100, -1, 1, 100))).encode() if value.isdigit() else value
            parts.headers[place] = (name, dice.choice((*NUMBERS, near, near, near)))


def _change_body(parts: Parts, dice: Dice) -> None:
    before = len(parts.body)
    parts.body = dice.choice(BYTEWISE)(parts.body, dice)
    if dice.random() < 0.9:
        _set_length(parts, before)


def _set_length(parts: Parts, before: int) -> None:
    said, right = str(before).encode(), str(len(parts.body)).encode()
    parts.headers = [
        (name, right if name == b"Content-Length" and value == said else value) for name, value in parts.headers
    ]


def _change_json(parts: Parts, dice: Dice) -> None:
    before = len(parts.body)
    document = infer_json(dice)
    for _ in range(dice.choice((1, 1, 2, 3))):
        _change_node(document, dice)
    text = json.dumps(document)
    if dice.random() < 0.1:
        text = dice.choice(
            ('{"a":' * 20_000, "[" * 100_000, text[:-1] + ',"id":"twice"}', "\ufeff" + text, f"[{text}]", "null", '"x"')
        )
    packed = text.encode("utf-8", "surrogatepass")
    parts.method, parts.path, parts.body = b"POST", INFER.encode(), packed
    if dice.random() < 0.2:
        parts.body = base64.b64encode(packed)
    _set_length(parts, before)


def _change_binary(parts: Parts, dice: Dice) -> None:
    head, tail = infer_binary(dice)
    document = json.loads(head)
    for _ in range(dice.randrange(3)):
        _change_node(document, dice)
    head = json.dumps(document).encode("utf-8", "surrogatepass")
    tail = dice.choice((tail, tail, tail[: dice.randrange(len(tail))], tail * 2))
    said = str(len(head)).encode() if dice.random() < 0.8 else dice.choice(NUMBERS)
    changed = Parts("POST", INFER, [(b"Inference-Header-Content-Length", said)], head + tail)
    parts.__dict__.update(changed.__dict__)


def _change_node(node: object, dice: Dice) -> None:
    places: list[tuple[dict[str, object] | list[object], str | int]] = []
    queue = [node]
    while queue:
        holder = queue.pop()
        items = holder.items() if isinstance(holder, dict) else enumerate(holder) if isinstance(holder, list) else ()
        for key, value in items:
            # Of the pixels, a few are enough.
            if isinstance(holder, dict | list) and (len(holder) < 10 or dice.random() < 0.01):
                places.append((holder, key))
                queue.append(value)
    if places:
        holder, key = dice.choice(places)
        if dice.random() < 0.2 and isinstance(holder, dict):
            del holder[str(key)]
        elif dice.random() < 0.2 and isinstance(holder, dict):
            holder[f"{key}x"] = holder.pop(str(key))
        else:
            holder[key] = copy.deepcopy(dice.choice(VALUES))  # type: ignore[index]


CHANGES: dict[Callable[[Parts, Dice], None], float] = {
    _change_method: 1, _change_path: 2, _change_version: 0.3, _change_header: 1, _add_headers: 1.5, _change_length: 0.7,
    _change_body: 3, _change_json: 4, _change_binary: 2,
}  # fmt: skip
"""What is changed, and how often: what the first parser refuses tests nothing behind it."""


def request(seed: int, index: int) -> bytes:
    """Return a mutated request, or what is left of one."""
    dice = Dice(f"request {seed} {index}")
    parts = whole_request(dice)
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        dice.choices(tuple(CHANGES), tuple(CHANGES.values()))[0](parts, dice)
    data, last = parts.raw(), dice.random()
    if last < 0.03:
        return cut(data, dice)
    if last < 0.06:
        return flip(data, dice)
    if last < 0.1:
        return data + whole_request(dice).raw()
    return data
