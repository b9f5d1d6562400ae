"""What the weights that a run starts from have seen of the images that it holds out."""

from collections.abc import Generator, Sequence
from pathlib import Path

from cnnkit import datasets
from cnnkit.card import SPLIT_SETTINGS, ModelCard
from cnnkit.errors import CnnkitError, OverlapError
from cnnkit.recipe import Recipe
from cnnkit.results import LoadNote, LoadProgress, Pretraining
from cnnkit.splits import Part
from cnnkit.training.data import ImageData
from cnnkit.training.finetuning import Source
from cnnkit.training.membership import Membership, membership_of
from cnnkit.training.opening import open_catalogue
from cnnkit.words import counted

_NAMED = 3


def examine(
    source: Source, recipe: Recipe, data: ImageData, *, data_dir: Path | None
) -> Generator[LoadProgress | LoadNote, None, tuple[Pretraining, frozenset[str]]]:
    """Find the held-out images that starting weights have seen; yields progress and notes.

    Returns:
        What the card says of these weights, and the contents that they were trained on, as far as they are known.

    Raises:
        OverlapError: there are such images, and the recipe does not allow them.
    """
    card = source.card
    if card is None:
        yield LoadNote(f"pretraining data unknown: {source.name} may have seen the images that are held out here")
        return Pretraining(source.name), frozenset()
    if card.split_settings == {name: getattr(recipe, name) for name in SPLIT_SETTINGS}:
        yield LoadNote(f"the split is that of {source.name}: by {recipe.split_by}, split seed {recipe.split_seed}")
    seen = yield from _seen(source, card, data, data_dir)
    if seen is None or seen.hashes != data.catalogue.record.hashes:
        yield LoadNote(
            f"it is not known which images {source.name} was trained on, so that it may have seen those that are held "
            "out here",
            warning=True,
        )
        return Pretraining(source.name, card.weights_sha256), frozenset()
    # What chose the best epoch of those weights is no fair test of these.
    found: dict[Part, list[str]] = {
        "validation": _names(data, "validation", seen.trained),
        "test": _names(data, "test", seen.trained | seen.validated),
    }
    overlap: dict[str, int] = {part: len(names) for part, names in found.items() if names}
    if overlap and not recipe.allow_overlap:
        raise OverlapError(_refusal(source, data, found), result=found)
    if overlap:
        parts = " and ".join(f"{number:,} {part} images" for part, number in overlap.items())
        yield LoadNote(f"{source.name} has seen {parts}, so that results look better than they are", warning=True)
    known = seen.pretraining != "unknown"
    if not known:
        yield LoadNote(f"pretraining data unknown: {source.name} began with weights whose images are not known")
    return Pretraining(source.name, card.weights_sha256, known, overlap), seen.trained


def _seen(
    source: Source, card: ModelCard, data: ImageData, data_dir: Path | None
) -> Generator[LoadProgress | LoadNote, None, Membership | None]:
    """Return the images that weights have seen: by their list, by this run's data, or by their own, if at hand."""
    seen = membership_of(card, source.name, data.catalogue)
    if seen is not None or card.recipe is None:
        return seen
    try:
        recipe = Recipe.recorded(card.recipe)
        recipe = recipe.override({"data": datasets.find_own(recipe.data, card.labels, data_dir)})
        own = yield from open_catalogue(recipe, card.preprocessing, data_dir=data_dir)
    except CnnkitError:
        return None
    return membership_of(card, source.name, own)


def _names(data: ImageData, part: Part, seen: frozenset[str]) -> list[str]:
    known = data.catalogue
    return [known.origins[at] for at in known.parts[part].tolist() if known.contents[at] in seen]


def _refusal(source: Source, data: ImageData, found: dict[Part, list[str]]) -> str:
    parts = " and ".join(
        f"{len(names):,} of {counted(len(data.split(part)), f'{part} image')} ({_listed(names)})"
        for part, names in found.items()
        if names
    )
    return (
        f"{source.name} was trained on {parts}, so that this run would look better than it is. Split as those weights "
        "were: leave out --split-seed and the fractions. Or add --allow-overlap, which the card and reports then say."
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
