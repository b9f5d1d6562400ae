"""Walk through folders of images: which files are images, and which are left out for which reason. No PyTorch."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cnnkit.data.splitnames import masks_beside_images
from cnnkit.errors import DataError
from cnnkit.pictures import CONVERTIBLE, SUFFIXES
from cnnkit.words import listed, quoted

Stat = tuple[int, int, int]
"""A file's size in bytes, when it was last changed in nanoseconds, and its number on the disk.

Two files of one size may change places, and keep their times.
"""

_ENDINGS = tuple(SUFFIXES)
# No class has such a name. A name that a class may have is no part of this list.
_SYSTEM_FOLDERS = frozenset(
    {"__macosx", "@eadir", "#recycle", "@recycle", "@recently-snapshot", "#snapshot", "$recycle.bin", "lost+found",
     "system volume information", "__pycache__"}
)  # fmt: skip
_SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
# A class may be called "thumbs", so these are left out only beside images, of which they hold small copies.
_THUMBNAILS = frozenset({"thumbs", "thumbnails", "_thumbs", "_thumbnails"})
# Files that lie beside images and are not meant as images: nobody needs a warning.
_DOCUMENTS = frozenset(
    {".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".md", ".rst",
     ".html", ".htm", ".pdf", ".doc", ".docx", ".xls", ".xlsx", ".log", ".py", ".pyc", ".ipynb", ".sh", ".bat", ".m",
     ".db", ".sqlite", ".pkl", ".pt", ".pth", ".onnx", ".safetensors", ".h5", ".zip", ".tar", ".gz", ".tgz", ".bz2",
     ".xz", ".7z", ".rar", ".url", ".lnk", ".sha256", ".md5", ".names", ".data", ".parquet", ".lock", ".cache", ".mat",
     ".npy", ".npz", ""}
)  # fmt: skip
_QUIET = frozenset({"hidden", "system folder", "system file", "unlabelled", "unused folder"})
_SHOWN = 3
NOT_DOWNLOADED = "not downloaded from iCloud"
_PLACEHOLDERS = tuple(f"{ending}.icloud" for ending in SUFFIXES | CONVERTIBLE)  # macOS writes .1.jpg.icloud for 1.jpg


@dataclass(frozen=True)
class Skipped:
    """Files that are not read. A folder that is not entered counts as one.

    Attributes:
        reason: "hidden", "system folder", "system file", "thumbnail folder", "mask", "not an image", "not a file",
            "not downloaded from iCloud", "broken link", "link to a folder", "cannot be read",
            "outside the class folders", "unlabelled" or "unused folder".
        ending: of the names, in lower case, such as ".heic"; empty where it does not matter.
        count: how many they are.
        examples: a few names inside the folder, with forward slashes; those of folders end in one.
    """

    reason: str
    ending: str
    count: int
    examples: tuple[str, ...]

    @property
    def could_be_images(self) -> bool:
        """Whether the user may have meant these files as images, and should know that they are left out."""
        if self.reason == "not an image":
            return self.ending not in _DOCUMENTS
        return self.reason not in _QUIET and not (self.reason == "broken link" and self.ending in _DOCUMENTS)

    @property
    def convertible(self) -> bool:
        """Whether these are pictures in a format that another program can convert."""
        return self.reason == "not an image" and self.ending in CONVERTIBLE


@dataclass(eq=False, repr=False, slots=True)
class Folder:
    """What a folder holds. Names are paths inside the folder that the walk began with.

    Attributes:
        path: where it is.
        prefix: its name with a slash at the end; empty where the walk began.
        images: the images directly in it.
        folders: the folders directly in it, by their last name; hidden and system folders are absent.
        links: last names of links to folders directly in it.
        left: (reason, name) of whatever else is directly in it.
    """

    path: str
    prefix: str
    images: dict[str, Stat] = field(default_factory=dict)
    folders: dict[str, "Folder"] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The last part of its name."""
        return self.prefix[:-1].rpartition("/")[2]

    @property
    def unreadable(self) -> bool:
        """Whether the system refused to list it."""
        return ("cannot be read", self.prefix or "./") in self.left

    def below(self) -> Iterator["Folder"]:
        """Yield this folder and all folders below it, without following links."""
        todo = [self]
        while todo:
            folder = todo.pop()
            yield folder
            todo += folder.folders.values()


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


def walk(folder: Path) -> tuple[dict[str, Stat], tuple[Skipped, ...]]:
    """Find all images below a folder, whatever its layout. Links to files are followed, links to folders are not.

    Returns:
        The stat of each image by its name inside the folder, sorted folder by folder, and what is left out.
    """
    images, left = gathered(scanned(str(folder)))
    return in_order(images), tallied(left)


def stat(file: str | Path) -> Stat:
    """Return what tells whether a file changed."""
    status = os.stat(file)  # noqa: PTH116 - making a path of each of many names takes longer than this
    return status.st_size, status.st_mtime_ns, status.st_ino


def scanned(path: str, prefix: str = "") -> Folder:
    """Scan a folder and all folders below it, each once, without following links to folders."""
    top = Folder(path, prefix)
    todo = [top]
    while todo:  # a loop, because folders can be nested deeper than Python's stack
        folder = todo.pop()
        try:
            with os.scandir(folder.path) as entries:
                _sort_out(list(entries), folder)
        except OSError:
            folder.left.append(("cannot be read", folder.prefix or "./"))
        todo += folder.folders.values()
    return top


def _sort_out(entries: list["os.DirEntry[str]"], folder: Folder) -> None:
    prefix, images, left = folder.prefix, folder.images, folder.left
    for entry in entries:
        name = entry.name
        inside = prefix + name
        try:
            if name.startswith(".") and name.lower().endswith(_PLACEHOLDERS):
                left.append((NOT_DOWNLOADED, inside))
            elif name.startswith("."):
                left.append(("hidden", f"{inside}/" if entry.is_dir(follow_symlinks=False) else inside))
            elif entry.is_dir():
                if name.lower() in _SYSTEM_FOLDERS:
                    left.append(("system folder", f"{inside}/"))
                elif entry.is_symlink():
                    folder.links.append(name)
                else:
                    folder.folders[name] = Folder(entry.path, f"{inside}/")
            elif not entry.is_file():
                left.append(("broken link" if entry.is_symlink() else "not a file", inside))
            elif name.lower().endswith(_ENDINGS):
                images[inside] = stat(entry.path)
            else:
                left.append(("system file" if name.lower() in _SYSTEM_FILES else "not an image", inside))
        except OSError:  # a link that leads round in a circle or into a closed folder, or a file that is gone by now
            left.append(("broken link" if entry.is_symlink() else "cannot be read", inside))


def gathered(top: Folder) -> tuple[dict[str, Stat], list[tuple[str, str]]]:
    """Return the images in a folder and in all folders below it, and (reason, name) of what is left out."""
    images: dict[str, Stat] = {}
    left: list[tuple[str, str]] = []
    todo = [top]
    while todo:
        folder = todo.pop()
        images |= folder.images
        left += folder.left
        left += [("link to a folder", f"{folder.prefix}{name}/") for name in folder.links]
        masks = masks_beside_images(folder.folders) if len(folder.folders) > 1 else ()
        for name, inner in folder.folders.items():
            if name in masks:
                for below in inner.below():
                    left += [*below.left, *(("mask", image) for image in below.images)]
            elif folder.images and name.lower() in _THUMBNAILS:
                left.append(("thumbnail folder", inner.prefix))
            else:
                todo.append(inner)
    return images, left


def in_order(files: dict[str, Stat]) -> dict[str, Stat]:
    """Sort files folder by folder, as paths are sorted: a slash comes before every other character."""
    # No name has a NUL, and texts are compared faster than lists of their parts.
    return dict(sorted(files.items(), key=lambda file: file[0].replace("/", "\0")))


def tallied(left: Iterable[tuple[str, str]]) -> tuple[Skipped, ...]:
    """Count what is left out by reason and, where it matters, by ending; the largest counts come first."""
    groups: dict[tuple[str, str], list[str]] = {}
    for reason, name in left:
        matters = reason in {"not an image", "not a file", "broken link", "outside the class folders"}
        groups.setdefault((reason, _ending(name) if matters else ""), []).append(name)
    counted = (
        Skipped(reason, ending, len(names), tuple(sorted(names)[:_SHOWN])) for (reason, ending), names in groups.items()
    )
    return tuple(sorted(counted, key=lambda s: (-s.count, s.reason, s.ending)))


def _ending(name: str) -> str:
    # "img.0001" and "Dr. Who" have no ending that says what kind of file it is; "1.jpg?raw=true" has.
    ending = os.path.splitext(name)[1].lower()  # noqa: PTH122
    if re.fullmatch(r"\.(?=.*[a-z])[a-z0-9_~]{1,12}", ending):
        return ending
    return re.sub(r"(?<=[^\w.]).*", "…", ending) if ending.startswith(_ENDINGS) else ""


def left_out(skipped: Iterable[Skipped]) -> str:
    """Say in a sentence without a full stop what is left out, if any of it could be meant as images; else say nothing.

    >>> left_out([Skipped("not an image", ".heic", 3, ("cat/a.heic",)), Skipped("broken link", ".jpg", 1, ("b.jpg",))])
    '4 files are left out: 3 .heic and 1 broken link, such as cat/a.heic'
    """
    told = [s for s in skipped if s.reason not in _QUIET]
    meant = [s for s in told if s.could_be_images]
    if not meant:
        return ""
    counts: dict[tuple[str, str], int] = {}
    for part in sorted(told, key=lambda s: not s.could_be_images):
        words = _words(part)
        counts[words] = counts.get(words, 0) + part.count
    total = sum(counts.values())
    example = quoted(meant[0].examples[0])
    said = listed((f"{count} {words[count > 1]}" for words, count in counts.items()), 6)
    folders = any(name.endswith("/") for part in told for name in part.examples)
    if total == 1:
        kind = meant[0].ending if meant[0].reason == "not an image" else ""
        noun = "folder" if folders else "file"
        if meant[0].reason == "cannot be read":
            said = f"1 {noun} that cannot be read"
        return f"{said}{f' {noun}' * bool(kind)} is left out: {example}"
    return f"{total} files{' and folders' * folders} are left out: {said}, such as {example}"


def _words(part: Skipped) -> tuple[str, str]:
    """Return how a reason is said of one and of many."""
    if part.reason == "not an image":
        kind = part.ending or "without an ending"
        return kind, kind
    if part.reason == "cannot be read":
        return "that cannot be read", "that cannot be read"
    if part.reason == "outside the class folders":
        return "image outside the class folders", "images outside the class folders"
    if part.reason == NOT_DOWNLOADED:
        return f"picture {NOT_DOWNLOADED}", f"pictures {NOT_DOWNLOADED}"
    if part.reason == "not a file":
        return "special file", "special files"
    first, space, rest = part.reason.partition(" ")
    many = f"{first}s{space}{rest}" if rest.startswith("to") else f"{part.reason}s"
    return part.reason, many


def named(names: Iterable[str], most: int = _SHOWN) -> str:
    """Name a few of many folders or classes; those with blanks are quoted."""
    return listed(map(quoted, names), most)
