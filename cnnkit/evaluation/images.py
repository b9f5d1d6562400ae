"""The images that a network is measured on, divided and labelled as its card says."""

from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from cnnkit.card import ModelCard
from cnnkit.data import sets
from cnnkit.data.catalogue import Catalogue
from cnnkit.data.loaded import ImageData, Split, take
from cnnkit.data.opening import open_catalogue
from cnnkit.data.options import Choice
from cnnkit.data.results import Exposure
from cnnkit.data.splits import PARTS, SplitName
from cnnkit.errors import CheckpointError, DataError
from cnnkit.progress import LoadProgress, Notice
from cnnkit.recipe import Recipe
from cnnkit.runtime.classifier import Network
from cnnkit.training.membership import LIST, Membership, membership_of, positions_of
from cnnkit.words import agree, counted


def logits_by_batch(network: Network, name: str, split: Split, batch_size: int) -> Iterator[Tensor]:
    """Yield the logits of a split's images in order, float32 [n, classes], `batch_size` images at a time.

    Raises:
        CheckpointError: they give no probabilities; the network is called `name` in it.
    """
    for images, _ in split.batches(batch_size):
        logits = torch.from_numpy(network.logits(images.numpy()))
        if not logits.softmax(1).isfinite().all():
            raise CheckpointError(f"{name} gives scores that are not finite numbers; check its weights.")
        yield logits


def load_for(
    card: ModelCard,
    reference: str = "",
    chosen: Choice = Choice(),  # noqa: B008 - it is frozen
) -> Generator[LoadProgress | Notice, None, tuple[ImageData, SplitName]]:
    """Load the images that a network is to be measured on, in the form of its card, and say which split to use.

    Without a split it is the test split of the training data, or its validation split where it has no test split; of
    any other folder it is the test split that the folder gives, or the whole. The data says in its `exposure` what the
    network has seen of them.

    Args:
        card: of the network.
        reference: that names the network; a list of its images may lie beside its file.
        chosen: the images, as in `cnnkit.evaluate`.

    Raises:
        DataError: no data set named by anything, one that is not at hand, or classes that the network does not know.
    """
    known, split = (yield from catalogue_for(card, chosen)), chosen.split
    seen = membership_of(card, reference, known)
    used = split or _fair_split(card, known, seen, given=chosen.data is not None)
    exposure = seen.exposure(known, used) if seen else Exposure(pretraining=card.known_pretraining)
    warnings = known.warnings + tuple(_warnings(card, known, used, exposure, chosen=split is not None))
    for warning in warnings:
        yield Notice(warning, warning=True)
    loaded = yield from take(known, PARTS if used == "all" else (used,))
    return replace(loaded, exposure=exposure, warnings=warnings), used


def catalogue_for(card: ModelCard, chosen: Choice) -> Generator[LoadProgress | Notice, None, Catalogue]:
    """Find the images of a data set, or those that a network was trained on, divided and labelled as its card says.

    Raises:
        DataError: no data set named by anything, one that is not at hand, or classes that the network does not know.
    """
    data = chosen.data
    if not data and not card.recipe:
        raise DataError(f"{card.model} does not say what it was trained on. Name a data set with --data.")
    recipe = Recipe.recorded(card.recipe or {})
    own = data is None or Path(data).expanduser().resolve().name == card.dataset
    options = replace(
        recipe.data_options(chosen.data_dir),
        data=data or sets.find_own(recipe.data, card.labels, chosen.data_dir),
        skip_damaged=chosen.skip_damaged or (own and recipe.skip_damaged),
    )
    known = yield from open_catalogue(options, card.preprocessing, fewest=1)
    return known.relabelled(card.labels, card.synsets, card.numbered_from)


def _fair_split(card: ModelCard, known: Catalogue, seen: Membership | None, *, given: bool) -> SplitName:
    """Return `all` only for an image folder that the network cannot have been trained on."""
    has_test = len(known.parts["test"]) > 0
    if given and "test" not in known.record.given:
        exposed = seen.exposure(known, "all") if seen is not None else Exposure()
        own = exposed.trained + exposed.validated + exposed.changed > 0 or known.fingerprint == card.fingerprint
        # A folder of the same name may be the one of the training, moved or with images added since.
        own = own or (not exposed.known and known.name == card.dataset)
        if not own:
            return "all"
    return "test" if has_test else "validation"


def _warnings(card: ModelCard, known: Catalogue, used: SplitName, exposure: Exposure, *, chosen: bool) -> Iterator[str]:
    """Yield what takes value from the figures of a split."""
    if card.independent:
        yield (
            "the network gives each class a probability by itself; here the largest one is its answer, and loss and "
            "calibration are of the softmax"
        )
    count = len(positions_of(known, used))
    if not count:
        return
    if not card.trained:
        yield "the weights are random: the network has not been trained"
    if used == "validation" and not chosen:
        yield f"there is no test set in {known.name}; these are validation figures: the images chose the best epoch"
    if exposure.trained:
        yield f"the network was trained on {_of(exposure.trained, count)}, so it does better on them than on new ones"
    if exposure.validated and (chosen or used != "validation"):
        yield f"the network's best epoch was chosen on {_of(exposure.validated, count)}"
    if exposure.changed:
        yield (
            f"{counted(exposure.changed, 'image')} of {known.name} {agree(exposure.changed, 'has', 'have')} the name "
            "of one that the network was trained on, and another content: where it was only saved anew, the network "
            "has seen it"
        )
    if not exposure.known and card.recipe and (known.record.hashes == "file" or known.name == card.dataset):
        arrays = card.split is not None and card.split.hashes == "pixels" and known.record.hashes == "file"
        listless = f"it has no {LIST} beside it"
        why = f"it was trained on {card.dataset}, whose images are no files" if arrays else listless
        yield f"it is not known whether the network was trained on some of these images, because {why}"
    started = card.pretraining
    if started is not None and started.overlap:
        parts = " and ".join(counted(number, f"{part} image") for part, number in started.overlap.items())
        yield f"the starting weights, {started.weights}, had seen {parts} of the training's data set (--allow-overlap)"
    if started is not None and not started.known:
        yield f"pretraining data unknown: the weights of {started.weights} may have seen these images"
    if card.recipe and card.recipe.get("limit_batches"):
        batches = counted(card.recipe["limit_batches"], "batch", "batches")
        yield f"the weights are those of a dry run, of {batches} an epoch, so no figure of them counts"
    # Of a split that the folder gives, its reader has said it.
    if used != "all" and used not in known.record.given and (missing := known.missing(used)):
        missed = counted(len(missing), "class", "classes")
        yield f"{missed} of {len(known.classes):,} {agree(len(missing), 'has', 'have')} no {used} images"


def _of(number: int, count: int) -> str:
    return f"all of these {counted(count, 'image')}" if number == count else f"{number:,} of these {count:,} images"
