"""The protocol that every kind of model reference follows, and what goes in and out of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

from cnnkit import zoo
from cnnkit.errors import CheckpointError, UsageError
from cnnkit.registry import short_name

if TYPE_CHECKING:
    from torch import nn

    from cnnkit.card import ModelCard
    from cnnkit.images import Preprocessing
    from cnnkit.runtime.classifier import Classifier
    from cnnkit.runtime.foreign.options import ForeignOptions
    from cnnkit.runtime.providers import ProviderOptions

Ref: TypeAlias = "str | Path | nn.Module | Classifier | Source"
"""What a function takes as a model: a reference, an `nn.Module`, an open classifier, or a source that was found."""
Shape = tuple[int, int, int]
"""Channels, height and width."""


@dataclass(frozen=True)
class Exported:
    """An ONNX file.

    Attributes:
        model: the file, or its content.
        name: what to call it.
        verified: its hash is that of the zoo.
    """

    model: Path | bytes
    name: str
    verified: bool = False

    @property
    def path(self) -> Path | None:
        """The file; None for a content."""
        return self.model if isinstance(self.model, Path) else None

    @property
    def content(self) -> bytes:
        """What is in it."""
        return self.model.read_bytes() if isinstance(self.model, Path) else self.model

    @property
    def is_of_zoo(self) -> bool:
        """Whether it belongs to the zoo, whose files stay as they are."""
        return self.path is None or self.path.resolve().is_relative_to(zoo.folder().resolve())


class Source:
    """A network that a reference names. A kind of reference is a subclass, in a file of its own.

    A subclass tells in `find` which references it understands, and overrides what it can do. Importing its file must
    not import PyTorch; methods may.

    Attributes:
        rank: kinds of a lower rank are asked first; those of other packages after all of these.
        text: the reference as it was written.
        name: what results call it.
        path: the user's file that has the network; None where there is none.
        run: the run folder that it stands for; None for anything else.
        trained: it names trained weights. Otherwise its network has random ones, except for what calls `weights`.
        trainable: a run can build it for other classes, and start with random weights.
        has_layers: it is a PyTorch network, with layers and gradients. An ONNX file has nodes.
        named: a command can name it by its text.
        runs_code: to build it is to import what the text names, which could be any code on this machine.
        recipe: fields of the recipe that it is trained by; `data` only where that is known.
        smallest_side: height and width of the smallest images that it can be built for.
        assumptions: what `weights` guessed, as sentences without their full stop.
    """

    rank: ClassVar[int] = 50
    run: Path | None = None
    path: Path | None = None
    trained: bool = False
    trainable: bool = False
    has_layers: bool = True
    named: bool = True
    runs_code: bool = False
    recipe: Mapping[str, Any] = {"normalisation": "standard"}
    smallest_side: int = 1
    assumptions: tuple[str, ...] = ()
    options: "ForeignOptions | None" = None

    def __init__(self, text: str, name: str = "") -> None:
        self.text = text
        self.name = name or text

    @property
    def stem(self) -> str:
        """What a file that is made of it is called."""
        return short_name(self.text)

    @property
    def home(self) -> Path | None:
        """The folder that its file is in: a run's, for what a run made."""
        return self.run or (self.path.parent if self.path is not None else None)

    @classmethod
    def find(cls, ref: object) -> Self | None:
        """Return the source that a reference means; None where it is of another kind. Nothing is loaded.

        Raises:
            CnnkitError: it is of this kind, and the file or name in it does not exist.
        """
        return None

    @classmethod
    def offered(cls) -> Iterable[str]:
        """Yield references to offer to the shell, and for a misspelt one."""
        return ()

    def describe(self, options: "ForeignOptions") -> None:
        """Take over what the user says of the input, the labels and the scores.

        Raises:
            UsageError: it knows these.
        """
        raise UsageError(f"{self.text} knows its input, labels and scores; leave out {options.listed}.")

    def input_shape(self) -> Shape | None:
        """Return the images that the network was made for; None where nothing says it."""
        return None

    def takes_shape(self) -> bool:
        """Return whether it can be built for images of any size."""
        return False

    def preprocessing(self, shape: Shape) -> "Preprocessing":
        """Return how images of a shape are prepared for it, where no card says it: scaled to [0, 1]."""
        from cnnkit.images import Preprocessing

        channels, height, width = shape
        if channels not in {1, 3}:
            raise UsageError(f"images have 1 or 3 channels; got {channels}.")
        return Preprocessing(3 if channels == 3 else 1, height, width, (0.0,) * channels, (1.0,) * channels)

    def require_trainable(self) -> None:
        """Make sure that a network can be built from it, or raise UsageError."""
        if not self.trainable:
            raise UsageError(
                f"{self.text} names trained weights; expected a network to build, such as lenet, torchvision/resnet18 "
                "or package.module:factory."
            )

    def build(self, num_classes: int | None = None, input_shape: Shape | None = None) -> "nn.Module":
        """Return the network with random weights; lazy layers stay lazy.

        Args:
            num_classes: outputs; None for its own number.
            input_shape: of the images, where it takes that; None for its own.

        Raises:
            UsageError: it cannot be built so.
        """
        self.require_trainable()
        raise UsageError(f"{self.text} cannot be built: {type(self).__qualname__} has no method build of its own.")

    def create(self, num_classes: int | None = None, input_shape: Shape | None = None) -> "nn.Module":
        """Return what `build` does, with lazy layers made for `input_shape`."""
        network = self.build(num_classes, input_shape)
        if input_shape is not None:
            from cnnkit.models.building import materialise

            materialise(network, input_shape, self.text)
        return network

    def network(self, input_shape: Shape | None = None, *, trust_code: bool = False) -> "nn.Module":
        """Return the network on the CPU, for the caller to change: with its weights, if it names any."""
        return self.build(None, input_shape)

    def skeleton(self, input_shape: Shape | None = None, *, trust_code: bool = False) -> "nn.Module":
        """Return the network for its layers alone; its weights may be any, and as few as possible are read."""
        return self.network(input_shape, trust_code=trust_code)

    def card(self) -> "ModelCard | None":
        """Return the card of trained weights without reading them; None where there is none."""
        return None

    def weights(self, input_shape: Shape | None = None, *, trust_code: bool = False) -> "tuple[nn.Module, ModelCard]":
        """Return the trained network, in evaluation mode on the CPU, and its card.

        Args:
            input_shape: of the images, for a network that does not say it.
            trust_code: import the network that a card names as `module:factory`.

        Raises:
            CheckpointError: there are no trained weights, or they are damaged.
        """
        raise self.without_weights()

    def without_weights(self) -> CheckpointError:
        """Return the error of what needs weights where there are none."""
        return CheckpointError(f"{self.text} has no trained weights. Train it first: cnnkit train {self.text}")

    def exported(self) -> Exported | None:
        """Return the ONNX file that it is, or has; None where one would have to be made."""
        return None

    def require_exported(self) -> Exported:
        """Return its ONNX file.

        Raises:
            CheckpointError: it has none, with what to do.
        """
        if (file := self.exported()) is not None:
            return file
        if not self.trained:
            raise self.without_weights()
        raise CheckpointError(f"{self.text} is not an ONNX file. Export it first: cnnkit export {self.text} --onnx")

    def open(
        self,
        *,
        device: str = "auto",
        trust_code: bool = False,
        provider: "ProviderOptions | None" = None,
        torch: bool = False,
    ) -> "Classifier":
        """Return it as a classifier; the options and errors are those of `cnnkit.load`."""
        from cnnkit.runtime.classifier import Classifier

        file = self.exported()
        if file is not None and not (torch and self.has_layers):
            from cnnkit.runtime.foreign.opening import open_onnx

            return open_onnx(
                file.model, file.name, device=device, options=self.options, provider=provider, verified=file.verified
            )
        if provider is not None:
            raise UsageError(
                f"{self.text} runs on PyTorch; provider options are for ONNX files. Export it: cnnkit export "
                f"{self.text}"
            )
        network, card = self.weights(trust_code=trust_code)
        from cnnkit.models.networks import TorchNetwork

        return Classifier(TorchNetwork(network, card, device), self.name, assumptions=self.assumptions)
