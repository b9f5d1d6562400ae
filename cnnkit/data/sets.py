"""Which data sets there are, and what a name or a path refers to."""

from contextlib import suppress
from pathlib import Path

from cnnkit.data.dataset import Dataset, Images
from cnnkit.data.folders import image_folder
from cnnkit.data.from_torchvision import TORCHVISION
from cnnkit.data.places import data_folder
from cnnkit.data.shapes import SHAPES
from cnnkit.errors import CnnkitError, DataError, UnknownNameError
from cnnkit.plugins import load, registered

ENTRY_POINTS = "cnnkit.datasets"
"""The entry-point group in which installed packages register a `Dataset`, under its name."""

BUILT_IN: dict[str, Dataset] = {each.name: each for each in (*TORCHVISION, SHAPES)}


def names() -> list[str]:
    """Return the names of the data sets: cnnkit's own first, then those of installed packages."""
    return list(dict.fromkeys([*BUILT_IN, *registered(ENTRY_POINTS)]))


def datasets() -> list[Dataset]:
    """Return the data sets in the order of their names.

    Raises:
        UsageError: an installed package registers something that is no `Dataset`.
    """
    return [each for each in map(named, names()) if each is not None]


def named(reference: str) -> Dataset | None:
    """Return the data set that has a name; None for a path, and where there is none.

    Raises:
        UsageError: that of an installed package cannot be imported, or is none.
    """
    if reference in BUILT_IN or "/" in reference or "\\" in reference:
        return BUILT_IN.get(reference)
    found: Dataset | None = load(
        ENTRY_POINTS,
        reference,
        lambda found: isinstance(found, Dataset) and found.name == reference,
        f"an instance of a subclass of cnnkit.data.dataset.Dataset with the name {reference}",
    )
    return found


def find(reference: str, *, fewest: int = 2) -> Dataset:
    """Return the data set of a name, or the image folder of a path, which has `fewest` classes at least.

    Raises:
        UnknownNameError: it is no path, and no data set either.
        DataError: there is no such folder.
    """
    found = named(reference)
    if found is not None:
        return found
    folder = Path(reference).expanduser()
    with suppress(DataError):
        return image_folder(folder, fewest=fewest)
    if "/" not in reference and "\\" not in reference:
        raise UnknownNameError(
            "data set", reference, names(), hint="An image folder is given by its path, for example ./photos."
        )
    return image_folder(folder, fewest=fewest)


def open_images(reference: str, data_dir: Path | None = None, *, fewest: int = 2) -> Images:
    """Open the data set of a name, or the image folder of a path, which has `fewest` classes at least.

    Raises:
        UnknownNameError: no such data set.
        DataError: absent, or unusable.
    """
    dataset = find(reference, fewest=fewest)
    try:
        return dataset.open(data_dir)
    except Exception as error:
        if isinstance(error, CnnkitError) or reference in BUILT_IN:
            raise
        # Whatever somebody's package raises.
        raise DataError(f"the data set {reference} cannot be opened: {type(error).__name__}: {error}") from error


def labels_of(reference: str) -> tuple[str, ...]:
    """Return the labels of a data set with a name, as far as they are known before it is opened."""
    found = named(reference)
    return found.labels if found else ()


def without_effect(reference: str) -> set[str]:
    """Return the fields of a recipe that have no effect on a data set."""
    found = named(reference)
    if found is None:
        return {"drawn_digits"}
    has_effect = {"drawn_digits": found.drawable, "test_fraction": not found.test, "skip_damaged": found.of_files}
    return {name for name, has in has_effect.items() if not has}


def from_anywhere(reference: str) -> str:
    """Return what names the same data from any folder: the whole path of an image folder."""
    return str(Path(reference).expanduser().resolve()) if named(reference) is None else reference


def find_own(source: str, labels: tuple[str, ...], data_dir: Path | None = None) -> str:
    """Return what a network was trained on, as it is available here: a data set, or the image folder where it is.

    Args:
        source: as its recipe names it; a folder is looked for as written, and by its name in the data folder.
        labels: of the network.
        data_dir: the data folder, as for `Dataset.locate`.

    Raises:
        DataError: an image folder that is in neither place.
    """
    written = Path(source).expanduser()
    if named(source) or written.is_dir():
        return source
    folder, origin = data_folder(data_dir)
    if (folder / written.name).is_dir():
        return str(folder / written.name)
    alike = [f"--data {each.name}" for each in datasets() if each.labels == labels]
    instead = f" Other images of the same classes: {' or '.join(alike)}." if alike else ""
    raise DataError(
        f"there is no image folder {written.name}: neither {written.resolve()} nor {folder / written.name} ({origin}). "
        "The network was trained on it; give its path with --data, or the folder it is in with --data-dir."
        f"{instead}"
    )
