"""What the folders of an image folder are: split folders, class folders, or folders round these. No PyTorch."""

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from cnnkit.data.splitnames import is_extra, is_neutral, named_as_splits, split_of
from cnnkit.data.walking import NOT_DOWNLOADED, Folder, scanned
from cnnkit.errors import DataError
from cnnkit.pictures import CONVERTIBLE
from cnnkit.words import quoted

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
                raise DataError(
                    f"the name of the folder {str(self.root / folder.prefix)!r} is not UTF-8. Rename it."
                ) from error
            labels.setdefault(label_of(name), []).append(folder)
        return labels

    def holds_folders(self, folder: Folder) -> bool:
        """Whether there are images in folders inside a folder."""
        return any(has_pictures(inner) for inner in self.folders(folder).values())

    def chain(self, place: Folder, known: Iterable[str] = ()) -> list[Folder]:
        """Return a place, the only folder in it, the only one in that, and so on down to class or split folders.

        The only folder with pictures is such a folder too, if it leads to class folders.
        """
        chain = [place]
        while True:
            inside = [f for f in self.folders(chain[-1]).values() if has_pictures(f) or not is_extra(f.name)]
            full = [f for f in inside if has_pictures(f)]
            if len(full) != 1 or label_of(full[0].name) in known or not self.holds_folders(full[0]):
                return chain
            if len(inside) > 1 and (self.splits(chain[-1]) or not self._round_classes(full[0], inside)):
                return chain
            chain += full

    def _round_classes(self, folder: Folder, inside: list[Folder]) -> bool:
        """Whether one folder of several is round the class folders, and no class beside others that are empty yet."""
        others = [f for f in inside if f is not folder]
        neutral = is_neutral(folder.name) and not split_of(folder.name)
        if not neutral and not all(any(f.left for f in other.below()) for other in others):
            return False
        return len(full_folders(end_of(folder))) > 1

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
        # A class called train, with its images in folders, lies beside other classes.
        rivals = [
            f
            for name, f in inside.items()
            if name not in names and not is_extra(name) and (f.images or len(full_folders(f)) > 1)
        ]
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
        """Return where a folder is, beginning as the user wrote it; a path with blanks is quoted."""
        return quoted(str(self.root / folder.prefix))


def has_pictures(folder: Folder) -> bool:
    """Whether there are images below a folder, or pictures that can be made into such."""
    return bool(folder.images) or any(
        inner.images or any(reason == NOT_DOWNLOADED or name.lower().endswith(_PICTURES) for reason, name in inner.left)
        for inner in folder.below()
    )


def full_folders(folder: Folder) -> dict[str, Folder]:
    """Return the folders directly in a folder that hold pictures, without following links."""
    return {name: inner for name, inner in folder.folders.items() if has_pictures(inner)}


def end_of(folder: Folder) -> Folder:
    """Follow the only folder with pictures, the only one in that, and so on; links are not followed."""
    while not folder.images:
        inside = folder.folders if len(folder.folders) == 1 else full_folders(folder)
        if len(inside) != 1:
            break
        (inner,) = inside.values()
        folder = inner
    return folder


def label_of(name: str) -> str:
    """Return the label that a class folder's name is: the same for both Unicode forms."""
    return unicodedata.normalize("NFC", name)
