"""`torchvision/resnet18`, `torchvision/resnet18@IMAGENET1K_V1`: torchvision's classifiers and their trained weights."""

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from cnnkit.errors import CheckpointError, UnknownNameError
from cnnkit.sources.source import Shape, Source

if TYPE_CHECKING:
    from torch import Tensor, nn

    from cnnkit.card import ModelCard
    from cnnkit.images import Preprocessing

_PREFIX = "torchvision/"
_RESCALED = {"googlenet", "inception_v3"}
_OF_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d\.)")
"""Its files say `norm.1` of a layer that is called `norm1`."""


class Torchvision(Source):
    """A classifier of torchvision; where weights are needed, those that it recommends, or those after the @."""

    rank = 40
    trainable = True

    @classmethod
    def find(cls, ref: object) -> Self | None:
        return cls(ref) if isinstance(ref, str) and ref.startswith(_PREFIX) else None

    @cached_property
    def _name(self) -> str:
        import torchvision

        name = self.text.removeprefix(_PREFIX).partition("@")[0]
        known = torchvision.models.list_models(module=torchvision.models)
        if name not in known:
            raise UnknownNameError("torchvision classification model", name, known)
        return name

    @cached_property
    def _weights(self) -> Any:
        import torchvision

        kinds = torchvision.models.get_model_weights(self._name)
        wanted = self.text.partition("@")[2]
        if wanted and wanted not in kinds.__members__:
            raise UnknownNameError(f"weights of {self._name}", wanted, kinds.__members__)
        return kinds[wanted] if wanted else kinds.DEFAULT

    def input_shape(self) -> Shape:
        side = int(self._weights.transforms.keywords["crop_size"])
        return 3, side, side

    def preprocessing(self, shape: Shape) -> "Preprocessing":
        """Return what `weights.transforms()` does to an image, brought to another size; grey images have no such.

        GoogLeNet and Inception v3 were trained on another scale of the values than the other networks. torchvision
        keeps the usual mean and standard deviation for them, and changes the scale inside the network
        (`transform_input`). Here both are one step, which gives the network the same input, and the network needs no
        option that a checkpoint could lose.
        """
        from cnnkit.images import Preprocessing

        if shape[0] != 3:
            return super().preprocessing(shape)
        transform, rescaled = self._weights.transforms(), self._name in _RESCALED
        _, height, width = self.input_shape()
        return Preprocessing(
            channels=3,
            height=height,
            width=width,
            mean=(0.5,) * 3 if rescaled else tuple(transform.mean),
            std=(0.5,) * 3 if rescaled else tuple(transform.std),
            fit="cover",
            interpolation=transform.interpolation.value,
            resize=transform.resize_size[0],
        ).resized_to(*shape[1:])

    def build(self, num_classes: int | None = None, input_shape: Shape | None = None) -> "nn.Module":
        import torchvision

        from cnnkit.models.building import require_possible

        require_possible(input_shape)
        arguments: dict[str, Any] = {"weights": None}
        if self._name.startswith("vit_"):
            arguments["image_size"] = self.input_shape()[1]  # they learn where each patch lies
        if num_classes is not None:
            arguments["num_classes"] = num_classes
        if self._name in _RESCALED:
            # Their auxiliary heads make the output a tuple in training mode, and play no part in inference.
            arguments |= {"aux_logits": False, "init_weights": True}
        network: nn.Module = torchvision.models.get_model(self._name, **arguments)
        return network

    def without_weights(self) -> CheckpointError:
        # What classifies by PyTorch has found its weights; what is missing is a file that runs without.
        return CheckpointError(
            f"{self.text} has no ONNX file. Train it first: cnnkit train {self.text} --weights {self.text}"
        )

    def weights(self, input_shape: Shape | None = None, *, trust_code: bool = False) -> "tuple[nn.Module, ModelCard]":
        """Return the network with the weights of torchvision, downloaded where its cache has no file of them.

        The hash of a download is checked, and nothing but tensors is read.

        Raises:
            CheckpointError: they cannot be downloaded, or the file has something else.
        """
        from cnnkit.card import ModelCard
        from cnnkit.models.networks import weights_hash
        from cnnkit.runtime.foreign.labels import named

        network = self.build()
        try:
            # The layers of torchvision know how they were called before, and what they did not have.
            network.load_state_dict(self._state(), assign=True)
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"the file of {self._weights.url} does not fit {self.text}: {' '.join(str(error).split())}"
            ) from error
        card = ModelCard(
            model=self.text,
            labels=named(self._weights.meta["categories"], "").labels,
            preprocessing=self.preprocessing(self.input_shape()),
            weights_sha256=weights_hash(network.state_dict()),
        )
        return network.eval(), card

    def _state(self) -> "dict[str, Tensor]":
        try:
            state: dict[str, Tensor] = self._weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        except Exception as error:  # whatever a download raises
            raise CheckpointError(
                f"the weights of {self.text} could not be loaded from {self._weights.url}: {error}. Download the file "
                "elsewhere and put it into the folder hub/checkpoints of $TORCH_HOME."
            ) from error
        # Changed in place: the state says which version of each layer wrote it, which a copy would forget.
        for key in list(state):
            tensor = state.pop(key)
            if not key.lower().startswith("aux"):  # the auxiliary heads of GoogLeNet and Inception play no part here
                state[_OF_DENSENET.sub(r"\1\2", key)] = tensor
        return state
