"""Pixels of resized images, by hash: the same under every version of Pillow."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnkit.images import Preprocessing, prepare
from cnnkit.resampling import resized

TABLE = Path(__file__).parent / "data" / "resampled_pixels.json"
SIZES = [(320, 240), (61, 200), (28, 40), (17, 13), (500, 100), (40, 28)]
RESAMPLING = {name: Image.Resampling[name.upper()] for name in ("nearest", "bilinear", "bicubic", "lanczos", "box")}


def noise(width: int, height: int) -> Image.Image:
    """Return RGB noise that depends on no random generator."""
    numbers = np.arange(height * width * 3, dtype=np.uint64) * np.uint64(2654435761)
    return Image.fromarray((numbers >> np.uint64(9)).astype(np.uint8).reshape(height, width, 3))


def found(size: tuple[int, int]) -> dict[str, str]:
    hashes = {}
    for fit, crop in (("stretch", 1.0), ("contain", 1.0), ("cover", 1.0), ("cover", 0.875)):
        for way in RESAMPLING:
            wanted = Preprocessing(3, 24, 40, (0.0,) * 3, (1.0,) * 3, fit, crop=crop, interpolation=way)  # type: ignore[arg-type]
            pixels = prepare(noise(*size), wanted).pixels
            hashes[f"{size[0]}×{size[1]} {fit} {crop:g} {way}"] = hashlib.sha256(pixels.tobytes()).hexdigest()[:16]
    for way in RESAMPLING:
        square = Preprocessing(3, 32, 32, (0.0,) * 3, (1.0,) * 3, "cover", interpolation=way, resize=37)  # type: ignore[arg-type]
        pixels = prepare(noise(*size), square).pixels
        hashes[f"{size[0]}×{size[1]} cover 37 {way}"] = hashlib.sha256(pixels.tobytes()).hexdigest()[:16]
    drawing = noise(*size).convert("L")
    drawn = prepare(drawing, Preprocessing(1, 28, 28, (0.0,), (1.0,), "mnist-box", "light-on-dark")).pixels
    hashes[f"{size[0]}×{size[1]} mnist-box"] = hashlib.sha256(drawn.tobytes()).hexdigest()[:16]
    return hashes


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pixels_do_not_depend_on_the_version_of_pillow(size: tuple[int, int]) -> None:
    known = json.loads(TABLE.read_text("utf-8")) if TABLE.exists() else {}
    hashes = found(size)
    if os.environ.get("CNNKIT_UPDATE_GOLDEN"):
        TABLE.write_text(json.dumps(known | hashes, indent=0, ensure_ascii=False) + "\n", "utf-8")
    else:
        assert hashes == {name: known[name] for name in hashes}


@pytest.mark.parametrize("way", RESAMPLING.values(), ids=RESAMPLING)
@pytest.mark.parametrize("mode", ["L", "RGB", "F"])
def test_one_direction_is_resized_as_pillow_does(mode: str, way: Image.Resampling) -> None:
    image = noise(61, 50).convert("L" if mode == "F" else mode).convert(mode)
    for size, box in (((30, 50), None), ((61, 70), None), ((20, 50), (3.5, 0, 40.25, 50)), ((61, 9), (0, 1.5, 61, 30))):
        assert (np.asarray(resized(image, size, way, box)) == np.asarray(image.resize(size, way, box=box))).all()


@pytest.mark.parametrize("way", RESAMPLING.values(), ids=RESAMPLING)
def test_two_directions_are_within_the_rounding_of_pillow(way: Image.Resampling) -> None:
    image = noise(61, 50)
    box = (3.5, 2.25, 57.0, 44.0)
    there, expected = (
        np.asarray(each, int) for each in (resized(image, (24, 40), way, box), image.resize((24, 40), way, box=box))
    )
    assert np.abs(there - expected).max() <= 2


def test_an_image_of_the_right_size_stays_as_it_is() -> None:
    image = noise(20, 10)
    assert resized(image, (20, 10), Image.Resampling.LANCZOS) is image
