"""Measure what decoding costs: floods, ordinary files at the limit, and one digit.

    python scripts/bench_images.py [--photos DIR] [--rounds N]

- The worst bodies of 16 MiB (`scripts/floods.py`): processor time of the process that asks, total, the look.
- Files of each format that are just still ordinary: what they are said to take at most, and what they take.
- One PNG of a digit to a network's input, in turn with Pillow's own decoding of it: medians.
- Photos: how many are ordinary, and the look at each.
"""

import argparse
import io
import math
import statistics
import struct
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import floods
import numpy as np
from PIL import Image, ImageFile

from cnnkit import pictures
from cnnkit.decoding.bounds import ORDINARY_SECONDS
from cnnkit.decoding.cost import work
from cnnkit.decoding.file import read
from cnnkit.errors import ImageError
from cnnkit.images import Preprocessing, prepare, prepare_all
from cnnkit.pictures import FORMATS, MAX_PIXELS

BOX = Preprocessing(1, 28, 28, (0.0,), (1.0,), "mnist-box", "light-on-dark")
FORMS = (
    BOX,
    Preprocessing(3, 224, 224, (0.0,) * 3, (1.0,) * 3, "contain", "light-on-dark"),
    Preprocessing(3, 512, 512, (0.0,) * 3, (1.0,) * 3, "cover", "light-on-dark", interpolation="lanczos"),
)
RNG = np.random.default_rng(0)
DRAWING = Path(__file__).parents[1] / "tests" / "data" / "drawings" / "7" / "000.png"
Maker = Callable[[int], bytes]


def _noise(side: int, channels: int = 3) -> Image.Image:
    return Image.fromarray(RNG.integers(0, 256, (side, side, channels), np.uint8))


def _flat(side: int) -> Image.Image:
    return Image.new("RGB", (side, side), (200, 30, 90))


def _saved(kind: str, make: Callable[[int], Image.Image], side: int, **options: object) -> bytes:
    file = io.BytesIO()
    before, ImageFile.MAXBLOCK = ImageFile.MAXBLOCK, 2**27  # of noise, a JPEG is larger than Pillow expects
    make(side).save(file, kind, **options)
    ImageFile.MAXBLOCK = before
    return file.getvalue()


def _png(depth: int, colour: int, channels: int, side: int) -> bytes:
    """Return a black PNG whose rows are all predicted by Paeth's filter, the slowest."""
    rows = (b"\4" + bytes(side * channels * depth // 8)) * side
    chunks = (b"IHDR", struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0)), (b"IDAT", zlib.compress(rows, 9))
    packed = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed) + bytes(4) + b"IEND\xaeB`\x82"


def _deep(side: int) -> Image.Image:
    return Image.fromarray(RNG.integers(0, 65536, (side, side)).astype(np.uint16))


def _floats(side: int) -> Image.Image:
    return Image.fromarray(RNG.random((side, side), np.float32))


AT_THE_LIMIT: dict[str, tuple[str, Maker]] = {
    "PNG, RGBA": ("PNG", partial(_png, 8, 6, 4)),
    "PNG, RGBA of 16 bits": ("PNG", partial(_png, 16, 6, 4)),
    "PNG, grey of 16 bits": ("PNG", partial(_png, 16, 0, 1)),
    "PNG, noise": ("PNG", partial(_saved, "PNG", _noise)),
    "PNG, blocks that hold nothing": ("PNG", lambda side: floods.png_of_empty_blocks(side * side)),
    "JPEG, 4:2:0": ("JPEG", partial(_saved, "JPEG", _noise)),
    "JPEG, flat": ("JPEG", partial(_saved, "JPEG", _flat)),
    "JPEG, 4:4:4, best": ("JPEG", partial(_saved, "JPEG", _noise, quality=100, subsampling=0)),
    "JPEG, progressive": ("JPEG", partial(_saved, "JPEG", _noise, quality=100, subsampling=0, progressive=True)),
    "JPEG, CMYK": ("JPEG", partial(_saved, "JPEG", lambda side: _noise(side).convert("CMYK"), quality=100)),
    "WebP": ("WEBP", partial(_saved, "WEBP", partial(_noise, channels=4), quality=100, method=0)),
    "WebP without loss": ("WEBP", partial(_saved, "WEBP", _flat, lossless=True)),
    "WebP, codes": ("WEBP", floods.webp_of_codes),
    "GIF": ("GIF", partial(_saved, "GIF", lambda side: Image.new("P", (side, side)), transparency=0)),
    "BMP": ("BMP", partial(_saved, "BMP", _noise)),
    "PPM": ("PPM", partial(_saved, "PPM", _noise)),
    "PGM of 16 bits": ("PPM", partial(_saved, "PPM", _deep)),
    "PFM": ("PPM", partial(_saved, "PPM", _floats)),
    "TIFF by LZW": ("TIFF", partial(_saved, "TIFF", partial(_noise, channels=4), compression="tiff_lzw")),
    "TIFF by Deflate": ("TIFF", partial(_saved, "TIFF", _flat, compression="tiff_adobe_deflate")),
    "TIFF of floats": ("TIFF", partial(_saved, "TIFF", _floats)),
}


def look(data: bytes, kind: str) -> float:
    """Return the microseconds that the look at a file takes, the best of several."""
    taken = []
    for _ in range(7):
        started = time.perf_counter()
        work(data, kind)
        taken.append(time.perf_counter() - started)
    return min(taken) * 1e6


def largest(kind: str, make: Maker) -> bytes:
    """Return about the largest file of its kind that is still ordinary."""
    side = 256
    for _ in range(12):
        seconds = work(make(side), kind).seconds
        if 0.9 * ORDINARY_SECONDS < seconds <= ORDINARY_SECONDS:
            break
        side = min(7000, max(16, int(side * math.sqrt(0.96 * ORDINARY_SECONDS / seconds))))
    return make(side)


def measure_floods() -> None:
    """Print what the worst bodies take."""
    prepare_all([floods.body("PNG, tEXt", 100_000)], BOX)  # starts the process with limits
    print(f"{'16 MiB of':20} {'here, ms':>9} {'in all, s':>9} {'look, µs':>9}")
    for name in floods.B1:
        data = floods.body(name)
        kind = read(data, FORMATS, MAX_PIXELS).kind
        started, used = time.perf_counter(), time.process_time()
        result = prepare_all([data], BOX)[0]
        here, total = time.process_time() - used, time.perf_counter() - started
        said = str(result)[:50] if isinstance(result, ImageError) else "an image"
        print(f"{name:20} {here * 1e3:9.1f} {total:9.2f} {look(data, kind):9.0f}  {said}", flush=True)


def measure_limits() -> None:
    """Print what files take that are just still ordinary."""
    print(f"\n{'just ordinary':30} {'MB':>7} {'at most, s':>10} {'takes, s':>9} {'look, µs':>9}")
    for name, (kind, make) in AT_THE_LIMIT.items():
        data, worst = largest(kind, make), 0.0
        for form in FORMS:
            taken = []
            for _ in range(3):
                used = time.process_time()
                prepare_all([data], form, here=math.inf)
                taken.append(time.process_time() - used)
            worst = max(worst, min(taken))
        bound = work(data, kind).seconds
        print(f"{name:30} {len(data) / 1e6:7.2f} {bound:10.3f} {worst:9.3f} {look(data, kind):9.0f}", flush=True)


def measure_digit(rounds: int) -> None:
    """Print the medians for one digit, decoded only and prepared, in turn."""
    data = pictures.encoded(prepare(DRAWING, BOX).pixels)  # as in MNIST: in its box already
    bare, whole = [], []
    for _ in range(rounds):
        started = time.perf_counter()
        np.asarray(Image.open(io.BytesIO(data), formats=("PNG",)))
        between = time.perf_counter()
        prepare_all([data], BOX)
        whole.append(time.perf_counter() - between)
        bare.append(between - started)
    middle = statistics.median
    print(f"\none PNG of a digit: Pillow {middle(bare) * 1e6:.0f} µs, to the input {middle(whole) * 1e6:.0f} µs")


def measure_photos(folder: Path) -> None:
    """Print how many files of a folder are ordinary."""
    files = [read(path, FORMATS, MAX_PIXELS) for path in sorted(folder.rglob("*")) if pictures.is_image_file(path)]
    ordinary = sum(file.takes(ORDINARY_SECONDS) for file in files)
    taken = statistics.median(look(file.data, file.kind) for file in files)
    print(f"\n{folder.name}: {ordinary} of {len(files)} files are ordinary; the look takes {taken:.0f} µs (median)")


def main() -> None:
    """Measure all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, nargs="*", default=[], help="folders of ordinary images")
    parser.add_argument("--rounds", type=int, default=3000)
    given = parser.parse_args()
    measure_digit(given.rounds)
    measure_floods()
    measure_limits()
    for folder in given.photos:
        measure_photos(folder)


if __name__ == "__main__":
    main()
