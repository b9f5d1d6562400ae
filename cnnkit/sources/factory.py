"""`package.module:factory`: the user's own network."""

import re
from typing import TYPE_CHECKING, Self

from cnnkit import registry
from cnnkit.sources.source import Shape, Source

if TYPE_CHECKING:
    from torch import nn


class Factory(Source):
    """What a function or class of the user's code makes."""

    rank = 60
    trainable = True
    runs_code = True

    @classmethod
    def find(cls, ref: object) -> Self | None:
        return cls(ref) if isinstance(ref, str) and re.fullmatch(r"[\w.]+:[\w.]+", ref) else None

    def input_shape(self) -> Shape | None:
        shape = getattr(registry.import_factory(self.text), "input_shape", None)
        # Anything else, such as a property of what the factory makes, says nothing yet.
        return tuple(shape) if isinstance(shape, list | tuple) else None

    def takes_shape(self) -> bool:
        from cnnkit.models.building import parameters

        return "input_shape" in parameters(registry.import_factory(self.text))

    def build(self, num_classes: int | None = None, input_shape: Shape | None = None) -> "nn.Module":
        from cnnkit.models.building import call

        return call(registry.import_factory(self.text), self.text, num_classes, input_shape)
