"""What the images of a data set are before anything is done to them, as far as it decides a network's input."""

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cnnkit.files import JsonObject
from cnnkit.pictures import Pixels, header
from cnnkit.progress import LoadProgress

LARGEST_SIDE = 64
"""Of images that are small enough to be trained on as they are."""

_CHUNK = 1000
"""Files whose headers are read between two looks at whether more can change anything."""


@dataclass(frozen=True)
class ImageTraits:
    """What the images of a data set have in common.

    Attributes:
        channels: 1 where all are grey, 3 otherwise.
        size: height and width of all of them; None where they differ, or a side is longer than `LARGEST_SIDE`.
    """

    channels: int
    size: tuple[int, int] | None

    @classmethod
    def from_json(cls, found: JsonObject) -> "ImageTraits":
        """Read what `asdict` made.

        Raises:
            TypeError, KeyError, ValueError: it is something else.
        """
        size = found["size"]
        return cls(int(found["channels"]), None if size is None else (int(size[0]), int(size[1])))


def traits_of_arrays(pixels: Pixels) -> ImageTraits:
    """Return what uint8 images [N, H, W] or [N, H, W, C] have in common."""
    height, width, *channels = pixels.shape[1:]
    return ImageTraits(3 if channels and channels[0] > 1 else 1, _size_of({(height, width)}))


def traits_of(folder: Path, files: Sequence[str]) -> Generator[LoadProgress, None, ImageTraits]:
    """Read the headers of image files until they tell what the images have in common; yields progress.

    What cannot be read is left out: decoding it says what is wrong.
    """
    sizes = set[tuple[int, int]]()
    grey = True
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(files), _CHUNK):
            part = files[start : start + _CHUNK]
            for found in filter(None, pool.map(lambda name: header(folder / name), part)):
                sizes.add((found.height, found.width))
                grey &= found.grey
            if _size_of(sizes) is None and not grey:
                break
            yield LoadProgress("headers of images", min(start + _CHUNK, len(files)), len(files))
    return ImageTraits(1 if grey and sizes else 3, _size_of(sizes))


def _size_of(sizes: set[tuple[int, int]]) -> tuple[int, int] | None:
    if len(sizes) != 1:
        return None
    (size,) = sizes
    return size if max(size) <= LARGEST_SIDE else None
