"""Starting from trained weights instead of random ones."""

from dataclasses import dataclass, replace

from torch import Tensor, nn

from cnnkit.card import ModelCard
from cnnkit.errors import CheckpointError, UsageError
from cnnkit.images import Preprocessing
from cnnkit.models.heads import Head
from cnnkit.models.networks import load_weights
from cnnkit.recipe import Recipe
from cnnkit.sources import find
from cnnkit.words import counted


@dataclass(frozen=True)
class StartingWeights:
    """Weights to start from.

    Attributes:
        name: model reference; of an architecture, its entry in the zoo.
        state: tensors by name.
        card: their labels, the preprocessing of their images, and where they come from.
    """

    name: str
    state: dict[str, Tensor]
    card: ModelCard

    def form(self, recipe: Recipe) -> Preprocessing:
        """Return the form of the images: what the weights were trained on, with what the recipe asks for instead.

        Raises:
            UsageError: another number of channels.
        """
        own, shape = self.card.preprocessing, recipe.input_shape
        if shape is not None and shape != own.input_shape:
            if shape[0] != own.channels:
                raise UsageError(
                    f"{self.name} was trained on {counted(own.channels, 'channel')}; --input gives {shape[0]}."
                )
            own = own.resized_to(*shape[1:])
        if recipe.fit not in {"auto", own.fit}:
            own = replace(own, fit=recipe.fit, crop=1.0, resize=None)
        if recipe.crop_fraction is not None:
            if own.fit != "cover":
                raise UsageError(f"--crop-fraction is for --fit cover, and the fit of {self.name} is {own.fit}.")
            own = replace(own, crop=recipe.crop_fraction, resize=None)
        if recipe.interpolation != "auto":
            own = replace(own, interpolation=recipe.interpolation)
        return own


def read_weights(reference: str, *, trust_code: bool = False) -> StartingWeights:
    """Read the weights behind a model reference.

    Raises:
        CheckpointError: no weights there, or damaged ones.
    """
    source = find(reference)
    network, card = source.weights(trust_code=trust_code)
    return StartingWeights(source.name, network.state_dict(), card)


def start_from(network: nn.Module, weights: StartingWeights, new_head: Head | None) -> None:
    """Copy weights into a network; where the classes differ, its head is not copied, and gets PyTorch's first weights.

    Raises:
        CheckpointError: anything but the head differs.
    """
    own = network.state_dict()
    new = frozenset[str]() if new_head is None else new_head.tensors
    state = {name: t for name, t in weights.state.items() if name not in new}
    fitting = {name: t for name, t in state.items() if name in own and own[name].shape == t.shape}
    missing = [name for name in own if name not in fitting and name not in new]
    if missing or len(fitting) < len(state):
        strange = missing or [name for name in state if name not in fitting]
        raise CheckpointError(
            f"{weights.name} has other layers than this network: {', '.join(strange[:3])}"
            f"{' and more' if len(strange) > 3 else ''} do not fit. Start from weights of the same architecture."
        )
    load_weights(network, own | fitting)
    if new_head is not None:
        new_head.initialise(network)


def freeze_all_but_head(network: nn.Module, head: Head) -> None:
    """Keep every weight but the head's as it is."""
    for name, parameter in network.named_parameters(remove_duplicate=False):
        parameter.requires_grad_(name in head.parameters)


def set_training_mode(network: nn.Module, trained: Head | None = None) -> None:
    """Set training mode where something is trained; frozen layers keep their statistics.

    Args:
        network: to train.
        trained: the only part that is trained, so that the rest drops nothing either; None for all.
    """
    network.train(trained is None)
    if trained is not None:
        for name in trained.layers:
            network.get_submodule(name).train()
        return
    for module in network.modules():  # layers that the network's own code has frozen
        own = list(module.parameters(recurse=False))
        if own and not any(parameter.requires_grad for parameter in own) and not any(module.children()):
            module.eval()
