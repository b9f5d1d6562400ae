"""Which data sets there are, and what a name or a path refers to."""

from contextlib import suppress
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from cnnkit.data.dataset import Dataset, data_folder
from cnnkit.data.from_torchvision import TORCHVISION
from cnnkit.data.image_folder import ImageFolder
from cnnkit.data.shapes import SHAPES
from cnnkit.errors import DataError, UnknownNameError, UsageError

ENTRY_POINTS = "cnnkit.datasets"
"""The entry-point group in which installed packages register a `Dataset`, under its name."""

BUILT_IN: dict[str, Dataset] = {each.name: each for each in (*TORCHVISION, SHAPES)}


@cache
def _of_packages() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def names() -> list[str]:
    """Return the names of the data sets: cnnkit's own first, then those of installed packages."""
    return list(dict.fromkeys([*BUILT_IN, *sorted(_of_packages())]))


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
    point = _of_packages().get(reference)
    if point is None:
        return None
    try:
        found = point.load()
    except Exception as error:  # whatever importing somebody's package raises
        raise UsageError(
            f"the data set {reference} is {point.value!r} of an installed package, which cannot be imported: {error}. "
            "Repair or uninstall it."
        ) from error
    if not isinstance(found, Dataset) or found.name != reference:
        what = f"the data set {found.name!r}" if isinstance(found, Dataset) else f"a {type(found).__name__}"
        raise UsageError(
            f"the data set {reference} is {point.value!r} of an installed package, {what}; expected an instance of a "
            f"subclass of cnnkit.data.dataset.Dataset with the name {reference!r}."
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
        return ImageFolder.at(folder, fewest)
    if "/" not in reference and "\\" not in reference:
        raise UnknownNameError(
            "data set", reference, names(), hint="An image folder is given by its path, for example ./photos."
        )
    return ImageFolder.at(folder, fewest)


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
