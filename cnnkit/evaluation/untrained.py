"""Networks with random weights, measured as trained ones are: what training has to beat."""

from collections.abc import Generator

import torch

from cnnkit.card import ModelCard
from cnnkit.data.loaded import load
from cnnkit.data.options import Choice
from cnnkit.errors import UsageError
from cnnkit.models.networks import TorchNetwork, weights_hash
from cnnkit.models.trial import require_classifier
from cnnkit.progress import LoadProgress, Notice
from cnnkit.recipe import Recipe
from cnnkit.sources import Shape, Source
from cnnkit.training.inputs import input_for
from cnnkit.training.optimisation import initialise
from cnnkit.training.runs import versions


def untrained_network(
    source: Source,
    chosen: Choice,
    *,
    input_shape: Shape | None = None,
    seed: int = 0,
    device: str = "auto",
) -> Generator[LoadProgress | Notice, None, TorchNetwork]:
    """Build a network as the first step of a training finds it: for these images, with random weights.

    The options are those of `cnnkit.evaluate`; a training with this seed begins with the same weights.

    Raises:
        UsageError: no data for a network without a recipe, or no classifier of such images.
        UnknownNameError, DataError, DeviceError: as in a training.
    """
    ref = source.text
    if chosen.data is None and "data" not in source.recipe:
        raise UsageError(f"{ref} does not say what it is trained on. Name a data set with --data.")
    given = {"model": ref, "data": chosen.data, "input_shape": input_shape, "seed": seed}
    given["skip_damaged"] = chosen.skip_damaged
    recipe = Recipe.layered(source.recipe, given)
    loaded = yield from load(recipe.data_options(chosen.data_dir), input_for(recipe), only=("train",))
    form = loaded.preprocessing
    shape = form.input_shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = source.create(len(loaded.classes), shape)
        require_classifier(network, ref, shape, len(loaded.classes))
        initialise(network, recipe.initialisation)
    card = ModelCard(
        model=ref,
        labels=loaded.classes,
        preprocessing=form,
        dataset=loaded.name,
        fingerprint=loaded.fingerprint,
        recipe=recipe.model_dump(mode="json"),
        versions=versions(),
        weights_sha256=weights_hash(network.state_dict()),
        split=loaded.catalogue.record,
        trained=False,
    )
    return TorchNetwork(network, card, device)
