"""Opening trained networks as classifiers."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from cnnkit import registry, zoo
from cnnkit.arguments import Device, TrustCode
from cnnkit.errors import CheckpointError, UsageError
from cnnkit.runtime.classifier import Classifier
from cnnkit.runtime.foreign.options import Described, ForeignOptions

if TYPE_CHECKING:
    from cnnkit.runtime.providers import ProviderOptions

Ref = str | Path | Classifier
"""What a command takes: a model reference, or a classifier that is open already."""


def load(
    ref: Ref = zoo.DEFAULT_CLASSIFIER,
    *,
    device: Device = "auto",
    trust_code: TrustCode = False,
    provider: "ProviderOptions | None" = None,
    torch: bool = False,
    **foreign: Unpack[Described],
) -> Classifier:
    """Open a trained network as a classifier.

    ONNX files and zoo entries run on onnxruntime and never import PyTorch; runs and checkpoints run on PyTorch.

    Args:
        ref: an ONNX file, a zoo entry, an architecture that has one, a run or a checkpoint. A classifier comes back as
            it is, and nothing else can be said of it.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        trust_code: import the network that a checkpoint's card names as `module:factory`.
        provider: options of onnxruntime's provider, such as `cnnkit.runtime.providers.ProviderOptions(tf32=True)`;
            None for those that the file's card holds for this hardware, else the default ones.
        torch: run a zoo entry on PyTorch as well, where its layers can be looked into.
        foreign: how to use an ONNX file without a card: `labels`, `mean`, `std`, `preprocess`, `input_shape`, `pixels`,
            `channel_order` and `scores`; see `cnnkit.runtime.foreign.options.ForeignOptions`.

    Raises:
        UnknownNameError: nothing of that name.
        CheckpointError, OnnxError, ZooError: the file is damaged or does not fit.
        DeviceError: the device is unavailable.

    >>> import cnnkit
    >>> classifier = cnnkit.load("lenet")
    >>> classifier.card.model, len(classifier.card.labels)
    ('lenet', 10)
    """
    if isinstance(ref, Classifier):
        if device != "auto" or provider is not None or ForeignOptions.of(**foreign):
            raise UsageError(f"{ref.name} is open already; name its device and its options where it is opened.")
        return ref
    source = _exported(ref, ForeignOptions.of(**foreign))
    of_zoo = source is not None and source.get("verified", False)
    if source is not None and not (torch and of_zoo):
        from cnnkit.runtime.foreign.opening import open_onnx

        return open_onnx(device=device, provider=provider, **source)
    if provider is not None:
        raise UsageError(f"{ref} runs on PyTorch; provider options are for ONNX files. Export it: cnnkit export {ref}")
    from cnnkit.training.networks import TorchNetwork, load_network

    network, card = load_network(str(ref), trust_code=trust_code)
    return Classifier(TorchNetwork(network, card, device), registry.taken(str(ref)))


def load_on_ray(
    ref: str | Path = zoo.DEFAULT_CLASSIFIER,
    *,
    workers: int | None = None,
    device: str = "auto",
    **foreign: Unpack[Described],
) -> Classifier:
    """Open an ONNX file or a zoo entry as `load` does, to run on the workers of a Ray cluster.

    See `cnnkit.runtime.ray_data.RayClassifier` for the cluster, `workers` and `device`.

    Raises:
        UsageError: a run or a checkpoint, which has to be exported first.
    """
    source = _exported(ref, ForeignOptions.of(**foreign))
    if source is None:
        raise UsageError(f"Ray workers run ONNX files. Export this one first: cnnkit export {ref} --onnx")
    from cnnkit.runtime.ray_data import RayClassifier

    return RayClassifier(workers=workers, device=device, **source)


def _exported(ref: str | Path, options: ForeignOptions) -> dict[str, Any] | None:
    """Return how `open_onnx` opens a reference, or None where it names weights of PyTorch."""
    text = str(ref)
    reference = registry.resolve(text)
    if reference.kind == "onnx" and reference.path is not None:
        return {"model": reference.path, "name": text, "options": options}
    if options:
        raise UsageError(f"{text} knows its input, labels and scores; leave out {options.listed}.")
    if reference.kind == "architecture" and not zoo.has(text):
        raise CheckpointError(f"{text} has no trained weights in the zoo. Train it first: cnnkit train {text}")
    if reference.kind in {"zoo", "architecture"}:
        entry = zoo.entry(text)
        return {"model": zoo.read(entry.name, "model.onnx"), "name": entry.name, "verified": True}
    return None
