"""`lenet`: a network of the registry, cnnkit's own or of an installed package; its zoo entry where it has one."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from cnnkit import registry, zoo
from cnnkit.errors import UsageError
from cnnkit.sources.source import Exported, Shape, Source
from cnnkit.sources.zoo import ZooEntry

if TYPE_CHECKING:
    from torch import nn

    from cnnkit.card import ModelCard


class Registered(Source):
    """A network that cnnkit builds by its name; where weights are needed, those of its zoo entry."""

    rank = 20
    trainable = True

    def __init__(self, spec: registry.ModelSpec) -> None:
        self._spec = spec
        self.text = spec.name
        self.smallest_side = spec.smallest_side
        self.recipe: Mapping[str, Any] = spec.recipe_fields

    @classmethod
    def find(cls, ref: object) -> Self | None:
        spec = registry.OWN.get(ref) if isinstance(ref, str) else None
        return None if spec is None else cls(spec)

    @classmethod
    def offered(cls) -> Iterable[str]:
        return registry.OWN

    @cached_property
    def _entry(self) -> ZooEntry | None:
        return ZooEntry(self.text, zoo.entry(self.text).name) if zoo.has(self.text) else None

    @cached_property
    def name(self) -> str:  # type: ignore[override]
        return self.text if self._entry is None else self._entry.name

    @cached_property
    def trained(self) -> bool:  # type: ignore[override]
        return self._entry is not None

    def input_shape(self) -> Shape:
        return self._spec.input_shape

    def takes_shape(self) -> bool:
        from cnnkit.models.building import parameters

        return "input_shape" in parameters(registry.import_factory(self._spec.factory))

    def build(self, num_classes: int | None = None, input_shape: Shape | None = None) -> "nn.Module":
        from cnnkit.models.building import call, require_possible, sizes

        require_possible(input_shape)
        least = self.smallest_side
        if input_shape is not None and min(input_shape[1:]) < least:
            raise UsageError(
                f"{self.text} cannot take images of {sizes(input_shape)}; the smallest that it can take are "
                f"{least}×{least}."
            )
        factory = self._spec.factory
        return call(registry.import_factory(factory), factory, num_classes or self._spec.num_classes, input_shape)

    def card(self) -> "ModelCard | None":
        return None if self._entry is None else self._entry.card()

    def weights(self, input_shape: Shape | None = None, *, trust_code: bool = False) -> "tuple[nn.Module, ModelCard]":
        return super().weights() if self._entry is None else self._entry.weights()

    def exported(self) -> Exported | None:
        return None if self._entry is None else self._entry.exported()


class Installed(Registered):
    """A network that another package registers. They are asked last, because looking for entry points takes long."""

    rank = 90

    @classmethod
    def find(cls, ref: object) -> Self | None:
        spec = registry.models().get(ref) if isinstance(ref, str) else None
        return None if spec is None else cls(spec)

    @classmethod
    def offered(cls) -> Iterable[str]:
        return registry.models().keys() - registry.OWN.keys()
