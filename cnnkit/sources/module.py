"""From Python: an `nn.Module`, with labels and preprocessing, or a card."""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from cnnkit.errors import UsageError
from cnnkit.sources.source import Shape, Source

if TYPE_CHECKING:
    from torch import nn

    from cnnkit.card import ModelCard
    from cnnkit.images import Preprocessing
    from cnnkit.runtime.foreign.options import ForeignOptions


class Module(Source):
    """A network that is built. What is made of it is made of a copy, so that it is left as it was."""

    rank = 0
    trained = True
    named = False

    def __init__(self, network: "nn.Module") -> None:
        # No reference is written so: no card of it can be taken for one of another network.
        super().__init__(f"{type(network).__name__} (nn.Module)")
        self._network = network
        self._said: dict[str, Any] = {}

    @property
    def stem(self) -> str:
        return type(self._network).__name__

    @classmethod
    def find(cls, ref: object) -> Self | None:
        torch = sys.modules.get("torch")
        return cls(ref) if torch is not None and isinstance(ref, torch.nn.Module) else None

    def describe(self, options: "ForeignOptions") -> None:
        given = options.given
        if "card" in given:
            others = given.keys() - {"card"}
        elif "preprocessing" in given:
            others = given.keys() - {"preprocessing", "labels"}
        else:
            others = given.keys() & {"preprocess", "pixels", "channel_order", "scores"}
        if others:
            raise UsageError(
                "of an nn.Module say card, or preprocessing and labels, or input_shape, mean, std and labels; leave "
                f"out {', '.join(sorted(others))}."
            )
        self._said = given

    def require_trainable(self) -> None:
        raise UsageError(
            f"{self.text} cannot be built anew, as a training needs; name the function or class that makes it, as "
            "package.module:factory."
        )

    def input_shape(self) -> Shape | None:
        form = self._said["card"].preprocessing if "card" in self._said else self._said.get("preprocessing")
        shape = self._said.get("input_shape", getattr(self._network, "input_shape", None))
        return form.input_shape if form else tuple(shape) if isinstance(shape, list | tuple) else None

    def network(self, input_shape: Shape | None = None, *, trust_code: bool = False) -> "nn.Module":
        from cnnkit.models.building import copied

        network = copied(self._network)
        if network is None:
            raise UsageError(f"copy.deepcopy cannot copy {self.text}, and the module itself must not be changed.")
        return network.cpu()

    def weights(self, input_shape: Shape | None = None, *, trust_code: bool = False) -> "tuple[nn.Module, ModelCard]":
        from cnnkit.card import ModelCard
        from cnnkit.models.building import materialise
        from cnnkit.models.networks import weights_hash
        from cnnkit.models.trial import require_classifier
        from cnnkit.runtime.foreign.labels import class_names

        network, card = self.network().eval(), self._said.get("card")
        form = self._form(input_shape) if card is None else card.preprocessing
        materialise(network, form.input_shape, self.text)
        known = None if card is None else len(card.labels)
        classes = require_classifier(network, self.text, form.input_shape, known).classes
        if card is None:
            names = class_names(classes, self._said.get("labels"), {}, self.text)
            self.assumptions = (*self.assumptions, names.source)
            card = ModelCard(self.text, names.labels, form, synsets=names.synsets, numbered_from=names.first)
        return network, replace(card, weights_sha256=weights_hash(network.state_dict()))

    def _form(self, input_shape: Shape | None) -> "Preprocessing":
        shape = input_shape or self.input_shape()
        if "preprocessing" in self._said:
            form: Preprocessing = self._said["preprocessing"]
            return form
        if shape is None:
            raise UsageError(
                f"{self.text} does not say what images it takes: give preprocessing=cnnkit.Preprocessing(…) and "
                "labels=…, or card=cnnkit.ModelCard(…); to benchmark it, shape=(channels, height, width)."
            )
        scale = {name: self._said[name] for name in ("mean", "std") if name in self._said}
        self.assumptions = () if scale else ("no mean and std given: pixels are scaled to [0, 1]",)
        try:
            return replace(self.preprocessing(shape), **scale)
        except ValueError as error:
            raise UsageError(f"{self.text}: {error}.") from error
