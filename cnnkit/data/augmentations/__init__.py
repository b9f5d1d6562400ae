"""How training images are varied: a module each, whose name is the augmentation's and whose `AUGMENTATION` does it.

Other packages add theirs by the entry point `cnnkit.augmentations`. The names are known without PyTorch.
"""

import importlib
import pkgutil
from typing import TYPE_CHECKING, Protocol

from cnnkit.errors import UnknownNameError
from cnnkit.plugins import load, registered

if TYPE_CHECKING:
    from torch import Generator, Tensor

ENTRY_POINTS = "cnnkit.augmentations"
"""The entry-point group in which installed packages register an `Augmentation`; its name is the entry point's."""

_OWN = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


class Augmentation(Protocol):
    """What varies a batch, on its device. What happens to image i in an epoch depends on its own numbers only."""

    def draw(self, images: int, generator: "Generator") -> "Tensor":
        """Return the random numbers of an epoch, [images, K]: row i is of image i, however many follow it."""

    def apply(self, images: "Tensor", numbers: "Tensor") -> "Tensor":
        """Vary a batch.

        Args:
            images: uint8 [N, C, H, W].
            numbers: the rows of `draw` that belong to these images, [N, K].

        Returns:
            uint8 [N, C, H, W].
        """


def names() -> list[str]:
    """Return the names that a recipe may give: `none`, those of cnnkit, and those of installed packages."""
    return list(dict.fromkeys(["none", *_OWN, *registered(ENTRY_POINTS)]))


def is_known(name: str) -> bool:
    """Whether there is an augmentation of a name; those of packages are looked for where it is not cnnkit's own."""
    return name == "none" or name in _OWN or name in names()


def augmentation(name: str) -> Augmentation | None:
    """Return the augmentation of a name; None for `none`.

    Raises:
        UnknownNameError: with the close matches.
        UsageError: that of an installed package cannot be imported, or is none.
    """
    if name == "none":
        return None
    if name in _OWN:
        own: Augmentation = importlib.import_module(f"{__name__}.{name}").AUGMENTATION
        return own
    found: Augmentation | None = load(
        ENTRY_POINTS,
        name,
        lambda found: all(callable(getattr(found, method, None)) for method in ("draw", "apply")),
        "an object with the methods of cnnkit.data.augmentations.Augmentation",
    )
    if found is None:
        raise UnknownNameError("augmentation", name, names())
    return found
