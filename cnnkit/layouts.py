"""What the folders of an image folder are: split folders, class folders, or folders round these. No PyTorch."""

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from cnnkit.errors import DataError
from cnnkit.pictures import CONVERTIBLE
from cnnkit.splitnames import is_extra, named_as_splits
from cnnkit.walking import Folder, scanned

_PICTURES = tuple(CONVERTIBLE)


class Tree:
    """An image folder that is scanned; links to folders are followed where class and split folders are looked for.

    Attributes:
        root: the folder, as the user gave it.
        top: what it holds.
        linked: the folders that links were followed to, by their names inside the root.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.top = scanned(str(root))
        self.linked: dict[str, Folder] = {}

    def folders(self, place: Folder) -> dict[str, Folder]:
        """Return the folders directly in a place, sorted by name; here links to folders are followed."""
        found = dict(place.folders)
        for name in place.links:
            inside = f"{place.prefix}{name}/"
            if inside not in self.linked:
                path = os.path.join(place.path, name)  # noqa: PTH118
                if Path(place.path).resolve().is_relative_to(Path(path).resolve()):
                    continue  # it leads back to where it lies
                self.linked[inside] = scanned(path, inside)
            found[name] = self.linked[inside]
        return dict(sorted(found.items()))

    def labels(self, place: Folder) -> dict[str, list[Folder]]:
        """Return the class folders of a place by label; a name in two Unicode forms is one class."""
        labels: dict[str, list[Folder]] = {}
        for name, folder in self.folders(place).items():
            try:
                name.encode()
            except UnicodeEncodeError as error:
                raise DataError(f"the name of the folder {self.path(folder)!r} is not UTF-8. Rename it.") from error
            labels.setdefault(label_of(name), []).append(folder)
        return labels

    def holds_folders(self, folder: Folder) -> bool:
        """Whether there are images in folders inside a folder."""
        return any(has_pictures(inner) for inner in self.folders(folder).values())

    def chain(self, place: Folder, known: Iterable[str] = ()) -> list[Folder]:
        """Return a place, the only folder in it, the only one in that, and so on down to class or split folders."""
        chain = [place]
        while True:
            inside = [f for f in self.folders(chain[-1]).values() if has_pictures(f) or not is_extra(f.name)]
            if len(inside) != 1 or label_of(inside[0].name) in known or not self.holds_folders(inside[0]):
                return chain
            chain += inside

    def splits(self, place: Folder) -> dict[str, list[Folder]]:
        """Return the split folders of a place; none where its folders are classes, or there are no training images."""
        inside = self.folders(place)
        names = named_as_splits(inside)
        splits: dict[str, list[Folder]] = {}
        for name, split in names.items():
            splits.setdefault(split, []).append(inside[name])
        with_classes = {s for s, found in splits.items() if any(self.holds_folders(f) for f in found)}
        if "train" not in with_classes:
            return {}
        # A class called train, with its images in folders, lies beside others that hold their images directly.
        rivals = [f for name, f in inside.items() if f.images and name not in names and not is_extra(name)]
        if rivals and len(with_classes) == 1 and len(names) <= len(rivals):
            return {}
        return splits

    def require_readable(self, folder: Folder) -> None:
        """Raise a `DataError` where the system does not let a folder be listed."""
        if folder.unreadable:
            raise DataError(f"the folder {self.path(folder)} cannot be read. Change its permissions.")

    def require_apart(self, names: Iterable[str]) -> None:
        """Raise a `DataError` where links make images of one folder those of two classes or splits."""
        if not self.linked:
            return
        seen: dict[str, str] = {}
        for name in sorted({name.rpartition("/")[0] for name in names}):
            if (other := seen.setdefault(os.path.realpath(self.root / name), name)) != name:
                raise DataError(f"{other} and {name} in {self.root} are one folder, by a link. Remove the link.")

    def path(self, folder: Folder) -> str:
        """Return where a folder is, beginning as the user wrote it."""
        return str(self.root / folder.prefix)


def has_pictures(folder: Folder) -> bool:
    """Whether there are images below a folder, or pictures that can be made into such."""
    return any(
        inner.images or any(name.lower().endswith(_PICTURES) for _, name in inner.left) for inner in folder.below()
    )


def label_of(name: str) -> str:
    """Return the label that a class folder's name is: the same for both Unicode forms."""
    return unicodedata.normalize("NFC", name)
