"""Image folders as people have them: class folders alone, or in split folders. No PyTorch.

A split folder holds class folders, and a class folder holds images. Names count only where that leaves it open.
"""

import shlex
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from cnnkit.data.dataset import Dataset, Images
from cnnkit.data.doubts import EXPECTED, question_classes, question_names
from cnnkit.data.layouts import Tree, has_pictures
from cnnkit.data.results import SkippedFiles
from cnnkit.data.splitnames import is_neutral, is_numbered, split_of
from cnnkit.data.walking import (
    NOT_DOWNLOADED,
    Folder,
    Stat,
    gathered,
    in_order,
    left_out,
    named,
    require_folder,
    tallied,
)
from cnnkit.errors import DataError
from cnnkit.files import sha256
from cnnkit.pictures import how_to_convert
from cnnkit.words import agree, listed, quoted, sentence

_PHOTOGRAPHS = (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".avif", ".webp")
_Classes = dict[str, dict[str, Stat]]  # the files of each class


@dataclass(frozen=True)
class ImageFolder(Dataset):
    """An image folder as a data set.

    Attributes:
        folder: where it is, as the user gave it.
        fewest: classes that there must be: a network is trained on two or more, and measured on any.
    """

    folder: Path = Path()
    fewest: int = 2
    of_files: bool = True

    def open(self, data_dir: Path | None = None) -> Images:
        """Find the classes, the images and, if there are split folders, the splits; nothing is decoded.

        The classes are sorted, in Unicode NFC; the splits have "train" among them, or are only "".

        Raises:
            DataError: no such folder, fewer classes, a class of which no image can be read, splits that do not belong
                together, or split folders without class folders.
        """
        return _Reader(self).images()


def image_folder(folder: Path, *, fewest: int = 2) -> ImageFolder:
    """Return the image folder of a path.

    Raises:
        DataError: there is no such folder, or it cannot be read.
    """
    require_folder(folder)
    return ImageFolder(folder.resolve().name, folder=folder, fewest=fewest)


class _Reader:
    """Reads one folder, and remembers what it left out on the way."""

    def __init__(self, dataset: ImageFolder) -> None:
        self.name, self.tree, self.fewest = dataset.name, Tree(dataset.folder), dataset.fewest
        self.left: list[tuple[str, str]] = []
        self.warnings: list[str] = []

    def images(self) -> Images:
        place, splits = self._layout()
        if splits:
            by_split = self._splits(place, splits)
        else:
            self.warnings += question_names(self.tree, place)
            by_split = {"": self._all_classes([place])}
        classes = tuple(sorted(next(iter(by_split.values()))))
        indices = {label: index for index, label in enumerate(classes)}
        files = in_order(
            {name: s for found in by_split.values() for each in found.values() for name, s in each.items()}
        )
        self.tree.require_apart(files)
        row = {name: position for position, name in enumerate(files)}
        targets, places = np.zeros(len(files), np.int64), {}
        for split, found in by_split.items():
            for label, each in found.items():
                targets[[row[name] for name in each]] = indices[label]
            places[split] = np.sort(np.array([row[name] for each in found.values() for name in each], np.int64))
        skipped = tallied(self.left)
        if said := left_out(skipped):
            self.warnings.append(said)
        # Names and sizes: enough to recognise a folder that was moved, without reading it.
        lines = "\n".join(f"{name} {size}" for name, (size, *_) in files.items())
        photographs = sum(name.lower().endswith(_PHOTOGRAPHS) for name in files)
        return Images(
            self.name,
            classes,
            list(files),
            targets,
            places,
            root=self.tree.root,
            stats=files,
            fit="cover" if photographs * 2 > len(files) else "contain",
            fingerprint=sha256(lines.encode(errors="surrogateescape")),  # names need not be UTF-8
            skipped=tuple(SkippedFiles(each.reason, each.ending, each.count) for each in skipped),
            warnings=tuple(self.warnings),
        )

    def _layout(self) -> tuple[Folder, dict[str, list[Folder]]]:
        """Return the folder that holds the class or split folders, and the split folders."""
        chain = self.tree.chain(self.tree.top)
        found = [self.tree.splits(place) for place in chain]
        depth = max((depth for depth, splits in enumerate(found) if splits), default=len(chain) - 1)
        self._enter(chain[: depth + 1])
        if not found[depth]:
            for inner in chain[1:]:
                if split := split_of(inner.name):
                    raise DataError(
                        f"{quoted(str(self.tree.root))} has the {split} folder {quoted(inner.name)} and no train "
                        f"folder. {EXPECTED}; or give {self.tree.path(inner)} itself."
                    )
        return chain[depth], found[depth]

    def _splits(self, place: Folder, splits: dict[str, list[Folder]]) -> dict[str, _Classes]:
        """Return the images of each class of each split."""
        self._stray(place)
        used = {f.name for found in splits.values() for f in found}
        extras = [f for name, f in self.tree.folders(place).items() if name not in used]
        self._leave_extras(extras)
        if full_extras := [folder.name for folder in extras if has_pictures(folder)]:
            self.warnings.append(
                f"folders beside {named(sorted(used))} that are no splits are left out: {named(full_extras)}"
            )
        chosen = {}
        for split in ("train", "validation", "test"):
            found = splits.get(split, [])
            full = [f for f in found if self.tree.holds_folders(f)]
            if len(full) > 1:
                raise DataError(
                    f"{self.tree.path(place)} has {len(full)} folders of {split} images, "
                    f"{named(folder.name for folder in full)}; expected one. Move the others out of it."
                )
            for other in found:
                if other not in full:
                    self._leave_unlabelled(other)
            if full:
                chosen[split] = full[0]
        train = chosen.pop("train")
        chain = self.tree.chain(train)
        question_classes(self.tree, chain[-1])
        by_split = {"train": self._all_classes(chain)}
        for split, folder in chosen.items():
            if given := self._given(folder, train, by_split["train"]):
                by_split[split] = given
        return by_split

    def _given(self, folder: Folder, train: Folder, known: _Classes) -> _Classes:
        """Return the images of each class of a validation or test folder; none where it is unlabelled or empty."""
        chain = self.tree.chain(folder, known)
        labels = self.tree.labels(chain[-1])
        full = {label for label, parts in labels.items() if any(map(has_pictures, parts))}
        unknown = sorted(full - set(known))
        spellings = {label.casefold().strip(): label for label in known}
        close = {label: spellings[slip] for label in unknown if (slip := label.casefold().strip()) in spellings}
        if full.isdisjoint(known) and not close and (not full or self._is_unlabelled(full, known)):
            self._leave_unlabelled(folder)
            return {}
        if unknown:
            hint = "".join(f" {label!r} may be {meant!r}." for label, meant in list(close.items())[:3])
            raise DataError(
                f"{self.tree.path(folder)} has the {_class_list(unknown)}, which {self.tree.path(train)} lacks: "
                f"it has {named(sorted(known), 10)}.{hint} Rename or move the folders."
            )
        self._enter(chain)
        found = self._classes(chain[-1])
        if missing := sorted(known.keys() - labels.keys()):  # empty class folders have a warning of their own
            self.warnings.append(f"{self.tree.path(folder)} has no images of the {_class_list(missing)}")
        return found

    @staticmethod
    def _is_unlabelled(labels: set[str], known: _Classes) -> bool:
        """Whether the names of the folders of a split say nothing of what their images show."""
        lone = len(labels) == 1 and all(map(is_numbered, labels)) and not any(map(is_numbered, known))
        return lone or all(map(is_neutral, labels))

    def _all_classes(self, chain: list[Folder]) -> _Classes:
        """Return the images of each class folder at the end of a chain, where all classes of the folder must be."""
        self._enter(chain)
        found = self._classes(chain[-1])
        if len(found) >= self.fewest:
            return found
        skipped = tallied(self.left)
        endings = sorted(s.ending for s in skipped if s.convertible)
        what = f"one class folder with images, {quoted(next(iter(found)))}" if found else "no class folders with images"
        said = [sentence(s) for s in (*self.warnings, left_out(skipped)) if s]
        wanted = "two, " if self.fewest > 1 else ""
        reason = f"{self.tree.path(chain[-1])} has {what}; expected at least {wanted}one folder a class."
        raise DataError(" ".join([reason, *said, *([how_to_convert(endings)] if endings else [])]))

    def _classes(self, place: Folder) -> _Classes:
        """Return the images of each class folder of a place."""
        self._stray(place)
        found: _Classes = {}
        empty = []
        for label, parts in self.tree.labels(place).items():
            files: dict[str, Stat] = {}
            left: list[tuple[str, str]] = []
            for part in parts:
                self.tree.require_readable(part)
                images, others = gathered(part)
                files |= images
                left += others
            self.left += left
            if files:
                found[label] = files
                continue
            tally = tallied(left)
            pictures = [s for s in tally if s.convertible]
            if absent := sum(s.count for s in tally if s.reason == NOT_DOWNLOADED):
                raise DataError(
                    f"the class folder {self.tree.path(parts[0])} has no images but {absent} that "
                    f"{agree(absent, 'is', 'are')} {NOT_DOWNLOADED}. Download the folder in Finder."
                )
            if pictures:
                raise DataError(
                    f"the class folder {self.tree.path(parts[0])} has only pictures that cannot be read: "
                    f"{listed(f'{s.count} {s.ending}' for s in pictures)}. "
                    f"{how_to_convert(s.ending for s in pictures)}"
                )
            bare = any(s.reason == "not an image" and not s.ending for s in tally)
            empty.append(f"{quoted(label)} (files without an ending)" if bare else quoted(label))
        if empty:
            where = self.tree.path(place)
            self.warnings.append(f"class folders without images are left out of {where}: {listed(empty)}")
        return found

    def _enter(self, chain: list[Folder]) -> None:
        """Leave out what lies beside each folder of a chain."""
        for place, inner in pairwise(chain):
            self._stray(place)
            if extras := [f for f in self.tree.folders(place).values() if f is not inner]:
                self._leave_extras(extras)
                self.warnings.append(
                    f"{self.tree.path(inner)} is read, and not {named(f.name for f in extras)} beside it: only "
                    f"{quoted(inner.name)} has images"
                )

    def _stray(self, place: Folder) -> None:
        """Leave out what lies directly in a place that holds class or split folders."""
        self.tree.require_readable(place)
        inside = self.tree.folders(place)
        self.left += place.left
        self.left += [("outside the class folders", name) for name in place.images]
        self.left += [("link to a folder", f"{place.prefix}{name}/") for name in place.links if name not in inside]

    def _leave_extras(self, folders: list[Folder]) -> None:
        for folder in folders:
            images, left = gathered(folder)
            names = [*images, *(name for _, name in left)] or [folder.prefix]
            self.left += [("unused folder", name) for name in names]

    def _leave_unlabelled(self, folder: Folder) -> None:
        self.tree.require_readable(folder)
        images, left = gathered(folder)
        self.left += [*left, *(("unlabelled", name) for name in images)]
        path = self.tree.path(folder)
        if images:
            command = shlex.quote(str(self.tree.root / folder.prefix))
            those = f"{len(images)} images are" if len(images) > 1 else "only image is"
            self.warnings.append(
                f"{path} is left out, because its {those} in no class folder; to classify: cnnkit predict {command}"
            )
        else:
            self.warnings.append(f"{path} is left out: it has no images")


def _class_list(labels: list[str]) -> str:
    return f"{agree(len(labels), 'class', 'classes')} {named(labels)}"
