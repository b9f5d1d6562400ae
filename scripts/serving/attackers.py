"""Attackers who send the worst bodies that are known, gzipped to 16–60 KB each, and a good client beside them.

The bodies are images whose decoding costs far more than their pixels: floods of empty chunks and markers, runs of fill
bytes, and run-length bitmaps that say nothing for megabytes.
"""

import gzip
import struct
import threading
import zlib
from collections import Counter
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from serving.clients import Client, LostError
from serving.dribblers import FACTOR_BAR, good_client
from serving.figures import Figure, Part
from serving.servers import cnnkit_command, digit, post, running

ATTACKERS = 4
_MOST = 16 * 2**20 - 64


def _chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _rle(depth: int, body: bytes) -> bytes:
    kind = 1 if depth == 8 else 2
    head = struct.pack("<IiiHHIIiiII", 40, 500, 500, 1, depth, kind, len(body), 0, 0, 256 if depth == 8 else 16, 0)
    start = 14 + 40 + 1024
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + head + bytes(1024) + body


def worst_bodies() -> dict[str, bytes]:
    """Return the twelve bodies by what is in them."""
    png, file = digit(), BytesIO()
    Image.new("L", (28, 28), 200).save(file, "JPEG")
    jpeg = file.getvalue()

    def markers(marker: bytes) -> bytes:
        return jpeg[:2] + marker * ((_MOST - len(jpeg)) // len(marker)) + jpeg[2:]

    return {
        "PNG, empty chunks": png[:33] + _chunk(b"abCd") * ((_MOST - len(png)) // 12) + png[33:],
        "PNG, empty IDATs": png[:-12] + _chunk(b"IDAT") * 1_300_000 + png[-12:],
        "PNG, tEXt": png[:33] + _chunk(b"tEXt", b"a\0") * 1_000_000 + png[33:],
        "JPEG, COM": markers(b"\xff\xfe\0\2"),
        "JPEG, APP5": markers(b"\xff\xe5\0\2"),
        "JPEG, DRI": markers(b"\xff\xdd\0\4\0\0"),
        "JPEG, FF": markers(b"\xff"),
        "JPEG, Exif": markers(b"\xff\xe1\0\x08Exif\0\0"),
        "JPEG, ICC": markers(b"\xff\xe2\0\x10ICC_PROFILE\0\1\1"),
        "BMP, empty deltas": _rle(8, b"\0\2\0\0" * (4 * 2**20 - 2000)),
        "BMP, line ends": _rle(8, b"\0\0" * (8 * 2**20 - 2000)),
        "BMP, runs of 4 bits": _rle(4, b"\xff\x12" * (8 * 2**20 - 2000)),
    }


def attackers(folder: Path, seconds: float) -> Part:
    """Let four attackers send the bodies in turn for so long; the good client asks alone before and after."""
    bodies = [gzip.compress(body, 6) for body in worst_bodies().values()]
    attacks = [post("/predict/digits", body, "image/png", "Content-Encoding: gzip") for body in bodies]
    request = post("/predict/digits", digit(), "image/png")
    statuses: Counter[str] = Counter()
    over = threading.Event()

    def attack(port: int, first: int) -> None:
        turn = first
        while not over.is_set():
            with Client(port, 60) as client:
                try:
                    statuses[str(client.ask(attacks[turn % len(attacks)]).status)] += 1
                except (OSError, LostError) as error:
                    statuses[type(error).__name__] += 1
            turn += 1

    with running("cnnkit", cnnkit_command("digits"), folder) as server:
        good_client(server.port, 1, request)
        before, problems = good_client(server.port, seconds / 2, request)
        threads = [threading.Thread(target=attack, args=(server.port, 3 * index)) for index in range(ATTACKERS)]
        for thread in threads:
            thread.start()
        beside, more = good_client(server.port, seconds, request)
        over.set()
        for thread in threads:
            thread.join()
        after, last = good_client(server.port, seconds / 2, request)
    alone, among = (float(np.percentile(values, 99)) * 1e3 for values in (before + after, beside))
    figures = [
        Figure(
            f"{ATTACKERS} attackers with the {len(bodies)} worst bodies, {seconds:.0f} s: a good client's p99",
            f"{among:.2f} ms, alone {alone:.2f} ms = {among / alone:.2f} ×",
            f"≤ {FACTOR_BAR:g} ×", among <= FACTOR_BAR * alone,
        ),
        Figure("… the attackers' answers", ", ".join(f"{what}: {many:,}" for what, many in sorted(statuses.items()))),
    ]  # fmt: skip
    details = {"good_p99_ms": among, "good_alone_p99_ms": alone, "statuses": dict(statuses)}
    return Part("attackers", figures, details, problems + more + last)
