"""What the weights that a run starts from have seen of the images that it holds out."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from cnnkit.card import SPLIT_SETTINGS, ModelCard
from cnnkit.data import sets
from cnnkit.data.catalogue import HELD_OUT
from cnnkit.data.loaded import ImageData
from cnnkit.data.opening import open_catalogue
from cnnkit.data.results import Exposure, Pretraining
from cnnkit.data.splits import Part
from cnnkit.errors import CnnkitError, OverlapError
from cnnkit.progress import LoadProgress, Notice
from cnnkit.recipe import Recipe
from cnnkit.training.finetuning import StartingWeights
from cnnkit.training.membership import Membership, membership_of
from cnnkit.words import counted, listed


def examine(
    source: StartingWeights, recipe: Recipe, data: ImageData, *, data_dir: Path | None
) -> Generator[LoadProgress | Notice, None, tuple[Pretraining, Membership | None]]:
    """Find the held-out images that starting weights have seen; yields progress and notes.

    Returns:
        What the card says of these weights, and what they have seen, None where that is not known.

    Raises:
        OverlapError: there are such images, and the recipe does not allow them.
    """
    card = source.card
    if data.name == card.dataset and card.split_settings == {name: getattr(recipe, name) for name in SPLIT_SETTINGS}:
        yield Notice(f"the split is that of {source.name}: by {recipe.split_by}, split seed {recipe.split_seed}")
    seen = yield from _seen(source, card, recipe, data_dir)
    exposure = seen.exposure(data.catalogue, "all") if seen is not None else Exposure()
    if seen is None or not exposure.known or exposure.changed:
        about = f"nothing says which images {source.name} was trained on"
        if card.dataset:
            about = f"the images of {card.dataset} that {source.name} was trained on cannot be compared with these"
        note = f"pretraining data unknown: {about}, and it may have seen those that are held out here"
        yield Notice(note, warning=True)
        return Pretraining(source.name, card.weights_sha256), None
    # What chose the best epoch of those weights is no fair test of these.
    known = data.catalogue
    trained: dict[Part, list[str]] = {part: known.names(part, seen.trained) for part in HELD_OUT}
    chosen = known.names("test", seen.validated - seen.trained)
    counts = {part: len(names) + len(chosen) * (part == "test") for part, names in trained.items()}
    overlap: dict[str, int] = {part: number for part, number in counts.items() if number}
    if overlap and not recipe.allow_overlap:
        result = {**trained, "test": [*trained["test"], *chosen]}
        raise OverlapError(_refusal(source, card, recipe, data, trained, chosen), result=result)
    if overlap:
        parts = " and ".join(counted(number, f"{part} image") for part, number in overlap.items())
        yield Notice(f"{source.name} has seen {parts}, so that results look better than they are", warning=True)
    if seen.pretraining == "unknown":
        note = f"pretraining data unknown: {source.name} began with weights whose images are not known"
        yield Notice(note, warning=True)
    elif not seen.exact:
        note = f"the images of {source.name}, of a version before 0.2, are known by the names and sizes of files only"
        yield Notice(note)
    return Pretraining(source.name, card.weights_sha256, seen.pretraining != "unknown" and seen.exact, overlap), seen


def _seen(
    source: StartingWeights, card: ModelCard, recipe: Recipe, data_dir: Path | None
) -> Generator[LoadProgress | Notice, None, Membership | None]:
    """Return the images that weights have seen: by their list, by this run's data, or by their own, if at hand."""
    seen = membership_of(card, source.name)
    if seen is not None or card.recipe is None:
        return seen
    own = Recipe.recorded(card.recipe)
    for given in (recipe.data, None):
        with suppress(CnnkitError):
            place = given or sets.find_own(own.data, card.labels, data_dir)
            options = replace(own.data_options(data_dir), data=place)
            known = yield from open_catalogue(options, card.preprocessing)
            seen = membership_of(card, source.name, known)
            if seen is not None:
                return seen
    return None


def _refusal(
    source: StartingWeights,
    card: ModelCard,
    recipe: Recipe,
    data: ImageData,
    trained: Mapping[Part, Sequence[str]],
    chosen: Sequence[str],
) -> str:
    def share(part: Part, names: Sequence[str]) -> str:
        return f"{len(names):,} of {counted(len(data.catalogue.parts[part]), f'{part} image')} ({listed(names)})"

    said = [f"was trained on {share(part, names)}" for part, names in trained.items() if names]
    said += [f"had its best epoch chosen on {share('test', chosen)}"] * bool(chosen)
    other = [name for name, value in card.split_settings.items() if getattr(recipe, name) != value]
    options = ", ".join(f"--{name.replace('_', '-')} {card.split_settings[name]}" for name in other)
    advice = f"Split as for those weights: {options}. Or add" if other else "Add"
    return (
        f"{source.name} {' and '.join(said)}, so that this run would look better than it is. {advice} "
        "--allow-overlap, which the card and reports then say."
    )
