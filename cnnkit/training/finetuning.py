"""Starting from trained weights instead of random ones."""

from dataclasses import dataclass, replace

import torchvision
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode

from cnnkit import registry
from cnnkit.card import ModelCard
from cnnkit.errors import CheckpointError, UsageError
from cnnkit.images import Interpolation, Preprocessing
from cnnkit.recipe import Recipe
from cnnkit.training.networks import create_model, input_shape, load_network
from cnnkit.words import counted


@dataclass(frozen=True)
class Source:
    """Weights to start from.

    Attributes:
        name: model reference; of an architecture, its entry in the zoo.
        state: tensors by name.
        labels: of the classes.
        preprocessing: form of the images.
        card: of the weights; None for those of torchvision.
    """

    name: str
    state: dict[str, Tensor]
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    card: ModelCard | None = None

    def form(self, recipe: Recipe) -> Preprocessing:
        """Return the form of the images: what the weights were trained on, with what the recipe asks for instead.

        Raises:
            UsageError: another number of channels.
        """
        own, shape = self.preprocessing, recipe.input_shape
        if shape is not None and shape != (own.channels, own.height, own.width):
            if shape[0] != own.channels:
                raise UsageError(
                    f"{self.name} was trained on {counted(own.channels, 'channel')}; --input gives {shape[0]}."
                )
            fit = "contain" if own.fit == "mnist-box" else own.fit
            own = replace(own, height=shape[1], width=shape[2], fit=fit)
        if recipe.fit != "auto":
            own = replace(own, fit=recipe.fit, crop=own.crop if recipe.fit == own.fit else 1.0)
        if recipe.crop_fraction is not None:
            if own.fit != "cover":
                raise UsageError(f"--crop-fraction is for --fit cover, and the fit of {self.name} is {own.fit}.")
            own = replace(own, crop=recipe.crop_fraction)
        if recipe.interpolation != "auto":
            own = replace(own, interpolation=recipe.interpolation)
        return own


def read_source(reference: str, *, trust_code: bool = False) -> Source:
    """Read the weights behind a model reference.

    `torchvision/NAME` means the weights that torchvision recommends, downloaded where they are not in its cache;
    their hash is checked, and nothing but tensors is read.

    Raises:
        CheckpointError: no weights there, or damaged ones.
    """
    if registry.resolve(reference).kind != "torchvision":
        network, card = load_network(reference, trust_code=trust_code)
        return Source(registry.taken(reference), network.state_dict(), card.labels, card.preprocessing, card)
    name = reference.removeprefix("torchvision/")
    create_model(reference, 2)  # an unknown name gets its error here
    weights = torchvision.models.get_model_weights(name).DEFAULT
    try:
        state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except Exception as error:  # whatever a download raises
        raise CheckpointError(
            f"the weights of {reference} could not be had from {weights.url}: {error}. Download the file elsewhere and "
            "put it into the folder hub/checkpoints of $TORCH_HOME."
        ) from error
    # The auxiliary heads of GoogLeNet and Inception play no part here.
    state = {key: value for key, value in state.items() if not key.lower().startswith("aux")}
    transform = weights.transforms()
    _, height, width = input_shape(reference) or (3, 224, 224)
    form = Preprocessing(
        channels=3,
        height=height,
        width=width,
        mean=tuple(transform.mean),
        std=tuple(transform.std),
        fit="cover",
        crop=min(1.0, transform.crop_size[0] / transform.resize_size[0]),
        interpolation=_INTERPOLATIONS[transform.interpolation],
    )
    return Source(reference, state, tuple(weights.meta["categories"]), form)


_INTERPOLATIONS: dict[InterpolationMode, Interpolation] = {
    InterpolationMode.NEAREST: "nearest",
    InterpolationMode.BILINEAR: "bilinear",
    InterpolationMode.BICUBIC: "bicubic",
    InterpolationMode.LANCZOS: "lanczos",
    InterpolationMode.BOX: "box",
}


def head_of(network: nn.Module) -> tuple[str, nn.Module]:
    """Return the name and module of the layer that gives the logits: the last one that has weights of its own.

    Raises:
        UsageError: the network has no weights.
    """
    own = [(name, m) for name, m in network.named_modules() if any(True for _ in m.parameters(recurse=False))]
    if not own:
        raise UsageError("the network has no weights, so there is no head to train.")
    return own[-1]


def start_from(network: nn.Module, source: Source, classes: tuple[str, ...]) -> bool:
    """Copy weights into a network; where the classes differ, its head stays as it is, new.

    Returns:
        Whether the head is new.

    Raises:
        CheckpointError: anything but the head differs.
    """
    head, _ = head_of(network)
    own = network.state_dict()
    # Other classes in the same number are still others: the old head would be confident about the wrong things.
    new_head = source.labels != classes
    state = {name: t for name, t in source.state.items() if not (new_head and name.startswith(f"{head}."))}
    fitting = {name: t for name, t in state.items() if name in own and own[name].shape == t.shape}
    missing = [name for name in own if name not in fitting and not (new_head and name.startswith(f"{head}."))]
    if missing or len(fitting) < len(state):
        strange = missing or [name for name in state if name not in fitting]
        raise CheckpointError(
            f"{source.name} has other layers than this network: {', '.join(strange[:3])}"
            f"{' and more' if len(strange) > 3 else ''} do not fit. Start from weights of the same architecture."
        )
    network.load_state_dict(fitting, strict=False)
    return new_head


def freeze_all_but_head(network: nn.Module) -> None:
    """Keep every weight but the head's as it is."""
    _, head = head_of(network)
    network.requires_grad_(False)
    head.requires_grad_(True)


def set_training_mode(network: nn.Module) -> None:
    """Set training mode where something is trained; frozen layers keep their statistics and drop nothing."""
    frozen = [p for p in network.parameters() if not p.requires_grad]
    network.train(not frozen)
    if frozen:
        head_of(network)[1].train()
