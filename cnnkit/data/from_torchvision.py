"""The classification sets of torchvision, a line each in a table; torchvision reads and downloads their files.

Sets of small images of one size come as arrays. Of others it gives the names of the files: these are decoded as the
files of an image folder are, so that a file gives the same pixels everywhere, and are not all in memory.
"""

import contextlib
import csv
import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np

from cnnkit.data.dataset import Dataset, Images
from cnnkit.data.places import DATA_VARIABLE
from cnnkit.errors import DataError
from cnnkit.preprocessing import Polarity

_Options = Mapping[str, Mapping[str, Any]]
_TRAIN: _Options = {"train": {"train": True}, "test": {"train": False}}
_SPLIT: _Options = {"train": {"split": "train"}, "test": {"split": "test"}}


@dataclass(frozen=True)
class TorchvisionDataset(Dataset):
    """A data set that a class of torchvision reads.

    Attributes:
        kind: name of the class in `torchvision.datasets`.
        splits: what the class is given for each split; those of "" for a data set that gives none.
        root: folder of its image files under the data folder; empty where its images are arrays.
        listing: what lists the files of a split by their names in the root, with their class indices, for a class
            that takes no `loader`.
        film: what the name of a frame begins with, for frames of films; all frames of a film stay in one split.
        first: the lowest class number in its files.
        transposed: its files have rows and columns exchanged.
        needs: a package that torchvision reads its files with, and does not depend on.
    """

    kind: str = ""
    splits: _Options = field(default_factory=lambda: _TRAIN)
    root: str = ""
    listing: Callable[..., Iterator[tuple[str, int]]] | None = None
    film: Callable[[str], str] | None = None
    first: int = 0
    transposed: bool = False
    needs: str = ""

    def open(self, data_dir: Path | None = None) -> Images:
        """Read it, or download it.

        Raises:
            DataError: absent and could not be downloaded, damaged, or a package is missing.
        """
        if self.needs and importlib.util.find_spec(self.needs) is None:
            raise DataError(
                f"the files of {self.name} are read by {self.needs}, which is not installed. Run: "
                f"pip install {self.needs}"
            )
        import torchvision

        where = self.locate(data_dir)
        folder = where.folder or Path()
        was_there, missing = folder.exists(), self.missing(folder)
        try:
            # CIFAR comes as pickles; torchvision opens them only after checking each against a pinned hash.
            kind = partial(getattr(torchvision.datasets, self.kind), folder, download=not where.present)
            return self._of_files(kind, folder / self.root) if self.root else self._of_arrays(kind)
        except Exception as error:
            said = " ".join(str(error).split())
            reason = said if len(said) <= 120 else f"… {said[-120:].partition(' ')[2]}"  # why is said last
            if missing:
                _remove_empty_folders(folder / Path(self.files[0]).parts[0], and_parent=not was_there)
                raise DataError(
                    f"{self.name} is not under {folder} ({where.origin}) and could not be downloaded ({reason}). "
                    f"Expected there: {', '.join(missing)}. Put the files there, or name their folder with --data-dir "
                    f"or ${DATA_VARIABLE}."
                ) from error
            raise DataError(f"{self.name} under {folder} is damaged: {reason}. Delete it to load it again.") from error

    def _of_arrays(self, kind: Callable[..., Any]) -> Images:
        read = {split: kind(**given) for split, given in self.splits.items()}
        parts = {}
        for split, each in read.items():
            pixels = np.asarray(each.data)
            if pixels.ndim == 4 and pixels.shape[-1] != 3:  # channels come first
                pixels = np.moveaxis(pixels, 1, -1)
            labels = np.asarray(each.targets if hasattr(each, "targets") else each.labels, np.int64)
            parts[split] = (pixels.swapaxes(1, 2) if self.transposed else pixels, labels - self.first)
        return Images.of_arrays(self, self._labels(next(iter(read.values()))), parts)

    def _of_files(self, kind: Callable[..., Any], root: Path) -> Images:
        parts: dict[str, list[tuple[str, int]]] = {}
        labels: tuple[str, ...] = ()
        for split, given in self.splits.items():
            # A loader that loads nothing: an item is then a path and its class.
            read = kind(**given) if self.listing else kind(**given, loader=os.fspath)
            labels = labels or self._labels(read)
            if self.listing:
                parts[split] = list(self.listing(root, **given))
            else:
                found = (read[place] for place in range(len(read)))
                parts[split] = [(Path(path).relative_to(root).as_posix(), target) for path, target in found]
        images = Images.of_files(self, labels, root, parts)
        return images if self.film is None else replace(images, groups=[self.film(name) for name in images.names])

    def _labels(self, read: Any) -> tuple[str, ...]:
        """Return the labels of the table, or torchvision's, of which some are several words for one thing."""
        names = self.labels or (each if isinstance(each, str) else each[0] for each in read.classes)
        return tuple(name.replace("_", " ") for name in names)


def _pets(root: Path, split: str) -> Iterator[tuple[str, int]]:
    for line in (root / "annotations" / f"{split}.txt").read_text("utf-8").splitlines():
        name, number, *_ = line.split()
        yield f"images/{name}.jpg", int(number) - 1


def _signs(root: Path, split: str) -> Iterator[tuple[str, int]]:
    if split == "train":
        for file in sorted((root / "GTSRB" / "Training").glob("*/*.ppm")):
            yield file.relative_to(root).as_posix(), int(file.parent.name)
        return
    with (root / "GT-final_test.csv").open(encoding="utf-8", newline="") as table:
        for row in csv.DictReader(table, delimiter=";", skipinitialspace=True):
            yield f"GTSRB/Final_Test/Images/{row['Filename']}", int(row["ClassId"])


def _idx(folder: str, *prefixes: str) -> tuple[str, ...]:
    kinds = ("images-idx3", "labels-idx1")
    return tuple(f"{folder}/raw/{prefix}-{kind}-ubyte" for prefix in prefixes for kind in kinds)


_DIGITS = tuple("0123456789")
_FASHION = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
_CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_STL = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
_SIGNS = (
    "speed limit 20", "speed limit 30", "speed limit 50", "speed limit 60", "speed limit 70", "speed limit 80",
    "end of speed limit 80", "speed limit 100", "speed limit 120", "no overtaking", "no overtaking by trucks",
    "right of way", "priority road", "give way", "stop", "no vehicles", "no trucks", "no entry", "danger",
    "curve to the left", "curve to the right", "double curve", "bumpy road", "slippery road", "road narrows",
    "road works", "traffic signals", "pedestrians", "children", "bicycles", "ice or snow", "wild animals",
    "end of all limits", "turn right", "turn left", "straight ahead", "straight or right", "straight or left",
    "keep right", "keep left", "roundabout", "end of no overtaking", "end of no overtaking by trucks",
)  # fmt: skip
_CIFAR_FILES = (
    *(f"cifar-10-batches-py/data_batch_{number}" for number in range(1, 6)),
    "cifar-10-batches-py/test_batch",
    "cifar-10-batches-py/batches.meta",
)
_CIFAR_100_FILES = tuple(f"cifar-100-python/{file}" for file in ("train", "test", "meta"))
_STL_FILES = tuple(f"stl10_binary/{f}.bin" for f in ("train_X", "train_y", "unlabeled_X", "test_X", "test_y"))
_FLOWERS = {"train": {"split": "train"}, "validation": {"split": "val"}, "test": {"split": "test"}}
_FLOWER_FILES = ("flowers-102/jpg/", "flowers-102/imagelabels.mat", "flowers-102/setid.mat")
_SIGN_FILES = ("gtsrb/GTSRB/Training/", "gtsrb/GTSRB/Final_Test/Images/", "gtsrb/GT-final_test.csv")
_LETTERS = {"train": {"split": "letters", "train": True}, "test": {"split": "letters", "train": False}}
_DRAWN: Polarity = "light-on-dark"
_GREY, _RGB = (28, 28, 1), (32, 32, 3)

_Small = TorchvisionDataset
_Photos = partial(TorchvisionDataset, fit="cover", of_files=True, splits=_SPLIT)

TORCHVISION: tuple[TorchvisionDataset, ...] = (
    _Small(
        "mnist", _DIGITS, _GREY, 60_000, 10_000, _idx("MNIST", "train", "t10k"), "LeCun, Cortes, Burges 1998",
        "mnist-box", _DRAWN, drawable=True, kind="MNIST"
    ),
    _Small(
        "fashion-mnist", _FASHION, _GREY, 60_000, 10_000, _idx("FashionMNIST", "train", "t10k"),
        "Xiao, Rasul, Vollgraf 2017", polarity=_DRAWN, kind="FashionMNIST"
    ),
    _Small(
        "kmnist", 10, _GREY, 60_000, 10_000, _idx("KMNIST", "train", "t10k"), "Clanuwat et al. 2018", polarity=_DRAWN,
        kind="KMNIST"
    ),
    _Small(
        "emnist-letters", tuple(ascii_uppercase), _GREY, 124_800, 20_800,
        _idx("EMNIST", "emnist-letters-train", "emnist-letters-test"), "Cohen et al. 2017", polarity=_DRAWN,
        kind="EMNIST", splits=_LETTERS, first=1, transposed=True
    ),
    _Small("cifar10", _CIFAR, _RGB, 50_000, 10_000, _CIFAR_FILES, "Krizhevsky 2009", kind="CIFAR10"),
    _Small("cifar100", 100, _RGB, 50_000, 10_000, _CIFAR_100_FILES, "Krizhevsky 2009", kind="CIFAR100"),
    _Small(
        "svhn", _DIGITS, _RGB, 73_257, 26_032, ("train_32x32.mat", "test_32x32.mat"), "Netzer et al. 2011", kind="SVHN",
        splits=_SPLIT, needs="scipy"
    ),
    _Small("stl10", _STL, (96, 96, 3), 5_000, 8_000, _STL_FILES, "Coates, Ng, Lee 2011", kind="STL10", splits=_SPLIT),
    _Photos(
        "flowers102", 102, None, 1_020, 6_149, _FLOWER_FILES, "Nilsback, Zisserman 2008", kind="Flowers102",
        splits=_FLOWERS, root="flowers-102", needs="scipy"
    ),
    _Photos(
        "oxford-pets", 37, None, 3_680, 3_669, ("oxford-iiit-pet/images/", "oxford-iiit-pet/annotations/"),
        "Parkhi et al. 2012", kind="OxfordIIITPet", splits={"train": {"split": "trainval"}, "test": {"split": "test"}},
        root="oxford-iiit-pet", listing=_pets
    ),
    _Photos(
        "food101", 101, None, 75_750, 25_250, ("food-101/images/", "food-101/meta/"), "Bossard et al. 2014",
        kind="Food101", root="food-101"
    ),
    _Photos(
        "eurosat", 10, (64, 64, 3), 27_000, 0, ("eurosat/2750/",), "Helber et al. 2019", kind="EuroSAT",
        splits={"": {}}, root="eurosat/2750"
    ),
    _Photos(
        "gtsrb", _SIGNS, None, 26_640, 12_630, _SIGN_FILES, "Stallkamp et al. 2012", kind="GTSRB", root="gtsrb",
        listing=_signs, film=lambda name: name.rpartition("_")[0]
    ),
    _Photos(
        "imagenette", 10, None, 9_469, 3_925, ("imagenette2/train/", "imagenette2/val/"), "Howard 2019",
        kind="Imagenette", splits={"train": {"split": "train"}, "test": {"split": "val"}}, root="imagenette2"
    ),
)  # fmt: skip


def _remove_empty_folders(folder: Path, *, and_parent: bool) -> None:
    """Take away what torchvision created before its download failed."""
    for place in (
        *sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True),
        folder,
        *([folder.parent] if and_parent else []),
    ):
        with contextlib.suppress(OSError):
            place.rmdir()
