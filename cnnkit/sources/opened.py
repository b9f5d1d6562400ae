"""From Python: a classifier that `cnnkit.load` has opened."""

import sys
from typing import TYPE_CHECKING, Any, Self

from cnnkit.errors import UsageError
from cnnkit.sources.source import Shape, Source

if TYPE_CHECKING:
    from torch import nn

    from cnnkit.card import ModelCard
    from cnnkit.runtime.classifier import Classifier
    from cnnkit.runtime.foreign.options import ForeignOptions
    from cnnkit.runtime.providers import ProviderOptions


class Opened(Source):
    """An open classifier, which is used as it is; of one that runs on PyTorch, also its network."""

    rank = 0
    trained = True

    def __init__(self, classifier: "Classifier") -> None:
        super().__init__(classifier.name)
        self._classifier = classifier
        self._module: Any = getattr(classifier.network, "module", None)  # of a network of PyTorch
        self.has_layers = self._module is not None

    @classmethod
    def find(cls, ref: object) -> Self | None:
        runtime = sys.modules.get("cnnkit.runtime.classifier")
        return cls(ref) if runtime is not None and isinstance(ref, runtime.Classifier) else None

    def describe(self, options: "ForeignOptions") -> None:
        raise self._is_open()

    def _is_open(self) -> UsageError:
        return UsageError(f"{self.text} is open already; name its device and its options where it is opened.")

    def input_shape(self) -> Shape:
        return self._classifier.card.preprocessing.input_shape

    def network(self, input_shape: Shape | None = None, *, trust_code: bool = False) -> "nn.Module":
        return self.weights()[0]

    def weights(self, input_shape: Shape | None = None, *, trust_code: bool = False) -> "tuple[nn.Module, ModelCard]":
        from copy import deepcopy

        if self._module is None:
            raise UsageError(f"{self.text} is open on onnxruntime; give the model reference instead of the classifier.")
        return deepcopy(self._module).cpu(), self._classifier.card

    def open(self, *, device: str = "auto", provider: "ProviderOptions | None" = None, **_: bool) -> "Classifier":
        if device != "auto" or provider is not None:
            raise self._is_open()
        return self._classifier
