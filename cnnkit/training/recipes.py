"""The recipe that a network is trained by: its own, what a file says, and what the user changes."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cnnkit.errors import CnnkitError
from cnnkit.recipe import Recipe
from cnnkit.runfile import is_whole
from cnnkit.sources import find


def default_recipe(model: str, /, **changes: object) -> Recipe:
    """Return the recipe that a network is trained by unless told otherwise, with `changes` applied.

    Fields that lose their effect by the changes get their defaults; a change without effect is an error.

    With `weights` of a run, the split is theirs, except for what `changes` says of it: so no image that they were
    trained on is held out. With weights of the zoo, or of a version before 0.2, so it is for their own data set.

    Args:
        model: a registered network, `torchvision/NAME` or `package.module:factory`.
        changes: values by field; None changes nothing.

    Raises:
        UnknownNameError: no such network.
        UsageError: it names weights, or a change is not valid or without effect.

    >>> import cnnkit
    >>> cnnkit.default_recipe("mnist-cnn", epochs=2).learning_rate
    0.001
    """
    return recipe_over(model, {}, changes)


def recipe_over(model: str, base: Mapping[str, object], changes: Mapping[str, object]) -> Recipe:
    """Return what `default_recipe` does, with the fields of `base`, as of a `run.toml`, between the two."""
    source = find(model)
    source.require_trainable()
    own = {"model": model, **source.recipe}
    given = {name: value for name, value in changes.items() if value is not None}
    recipe = Recipe.layered(own, base, given, strict=given)
    explicit = set(given)
    if not is_whole(base):  # what is written by hand has an effect, or is refused, unless a change takes it away
        Recipe.layered(own, base, strict=base)
        explicit |= {name for name, value in base.items() if getattr(recipe, name) == value}
    split = _split_of(recipe) if recipe.weights else {}
    return Recipe.layered(own, split, base, given, strict=explicit)


def _split_of(recipe: Recipe) -> dict[str, Any]:
    """Return the split settings that a recipe takes over from its starting weights."""
    with suppress(CnnkitError, OSError, ValueError):  # what is wrong with the weights is told when they are read
        source = find(recipe.weights)
        card = source.card()
        if card is None:
            return {}
        own_data = Path(recipe.data).expanduser().resolve().name == card.dataset or recipe.data == card.dataset
        settings = card.split_settings
        if own_data or (source.path is not None and settings.get("split_by") == "content"):
            return settings
    return {}
