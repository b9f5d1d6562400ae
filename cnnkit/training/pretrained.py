"""The weights that torchvision recommends for its classifiers, and the images that they were trained on."""

import re

import torchvision
from torch import Tensor
from torchvision.transforms import InterpolationMode

from cnnkit.errors import CheckpointError
from cnnkit.images import Interpolation, Preprocessing
from cnnkit.training.building import create_model, input_shape


def torchvision_preprocessing(name: str) -> Preprocessing:
    """Return what `weights.transforms()` does to an image, for the default weights of a network of torchvision.

    GoogLeNet and Inception v3 were trained on another scale of the values than the other networks. torchvision keeps
    the usual mean and deviation for them, and changes the scale inside the network (`transform_input`). Here both are
    one step, which gives the network the same input, and the network needs no option that a checkpoint could lose.

    Args:
        name: the network, such as `resnet18`.

    Raises:
        UnknownNameError: no such network.
    """
    _, height, width = input_shape(f"torchvision/{name}") or (3, 224, 224)
    transform = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    rescaled = name in {"googlenet", "inception_v3"}
    return Preprocessing(
        channels=3,
        height=height,
        width=width,
        mean=(0.5,) * 3 if rescaled else tuple(transform.mean),
        std=(0.5,) * 3 if rescaled else tuple(transform.std),
        fit="cover",
        interpolation=_INTERPOLATIONS[transform.interpolation],
        resize=transform.resize_size[0],
    )


def torchvision_weights(name: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return the default weights of a network of torchvision by their names, and the labels of their classes.

    They are downloaded where torchvision's cache has no file of them; the hash of a download is checked, and nothing
    but tensors is read.

    Args:
        name: the network, such as `resnet18`.

    Raises:
        UnknownNameError: no such network.
        CheckpointError: they cannot be downloaded, or the file has something else.
    """
    reference = f"torchvision/{name}"
    network = create_model(reference)  # an unknown name gets its error here
    weights = torchvision.models.get_model_weights(name).DEFAULT
    try:
        state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except Exception as error:  # whatever a download raises
        raise CheckpointError(
            f"the weights of {reference} could not be loaded from {weights.url}: {error}. Download the file elsewhere "
            "and put it into the folder hub/checkpoints of $TORCH_HOME."
        ) from error
    # Changed in place: the state says which version of each layer wrote it, which a copy would forget.
    for key in list(state):
        tensor = state.pop(key)
        if not key.lower().startswith("aux"):  # the auxiliary heads of GoogLeNet and Inception play no part here
            state[_OF_DENSENET.sub(r"\1\2", key)] = tensor
    try:
        # The layers of torchvision know how they were called before, and what they did not have.
        network.load_state_dict(state, assign=True)
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"the file of {weights.url} does not fit {reference}: {' '.join(str(error).split())}"
        ) from error
    return dict(network.state_dict()), tuple(weights.meta["categories"])


_OF_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d\.)")
"""Its files say `norm.1` of a layer that is called `norm1`."""

_INTERPOLATIONS: dict[InterpolationMode, Interpolation] = {
    InterpolationMode.NEAREST: "nearest",
    InterpolationMode.BILINEAR: "bilinear",
    InterpolationMode.BICUBIC: "bicubic",
    InterpolationMode.LANCZOS: "lanczos",
    InterpolationMode.BOX: "box",
}
