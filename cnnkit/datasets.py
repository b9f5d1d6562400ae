"""The data sets that can be named, and where their files are. Loading them is `cnnkit.training.data`."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from cnnkit.errors import DataError, UnknownNameError
from cnnkit.images import Fit, Polarity
from cnnkit.words import quoted

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
            "contain", "light-on-dark", "Xiao, Rasul, Vollgraf 2017",
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


def find_folder(data: str) -> Path:
    """Return the image folder that is named where a data set's name can be, too.

    Raises:
        UnknownNameError: it is no path, and no data set either.
        DataError: there is no such folder.
    """
    folder = Path(data).expanduser()
    with suppress(DataError):
        require_folder(folder)
        return folder
    if "/" not in data and "\\" not in data:
        dataset(data)
    require_folder(folder)
    return folder


def require_folder(folder: Path) -> None:
    """Make sure that an image folder is there.

    Raises:
        DataError: it is not, or cannot be read.
    """
    try:
        there = folder.is_dir()
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read: {error.strerror}.") from error
    if not there:
        where = "" if folder.is_absolute() else f" in {Path.cwd()}"
        raise DataError(
            f"there is no image folder {quoted(str(folder))}{where}. Expected DIR/<class>/…, named by its path with "
            "--data."
        )


def data_folder(data_dir: Path | None = None) -> tuple[Path, Literal["--data-dir", "$CNNKIT_DATA", "cache"]]:
    """Return the data folder and who names it: `data_dir`, else `$CNNKIT_DATA`, else it is the user's cache folder."""
    if data_dir is not None:
        return data_dir, "--data-dir"
    if variable := os.environ.get(DATA_VARIABLE):
        return Path(variable).expanduser(), "$CNNKIT_DATA"
    return platformdirs.user_cache_path("cnnkit") / "data", "cache"


def locate(spec: DatasetSpec, data_dir: Path | None = None) -> Location:
    """Find a data set's files in the data folder."""
    if not spec.files:
        return Location(None, True, "drawn")
    folder, origin = data_folder(data_dir)
    return Location(folder, all((folder / file).is_file() for file in spec.files), origin)


def find_own(source: str, labels: tuple[str, ...], data_dir: Path | None = None) -> str:
    """Return what a network was trained on, as it is available here: a data set, or the image folder where it is.

    Args:
        source: as its recipe names it; a folder is looked for as written, and by its name in the data folder.
        labels: of the network.
        data_dir: the data folder, as for `locate`.

    Raises:
        DataError: an image folder that is in neither place.
    """
    written = Path(source).expanduser()
    if source in DATASETS or written.is_dir():
        return source
    folder, origin = data_folder(data_dir)
    if (folder / written.name).is_dir():
        return str(folder / written.name)
    alike = [f"--data {spec.name}" for spec in DATASETS.values() if spec.classes == labels]
    instead = f" Other images of the same classes: {' or '.join(alike)}." if alike else ""
    raise DataError(
        f"there is no image folder {written.name}: neither {written.resolve()} nor {folder / written.name} ({origin}). "
        "The network was trained on it; give its path with --data, or the folder it is in with --data-dir."
        f"{instead}"
    )
