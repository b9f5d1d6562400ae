"""What a model reference can be: a file for each kind, behind the protocol of `cnnkit.sources.source`.

Every module of this folder that defines a `Source` is a kind. So is the class that another package registers under the
entry point `cnnkit.sources`.
"""

import importlib
import pkgutil
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from cnnkit.arguments import Device, TrustCode
from cnnkit.errors import CheckpointError, CnnkitError, UnknownNameError, UsageError
from cnnkit.runtime.foreign.options import Described, ForeignOptions
from cnnkit.sources.files import ENDINGS, models_beside
from cnnkit.sources.source import Exported, Ref, Shape, Source
from cnnkit.zoo import DEFAULT_CLASSIFIER

if TYPE_CHECKING:
    from torch import nn

    from cnnkit.runtime.classifier import Classifier
    from cnnkit.runtime.providers import ProviderOptions

__all__ = ["Exported", "Ref", "Shape", "Source", "create_model", "find", "is_model", "load", "load_on_ray", "offered"]

ENTRY_POINTS = "cnnkit.sources"
_EXPECTED = (
    "Expected a name that cnnkit models lists, a run folder, an .onnx or .safetensors file, torchvision/NAME or "
    "package.module:factory."
)


@cache
def own_kinds() -> tuple[type[Source], ...]:
    """Return the kinds of this folder, in the order in which they are asked."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    classes = [each for module in modules for each in vars(module).values() if isinstance(each, type)]
    own = {each for each in classes if issubclass(each, Source) and each is not Source}
    return tuple(sorted(own, key=lambda kind: (kind.rank, kind.__name__)))


@cache
def installed_kinds() -> tuple[type[Source], ...]:
    """Return the kinds that installed packages register.

    Raises:
        UsageError: one of them cannot be imported, or is something else.
    """
    from cnnkit import plugins

    def fits(found: object) -> bool:
        return isinstance(found, type) and issubclass(found, Source)

    names = plugins.registered(ENTRY_POINTS)
    return tuple(plugins.load(ENTRY_POINTS, name, fits, "a subclass of cnnkit.sources.Source") for name in names)


def find(ref: Ref, **foreign: Unpack[Described]) -> Source:
    """Find out what a model reference means; nothing is loaded.

    Args:
        ref: a model reference, an `nn.Module`, an open classifier, or a source that was found before.
        foreign: of a network without a card, as for `load`.

    Raises:
        UnknownNameError: nothing of that name, with the close matches.
        CheckpointError: a file that does not exist or is no model, or a run folder without a checkpoint.
        UsageError: an image, or a network that knows what is said of it.
    """
    source = ref if isinstance(ref, Source) else _found(str(ref) if isinstance(ref, Path) else ref)
    if any(value is not None for value in foreign.values()):
        source.describe(ForeignOptions.of(**foreign))
    return source


def _found(ref: object) -> Source:
    try:
        for kind in own_kinds():
            if (source := kind.find(ref)) is not None:
                return source
    except OSError as error:  # a name that is too long, or a folder that must not be read
        raise CheckpointError(f"cannot look for {str(ref)[:80]!r}: {error.strerror or error}.") from error
    if isinstance(ref, str) and Path(ref).suffix.lower() in {".pt", ".pth", ".ckpt", ".pkl"}:
        raise CheckpointError(f"{ref} is a pickle, and cnnkit loads none: they can run code. Use safetensors or ONNX.")
    # Other packages are asked last: looking for their entry points takes longer than opening a small network.
    for kind in installed_kinds():
        try:
            source = kind.find(ref)
        except CnnkitError:
            raise
        except Exception as error:  # whatever somebody's code raises
            raise UsageError(f"{_maker(kind)} failed on {ref!r}: {type(error).__name__}: {error}.") from error
        if isinstance(source, Source) and hasattr(source, "text"):
            return source
        if source is not None:
            said = "a Source without a text" if isinstance(source, Source) else type(source).__name__
            raise UsageError(f"{_maker(kind)} returned {said} for {ref!r}; expected a Source or None.")
    if not isinstance(ref, str):
        raise UsageError(f"a {type(ref).__name__} is no model. {_EXPECTED} From Python also an nn.Module.")
    raise _not_a_model(ref, Path(ref))


def _maker(kind: type[Source]) -> str:
    return f"the model source {kind.__module__}:{kind.__qualname__} of an installed package"


def is_model(text: str) -> bool:
    """Whether a text names a model, and no other file or folder; what may be the name of any file does not."""
    path = Path(text)
    try:
        if path.is_file() and path.suffix.lower() not in ENDINGS:
            return False
        source = find(text)
        return source.path is not None or not (path.exists() or source.runs_code)
    except CheckpointError:
        return path.suffix.lower() in ENDINGS
    except (CnnkitError, OSError):
        return False


def offered() -> Iterator[str]:
    """Yield model references to offer to the shell."""
    for kind in own_kinds():
        yield from kind.offered()
    for kind in installed_kinds():
        with suppress(Exception):  # whatever somebody's code raises
            yield from list(kind.offered())


def _not_a_model(text: str, path: Path) -> CnnkitError:
    """Say what a text that is no model reference is instead, or what it may have been meant to be."""
    from cnnkit.pictures import is_image_file

    if is_image_file(path):
        return UsageError(f"{text} is an image, and a model is expected here. To classify it: cnnkit predict {text}")
    if path.is_file():
        return CheckpointError(f"{text} is no model. {_EXPECTED}")
    if len(path.parts) > 1:
        return UnknownNameError("file or folder", text, models_beside(path), hint=_EXPECTED)
    names = [name for name in offered() if len(Path(name).parts) == 1 and Path(name).suffix not in ENDINGS]
    return UnknownNameError("model", text, names, hint=_EXPECTED)


def create_model(name: str, num_classes: int | None = None, input_shape: Shape | None = None) -> "nn.Module":
    """Build a network with random weights.

    Args:
        name: a registered architecture, `torchvision/NAME` or `package.module:factory`.
        num_classes: outputs; None for the network's own number.
        input_shape: channels, height and width of the images, for a network whose factory takes that, as the registered
            ones do; None for the network's own. Lazy layers get their shapes from it; without it they stay lazy.

    Returns:
        An `nn.Module` from float32 [N, C, H, W] to logits [N, num_classes].

    Raises:
        UnknownNameError: no such network.
        UsageError: the factory cannot be imported, does not return a module, or refuses the shape.

    >>> from cnnkit import create_model
    >>> sum(p.numel() for p in create_model("lenet").parameters())
    61706
    >>> create_model("lenet", 3, input_shape=(3, 32, 32)).fc1.in_features
    576
    """
    return find(name).create(num_classes, input_shape)


def load(
    ref: Ref = DEFAULT_CLASSIFIER,
    *,
    device: Device = "auto",
    trust_code: TrustCode = False,
    provider: "ProviderOptions | None" = None,
    torch: bool = False,
    **foreign: Unpack[Described],
) -> "Classifier":
    """Open a trained network as a classifier.

    ONNX files and zoo entries run on onnxruntime and never import PyTorch; everything else runs on PyTorch.

    Args:
        ref: a model reference, or an `nn.Module`, of which a copy is opened. A classifier comes back as it is, and
            nothing else can be said of it.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        trust_code: import the network that a checkpoint's card names as `module:factory`.
        provider: options of onnxruntime's provider, such as `cnnkit.runtime.providers.ProviderOptions(tf32=True)`;
            None for those that the file's card holds for this hardware, else the default ones.
        torch: run a zoo entry on PyTorch as well, where its layers can be looked into.
        foreign: of a network without a card. Of an `nn.Module`: `labels`, a list or a file, and `preprocessing`; or
            `card`. Of an ONNX file: `labels`, `mean`, `std`, `preprocess`, `input_shape`, `pixels`, `channel_order`
            and `scores`; see `cnnkit.runtime.foreign.options.ForeignOptions`.

    Raises:
        UnknownNameError: nothing of that name.
        CheckpointError, OnnxError, ZooError: the file is damaged or does not fit.
        DeviceError: the device is unavailable.

    >>> import cnnkit
    >>> classifier = cnnkit.load("lenet")
    >>> classifier.card.model, len(classifier.card.labels)
    ('lenet', 10)
    """
    return find(ref, **foreign).open(device=device, trust_code=trust_code, provider=provider, torch=torch)


def load_on_ray(
    ref: Ref = DEFAULT_CLASSIFIER, *, workers: int | None = None, device: Device = "auto", **foreign: Unpack[Described]
) -> "Classifier":
    """Open an ONNX file or a zoo entry as `load` does, to run on the workers of a Ray cluster.

    See `cnnkit.runtime.ray_data.RayClassifier` for the cluster, `workers` and `device`.

    Raises:
        CheckpointError: it has to be exported first.
    """
    source = find(ref, **foreign)
    file = source.require_exported()
    from cnnkit.runtime.ray_data import RayClassifier

    options = source.options
    return RayClassifier(file.model, file.name, workers=workers, device=device, options=options, verified=file.verified)
