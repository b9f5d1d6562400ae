"""The data sets that can be named, and where their files are. Loading them is `cnnkit.training.data`."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from cnnkit.errors import UnknownNameError
from cnnkit.images import Fit, Polarity

DATA_VARIABLE = "CNNKIT_DATA"
"""The environment variable that names the data folder when `--data-dir` does not."""

_IDX = (
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
)  # fmt: skip
_CIFAR = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")


@dataclass(frozen=True)
class DatasetSpec:
    """A data set by name.

    Attributes:
        name: as written on the command line.
        classes: labels in the order of their indices.
        image_shape: height, width, channels.
        train, test: number of images; 0 where the program draws as many as asked for.
        files: paths under the data folder that must be there; none for a drawn data set.
        fit, polarity: how an image from elsewhere is brought to the form of these (see `Preprocessing`).
        source: the publication.
    """

    name: str
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    train: int
    test: int
    files: tuple[str, ...]
    fit: Fit
    polarity: Polarity
    source: str


DATASETS = {
    spec.name: spec
    for spec in (
        DatasetSpec(
            "mnist", tuple("0123456789"), (28, 28, 1), 60_000, 10_000, tuple(f"MNIST/raw/{f}" for f in _IDX),
            "mnist-box", "light-on-dark", "LeCun, Cortes, Burges 1998",
        ),
        DatasetSpec(
            "fashion-mnist",
            ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
            (28, 28, 1), 60_000, 10_000, tuple(f"FashionMNIST/raw/{f}" for f in _IDX),
            "contain", "as-is", "Xiao, Rasul, Vollgraf 2017",
        ),
        DatasetSpec(
            "cifar10",
            ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
            (32, 32, 3), 50_000, 10_000, tuple(f"cifar-10-batches-py/{f}" for f in _CIFAR),
            "contain", "as-is", "Krizhevsky 2009",
        ),
        DatasetSpec(
            "shapes", ("circles", "squares", "triangles"), (28, 28, 3), 1_200, 300, (),
            "contain", "dark-on-light", "drawn by cnnkit",
        ),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Location:
    """Where a data set is or would be: `folder` is the data folder, `present` whether every file is there."""

    folder: Path | None
    present: bool
    origin: Literal["--data-dir", "$CNNKIT_DATA", "cache", "drawn"]


def dataset(name: str) -> DatasetSpec:
    """Return a data set by name.

    Raises:
        UnknownNameError: with the close matches.
    """
    try:
        return DATASETS[name]
    except KeyError:
        raise UnknownNameError(
            "data set", name, DATASETS, hint="An image folder is given by its path, for example ./photos."
        ) from None


def locate(spec: DatasetSpec, data_dir: Path | None = None) -> Location:
    """Find a data set's files: under `data_dir`, else `$CNNKIT_DATA`, else the user's cache folder."""
    if not spec.files:
        return Location(None, True, "drawn")
    if data_dir is not None:
        return Location(data_dir, _complete(spec, data_dir), "--data-dir")
    cache = platformdirs.user_cache_path("cnnkit") / "data"
    if variable := os.environ.get(DATA_VARIABLE):
        folder = Path(variable).expanduser()
        return Location(folder, _complete(spec, folder), "$CNNKIT_DATA")
    return Location(cache, _complete(spec, cache), "cache")


def _complete(spec: DatasetSpec, folder: Path) -> bool:
    return all((folder / file).is_file() for file in spec.files)
