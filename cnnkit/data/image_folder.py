"""Image folders as data sets: `./photos` with a folder for each class, or with split folders."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnnkit.data.dataset import Dataset, Images
from cnnkit.data.folders import read_folder
from cnnkit.data.results import SkippedFiles
from cnnkit.data.walking import require_folder


@dataclass(frozen=True)
class ImageFolder(Dataset):
    """An image folder.

    Attributes:
        folder: where it is.
        fewest: classes that there must be: a network is trained on two or more, and measured on any.
    """

    folder: Path = Path()
    fewest: int = 2
    of_files: bool = True

    @classmethod
    def at(cls, folder: Path, fewest: int = 2) -> "ImageFolder":
        """Return the image folder of a path.

        Raises:
            DataError: there is no such folder, or it cannot be read.
        """
        require_folder(folder)
        return cls(folder.resolve().name, folder=folder, fewest=fewest)

    def open(self, data_dir: Path | None = None) -> Images:
        """Find its images; they are not decoded yet.

        Raises:
            DataError: no such folder, or one without images in class folders.
        """
        found = read_folder(self.folder, fewest=self.fewest)
        names = list(found.files)
        row = {name: position for position, name in enumerate(names)}
        targets = np.zeros(len(names), np.int64)
        for pairs in found.images.values():
            for name, target in pairs:
                targets[row[name]] = target
        return Images(
            self.name,
            found.classes,
            names,
            targets,
            {part: np.array([row[name] for name, _ in pairs], np.int64) for part, pairs in found.images.items()},
            root=self.folder,
            stats=found.files,
            fit="cover" if found.photos else "contain",
            fingerprint=found.fingerprint,
            skipped=tuple(SkippedFiles(each.reason, each.ending, each.count) for each in found.skipped),
            warnings=found.warnings,
        )
