"""The data sets that have a name, as arrays: drawn by the program, or read and downloaded by torchvision."""

import contextlib
from pathlib import Path

import numpy as np
import torchvision
from numpy.typing import NDArray

from cnnkit import datasets
from cnnkit.errors import DataError
from cnnkit.pictures import Pixels
from cnnkit.training import shapes

Arrays = tuple[Pixels, NDArray[np.int64]]
"""Images, uint8 [N, H, W] or [N, H, W, C], and their classes, [N]."""


def load_arrays(spec: datasets.DatasetSpec, data_dir: Path | None) -> tuple[Arrays, Arrays]:
    """Return the training and the test images of a data set; it is downloaded where it is not at hand.

    Args:
        spec: which.
        data_dir: where to look for its files first.

    Raises:
        DataError: absent and not to be had, or damaged.
    """
    if spec.name == "shapes":
        train = shapes.draw_shapes(spec.train // len(spec.classes), seed=0)
        return train, shapes.draw_shapes(spec.test // len(spec.classes), seed=1)
    where = datasets.locate(spec, data_dir)
    # CIFAR-10 comes as pickles; torchvision opens them only after checking each against a pinned hash.
    kind = {
        "mnist": torchvision.datasets.MNIST,
        "fashion-mnist": torchvision.datasets.FashionMNIST,
        "cifar10": torchvision.datasets.CIFAR10,
    }[spec.name]
    was_there = where.folder is not None and where.folder.exists()
    missing = [file for file in spec.files if where.folder is not None and not (where.folder / file).is_file()]
    try:
        loaded = [kind(where.folder, train=train, download=not where.present) for train in (True, False)]
    except Exception as error:
        said = " ".join(str(error).split())
        reason = said if len(said) <= 120 else f"… {said[-120:].partition(' ')[2]}"  # why is said last
        if missing and where.folder is not None:
            _remove_empty_folders(where.folder / Path(spec.files[0]).parts[0], and_parent=not was_there)
            raise DataError(
                f"{spec.name} is not under {where.folder} ({where.origin}) and could not be downloaded ({reason}). "
                f"Expected there: {', '.join(missing)}. Put the files there, or name their folder with --data-dir "
                f"or ${datasets.DATA_VARIABLE}."
            ) from error
        raise DataError(
            f"{spec.name} under {where.folder} is damaged: {reason}. Delete it to load it again."
        ) from error
    train_set, test_set = ((np.asarray(d.data), np.asarray(d.targets, np.int64)) for d in loaded)
    return train_set, test_set


def _remove_empty_folders(folder: Path, *, and_parent: bool) -> None:
    """Take away what torchvision created before its download failed."""
    for place in (
        *sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True),
        folder,
        *([folder.parent] if and_parent else []),
    ):
        with contextlib.suppress(OSError):
            place.rmdir()
