"""Folders that lie where class folders lie, and look like something else: they are refused, or a warning says so.

No PyTorch.
"""

from cnnkit.data.layouts import Tree, end_of, full_folders, has_pictures, label_of
from cnnkit.data.splitnames import is_extra, masks_beside_images, named_as_splits
from cnnkit.data.walking import Folder, named
from cnnkit.errors import DataError
from cnnkit.words import agree, listed, quoted

__all__ = ["EXPECTED", "question_classes", "question_names"]

EXPECTED = "Expected DIR/<class>/…, or DIR/train/<class>/… and DIR/test/<class>/…"
_VERSIONS = 3  # a data set has as many splits or versions; more folders of the same structure are rather classes


def question_classes(tree: Tree, place: Folder) -> None:
    """Refuse class folders that are parts of a segmentation data set, or data sets themselves.

    Raises:
        DataError: there is such a folder in the place.
    """
    inside = tree.folders(place)
    full = {name: folder for name, folder in inside.items() if has_pictures(folder)}
    _refuse_masks(tree, place, inside, full)
    _refuse_data_sets(tree, place, full)
    _refuse_copies(tree, place, full)


def question_names(tree: Tree, place: Folder) -> list[str]:
    """Refuse what `question_classes` does and what are rather splits; return what is odd, without full stops.

    Raises:
        DataError: there is such a folder in the place, or all folders have the names of splits.
    """
    inside = {name: f for name, f in tree.folders(place).items() if not is_extra(name)}
    splits = named_as_splits(inside)
    others = sorted(inside.keys() - splits)
    where, shown = tree.path(place), named(sorted(splits))
    if splits and not others:
        for name in splits:
            tree.require_readable(inside[name])
        what = f"{where} has the split folder{'s' * (len(splits) > 1)} {shown}"
        if train := [name for name, split in splits.items() if split == "train"]:
            raise DataError(f"{what}, and no class folders with images in {named(train)}. {EXPECTED}.")
        raise DataError(f"{what} and no train folder. {EXPECTED}.")
    within = {name: {n for n, f in tree.folders(inside[name]).items() if has_pictures(f)} for name in splits}
    if same := [name for name, names in within.items() if names and names <= set(others)]:
        train_folder = quoted(str(tree.root / place.prefix / "train"))
        raise DataError(
            f"{where} has the class folders {named(others)}, and {named(same)} with classes of the same "
            f"names. Move the class folders into {train_folder}, or {named(same)} out of {where}."
        )
    question_classes(tree, place)
    warnings = _question_versions(tree, place, inside)
    extras = [n for n, folder in tree.folders(place).items() if n not in inside and has_pictures(folder)]
    if others and extras:
        warnings.append(f"{named(extras)} {agree(len(extras), 'is read as a class', 'are read as classes')}")
    read = [name for name in sorted(splits) if has_pictures(inside[name])]
    if read:
        verb = agree(len(read), "is read as a class, not as a split", "are read as classes, not as splits")
        warnings.append(f"{named(read)} {verb}, beside {named(others)}")
    return warnings


def _refuse_masks(tree: Tree, place: Folder, inside: dict[str, Folder], full: dict[str, Folder]) -> None:
    masks = masks_beside_images(inside)
    images = full.keys() - masks
    if masks and len(images) == 1:
        (name,) = images
        within = full_folders(full[name])
        hint = ""
        if len(within.keys() - named_as_splits(within)) > 1:
            hint = f" If the folders in {tree.path(full[name])} are the classes, give it with --data."
        raise DataError(
            f"{tree.path(place)} has the folders {named([name, *masks])}: it looks like a segmentation or detection "
            f"data set. cnnkit needs one folder a class.{hint}"
        )


def _refuse_data_sets(tree: Tree, place: Folder, full: dict[str, Folder]) -> None:
    """Refuse folders with train and test folders inside, beside each other or beside classes."""
    found = {name: splits for name, folder in full.items() if (splits := _splits_inside(folder))}
    if len(full) < 2 or not found:
        return
    where = tree.path(place)
    data_sets = {n: s for n, s in found.items() if any(full_folders(f) for f in s.values())}
    if data_sets:
        paths = [tree.path(full[name]) for name in data_sets]
        first = next(iter(data_sets.values()))
        one = "it" if len(paths) == 1 else f"one of {listed(paths)}"
        raise DataError(
            f"{paths[0]} has the split folder{'s' * (len(first) > 1)} {named(first)}, so it looks like a data set and "
            f"not like a class. Give {one} with --data, or move the data sets out of {where}."
        )
    first_class = next(iter(found))
    raise DataError(
        f"{named(found)} in {where} {agree(len(found), 'has', 'have')} split folders inside, "
        f"{named(found[first_class])}. cnnkit expects the classes inside the splits, as in "
        f"{'train/' + first_class!r}. Move the folders."
    )


def _splits_inside(folder: Folder) -> dict[str, Folder]:
    """Return the split folders of a folder, or of the only one in it, if a train folder is among them."""
    while True:
        inside = full_folders(folder)
        splits = named_as_splits(inside)
        if "train" in splits.values():
            chosen = {name: inside[name] for name in sorted(splits)}
            if len(set(splits.values())) > 1:
                return chosen
            if len(inside) == 1 and len(full_folders(next(iter(inside.values())))) > 1:
                return chosen
        if folder.images or len(inside) != 1:
            return {}
        (folder,) = inside.values()


def _refuse_copies(tree: Tree, place: Folder, full: dict[str, Folder]) -> None:
    """Refuse a folder that holds folders of the same names as those beside it."""
    labels = {label_of(name).casefold() for name in full}
    for folder in full.values():
        copy = end_of(folder)
        again = [inner for inner in full_folders(copy) if label_of(inner).casefold() in labels]
        if len(again) > 1:
            raise DataError(
                f"{tree.path(place)} seems to hold the data set again, in {tree.path(copy)}: both have the folders "
                f"{named(sorted(again))}. Give {tree.path(copy)} with --data, or move it out of {tree.path(place)}."
            )


def _question_versions(tree: Tree, place: Folder, inside: dict[str, Folder]) -> list[str]:
    """Refuse a split and others that share class folders; return a warning of other folders that do."""
    full = {name: folder for name, folder in inside.items() if has_pictures(folder)}
    if len(full) < 2:
        return []
    classes = [{*full_folders(end_of(folder))} for folder in full.values()]
    shared = set.intersection(*classes)
    equal = all(c == shared for c in classes)
    few = len(full) <= _VERSIONS
    if len(shared) < 2 or masks_beside_images(shared) or not (equal or (few and named_as_splits(full))):
        return []
    shown = named(sorted(shared))
    if not (few and named_as_splits(full)):  # classes may well have the same folders inside, such as years
        advice = "; if these are splits of a data set, rename them train and test" if few else ""
        return [f"the classes are {named(full)}, and each of them has the folders {shown}{advice}"]
    example = tree.path(next(iter(full.values())))
    raise DataError(
        f"{tree.path(place)} has the folders {named(full)}, and each of them has the folders {shown}: they look like "
        f"splits of a data set. Rename them train and test, or give one of them with --data, such as {example}. If "
        "they are classes, put their images directly into them."
    )
