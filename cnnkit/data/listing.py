"""The data sets for Python: `cnnkit.list_datasets` and `cnnkit.open_dataset`."""

from dataclasses import replace
from pathlib import Path

from cnnkit.arguments import DataDir
from cnnkit.data import sets
from cnnkit.data.dataset import Images
from cnnkit.data.options import DataOptions
from cnnkit.data.results import DatasetInfo
from cnnkit.files import expanded


def list_datasets(data_dir: DataDir = None) -> list[DatasetInfo]:
    """Return the data sets by name, and where their files are.

    >>> import cnnkit
    >>> [data.present for data in cnnkit.list_datasets() if data.name == "shapes"]
    [True]
    """
    found = []
    for each in sets.datasets():
        where = each.locate(expanded(data_dir))
        ways = {
            "none": "drawn by cnnkit" if each.name in sets.BUILT_IN else "in an installed package",
            "cache": "in the cache folder" if where.present else "downloads when used",
            "cnnkit.toml": "as cnnkit.toml says" if where.present else "not where cnnkit.toml says",
            "--data-dir": "under --data-dir" if where.present else "not under --data-dir",
            "$CNNKIT_DATA": "under $CNNKIT_DATA" if where.present else "not under $CNNKIT_DATA",
        }
        found.append(
            DatasetInfo(
                name=each.name,
                classes=each.classes if isinstance(each.classes, int) else len(each.classes),
                image_shape=each.image_shape,
                train=each.train,
                test=each.test,
                folder=where.folder,
                present=where.present,
                how_to_get=ways[where.origin],
            )
        )
    return found


def open_dataset(
    name: str | Path,
    *,
    data_dir: str | Path | None = None,
    split_seed: int = 0,
    validation_fraction: float = 0.2,
    test_fraction: float = 0.2,
) -> Images:
    """Open a data set, and divide it as a training does: no image is decoded.

    Args:
        name: of a data set, or path of an image folder.
        data_dir: where to look for the files first.
        split_seed: of the split; which images it holds out.
        validation_fraction: of the images that are not tested on, where the data set has no validation images.
        test_fraction: of all images, where the data set has no test images.

    Returns:
        The images, with all three splits.

    Raises:
        UnknownNameError: no such data set.
        DataError: absent, or unusable.

    >>> import cnnkit
    >>> shapes = cnnkit.open_dataset("shapes")
    >>> len(shapes), shapes.classes, {split: len(where) for split, where in shapes.splits.items()}
    (1500, ('circles', 'squares', 'triangles'), {'train': 960, 'validation': 240, 'test': 300})
    """
    options = DataOptions(
        str(name),
        expanded(data_dir),
        split_seed=split_seed,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
    )
    found = sets.open_images(options.data, options.data_dir)
    _, parts = found.divided(options, found.contents)
    return replace(found, splits=dict(parts.items()))
