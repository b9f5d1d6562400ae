"""What size of images a network is trained on, where nobody says it: that of small images, or the network's own."""

from contextlib import suppress

from cnnkit.data.traits import LARGEST_SIDE, ImageTraits
from cnnkit.errors import UsageError
from cnnkit.models.building import sizes
from cnnkit.recipe import Recipe
from cnnkit.sources import Shape, Source, find


def input_for(recipe: Recipe) -> "Shape | InputChoice":
    """Return the input of a run that begins with random weights, or what chooses it by the images.

    It is the recipe's; else that of the images, where all have one size of at most 64×64 and the network can be built
    for it; else the network's own size, in the channels of the images. A network that is made for one input keeps it.
    An input that a run's run.toml holds was chosen for the images of that run: it is kept, and a note says what these
    images would have got.

    Raises:
        UnknownNameError, UsageError: there is no such network.
    """
    if recipe.input_shape is not None and "input_shape" in recipe.model_fields_set:
        return recipe.input_shape
    source = find(recipe.model)
    own = source.input_shape()
    if own is not None and (len(own) != 3 or not all(isinstance(size, int) and size > 0 for size in own)):
        raise UsageError(
            f"{recipe.model} says that its input_shape is {own!r}; expected channels, height and width, such as "
            "(3, 32, 32)."
        )
    if own is not None and not source.takes_shape():
        return recipe.input_shape or own
    return InputChoice(recipe, source, own)


class InputChoice:
    """Chooses the input of a network by the images of a data set.

    Attributes:
        note: what a user should know of the choice, as a sentence without its full stop; None for nothing.
    """

    def __init__(self, recipe: Recipe, source: Source, own: Shape | None) -> None:
        self._model, self._data, self._own, self._kept = recipe.model, recipe.data, own, recipe.input_shape
        self._smallest_side = source.smallest_side
        self.note: str | None = None

    def __call__(self, images: ImageTraits) -> Shape:
        """Return channels, height and width.

        Raises:
            UsageError: neither the network nor the images say a size.
        """
        if self._kept is None:
            return self._chosen(images)
        with suppress(UsageError):
            chosen, self.note = self._chosen(images), None
            if chosen != self._kept:
                size = "x".join(map(str, chosen))
                self.note = f"the input is {sizes(self._kept)} by the recipe file; for these images: --input {size}"
        return self._kept

    def _chosen(self, images: ImageTraits) -> Shape:
        fits = images.size is not None and min(images.size) >= self._smallest_side
        if images.size is not None and max(images.size) <= LARGEST_SIDE and fits:
            return images.channels, *images.size
        if self._own is None:
            raise UsageError(
                f"{self._model} does not say its input, and the images of {self._data} are not all of one size of at "
                f"most {LARGEST_SIDE}×{LARGEST_SIDE}; give channels × height × width, as in --input 3x32x32."
            )
        _, height, width = self._own
        if images.size is not None and not fits:
            least = self._smallest_side
            self.note = (
                f"{self._model} takes images of {least}×{least} or larger, so those of {self._data}, "
                f"{sizes(images.size)}, are enlarged to {sizes((height, width))}"
            )
        return images.channels, height, width
