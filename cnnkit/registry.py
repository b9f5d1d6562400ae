"""What can be named on the command line: the registered networks, and what a model reference means.

The registry is data: a factory is a `module:function` text, imported only when the network is built, so that listing
and completing names never pays for PyTorch.
"""

import importlib
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cnnkit import zoo
from cnnkit.errors import CheckpointError, CnnkitError, UnknownNameError, UsageError, guess

if TYPE_CHECKING:
    from cnnkit.recipe import Recipe

ENTRY_POINTS = "cnnkit.models"
"""Packages register a `ModelSpec` under this entry-point group."""


@dataclass(frozen=True)
class ModelSpec:
    """A network that can be built by name.

    Attributes:
        name: as written on the command line.
        factory: `module:function`; called with `num_classes`, and with `input_shape` where it takes that.
        input_shape: channels, height, width of the reference.
        num_classes: of the reference.
        parameters: exact count with `num_classes` outputs.
        recipe_fields: fields of the recipe of the course or paper that it comes from.
        source: where the network and its recipe come from.
        reference_accuracy: what the source reports on the test set of the recipe's data.
        smallest_side: height and width of the smallest images that the network can be built for.
    """

    name: str
    factory: str
    input_shape: tuple[int, int, int]
    num_classes: int
    parameters: int
    recipe_fields: Mapping[str, Any]
    source: str
    reference_accuracy: float | None = None
    smallest_side: int = 1

    @property
    def recipe(self) -> "Recipe":
        """The recipe, checked; made on demand because naming a model must not pay for pydantic."""
        from cnnkit.recipe import Recipe

        return Recipe.layered({"model": self.name}, self.recipe_fields)


def _spec(
    name: str,
    factory: str,
    input_shape: tuple[int, int, int],
    parameters: int,
    source: str,
    reference_accuracy: float | None,
    num_classes: int = 10,
    smallest_side: int = 1,
    **recipe: Any,
) -> ModelSpec:
    return ModelSpec(
        name=name,
        factory=f"cnnkit.models.{factory}",
        input_shape=input_shape,
        num_classes=num_classes,
        parameters=parameters,
        recipe_fields=recipe,
        source=source,
        reference_accuracy=reference_accuracy,
        smallest_side=smallest_side,
    )


_OWN = (
    _spec(
        "softmax-regression", "dense:softmax_regression", (1, 28, 28), 7_850, "lecture", 0.90,
        data="mnist", optimizer="sgd", learning_rate=0.05, momentum=0.9, batch_size=60, epochs=1,
    ),
    _spec(
        "mlp", "dense:mlp", (1, 28, 28), 218_058, "notebook", 0.975,
        data="mnist", optimizer="adam", learning_rate=1e-3, batch_size=64, epochs=15, validation_fraction=0.1,
    ),
    _spec(
        "mnist-cnn", "mnist:mnist_cnn", (1, 28, 28), 21_578, "notebook", 0.9864, smallest_side=4,
        data="mnist", optimizer="adam", learning_rate=1e-3, batch_size=64, epochs=5, validation_fraction=0.2,
    ),
    _spec(
        "dropout-cnn", "mnist:dropout_cnn", (1, 28, 28), 1_199_882, "lecture", 0.98, smallest_side=6,
        data="mnist", optimizer="adam", learning_rate=1e-3, batch_size=64, epochs=2, validation_fraction=0.1,
    ),
    _spec(
        "lenet", "lenet:lenet", (1, 28, 28), 61_706, "notebook; LeCun, Bottou, Bengio, Haffner 1998", None,
        smallest_side=12,
        data="fashion-mnist", optimizer="sgd", learning_rate=0.15, batch_size=256, epochs=100,
        initialisation="xavier", validation_fraction=0.1,
    ),
    _spec(
        "alexnet", "alexnet:alexnet", (1, 224, 224), 46_764_746, "notebook; Krizhevsky, Sutskever, Hinton 2012", None,
        smallest_side=65,
        data="fashion-mnist", optimizer="sgd", learning_rate=0.01, batch_size=128, epochs=10,
        initialisation="xavier", validation_fraction=0.1,
    ),
    _spec(
        "shapes-cnn", "shapes:shapes_cnn", (3, 28, 28), 174_243, "article, with another recipe", 0.878, 3,
        smallest_side=22,
        data="shapes", optimizer="adam", learning_rate=1e-3, batch_size=16, epochs=80,
        initialisation="xavier", normalisation="standard", test_fraction=0.3,
    ),
    _spec(
        "digit-cnn", "mnist:digit_cnn", (1, 28, 28), 60_322, "cnnkit", None, smallest_side=4,
        data="mnist", optimizer="adamw", learning_rate=3e-3, schedule="one-cycle", weight_decay=0.01, batch_size=128,
        epochs=13, validation_fraction=0.1, normalisation="standard", augmentation="digits", drawn_digits=0.2,
    ),
    _spec(
        "cifar-resnet", "residual:cifar_resnet", (3, 32, 32), 651_866, "cnnkit; He, Zhang, Ren, Sun 2015; Jordan 2024",
        None, smallest_side=25,
        data="cifar10", optimizer="sgd", learning_rate=0.15, momentum=0.9, nesterov=True, weight_decay=5e-4,
        schedule="one-cycle", batch_size=256, epochs=6, label_smoothing=0.1, validation_fraction=0.05,
        normalisation="standard", augmentation="crops",
    ),
)  # fmt: skip


@cache
def models() -> dict[str, ModelSpec]:
    """Return every registered network by name: cnnkit's own first, then those of installed packages."""
    import importlib.metadata

    found = {spec.name: spec for spec in _OWN}
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        try:
            spec = point.load()
        except Exception as error:  # whatever importing somebody's package raises
            raise UsageError(
                f"an installed package registers {point.value!r} under {ENTRY_POINTS}, which cannot be imported: "
                f"{error}. Repair or uninstall it."
            ) from error
        if not isinstance(spec, ModelSpec):
            raise UsageError(
                f"the installed package behind {point.value!r} registers {type(spec).__name__} under {ENTRY_POINTS}; "
                "expected a cnnkit.registry.ModelSpec."
            )
        found.setdefault(spec.name, spec)
    return found


def model(name: str) -> ModelSpec:
    """Return a registered network.

    Raises:
        UnknownNameError: with the close matches.
    """
    try:
        return models()[name]
    except KeyError:
        raise UnknownNameError("model", name, models()) from None


def import_factory(factory: str) -> Any:
    """Import what `module:attribute` names.

    Raises:
        UsageError: no such module or attribute, or it is not callable.
    """
    module_name, _, attribute = factory.partition(":")
    # The console script, unlike `python -m`, does not find modules in the current folder.
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        found = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:  # whatever importing the user's module raises
        raise UsageError(f"cannot import {factory!r}: {error}. Expected package.module:factory.") from error
    if not callable(found):
        raise UsageError(f"{factory!r} is not callable; expected a class or function that returns an nn.Module.")
    return found


MODEL_FILES = {".onnx", ".safetensors"}
"""How the names of model files end."""
BEST = "best.safetensors"
"""Name of a run's best weights."""
_EXPECTED = (
    "Expected a name that cnnkit models lists, a run folder, an .onnx or .safetensors file, torchvision/NAME or "
    "package.module:factory."
)

Kind = Literal["architecture", "zoo", "checkpoint", "onnx", "torchvision", "factory"]


@dataclass(frozen=True)
class Reference:
    """What a model reference means. `path` is set for checkpoints and ONNX files."""

    text: str
    kind: Kind
    path: Path | None = None

    @property
    def is_architecture(self) -> bool:
        """Whether it names a network to build, not weights."""
        return self.kind in {"architecture", "torchvision", "factory"}


def resolve(text: str) -> Reference:
    """Find out what a model reference means; nothing is loaded.

    Raises:
        UnknownNameError: nothing of that name, with the close matches.
        CheckpointError: a file that is not there or no model, or a run folder without a checkpoint.
        UsageError: an image.
    """
    path = Path(text)
    if path.suffix.lower() in MODEL_FILES:
        if path.is_dir():
            raise CheckpointError(f"{text} is a folder; expected a file.")
        if not path.is_file():
            raise CheckpointError(f"there is no file {text}. {guess(text, _models_beside(path))}".rstrip())
        return Reference(text, "onnx" if path.suffix.lower() == ".onnx" else "checkpoint", path)
    if any(text == spec.name for spec in _OWN):
        return Reference(text, "architecture")
    if text in zoo.entries():
        return Reference(text, "zoo")
    if text and path.is_dir():
        checkpoint = path / BEST
        if not checkpoint.is_file():
            found = sorted(each for each in path.glob("*") if each.suffix.lower() == ".onnx")[:3]
            hint = f" Name the file in it: {', '.join(map(str, found))}." if found else ""
            raise CheckpointError(f"{text} is a folder without a {BEST}: not a finished run.{hint}")
        return Reference(text, "checkpoint", checkpoint)
    if text.startswith("torchvision/"):
        return Reference(text, "torchvision")
    if path.suffix.lower() in {".pt", ".pth", ".ckpt", ".pkl"}:
        raise CheckpointError(f"{text} is a pickle, and cnnkit loads none: they can run code. Use safetensors or ONNX.")
    # Both sides are Python names, so that C:\\runs\\x is not taken for one.
    if re.fullmatch(r"[\w.]+:[\w.]+", text):
        return Reference(text, "factory")
    # Installed packages are asked last: looking for their entry points takes longer than opening a small network.
    if text in models():
        return Reference(text, "architecture")
    raise _not_a_model(text, path)


def taken(text: str) -> str:
    """Return the name of the zoo entry that a reference to an architecture means; any other reference as it is.

    Several entries may have the same architecture, so results name the entry that was used.

    Raises:
        CnnkitError: as of `resolve`.

    >>> taken("lenet"), taken("lenet-fashion-mnist"), taken("alexnet")
    ('lenet-mnist', 'lenet-fashion-mnist', 'alexnet')
    """
    return zoo.entry(text).name if resolve(text).kind == "architecture" and zoo.has(text) else text


def _not_a_model(text: str, path: Path) -> CnnkitError:
    """Say what a text that is no model reference is instead, or what it may have been meant to be."""
    from cnnkit.pictures import is_image_file

    if is_image_file(path):
        return UsageError(f"{text} is an image, and a model is expected here. To classify it: cnnkit predict {text}")
    if path.is_file():
        return CheckpointError(f"{text} is no model. {_EXPECTED}")
    if len(path.parts) > 1:
        return UnknownNameError("file or folder", text, _models_beside(path), hint=_EXPECTED)
    return UnknownNameError("model", text, [*models(), *zoo.entries()], hint=_EXPECTED)


def _models_beside(path: Path) -> list[str]:
    """Return the runs and model files in the folder that a path is in, or would be."""
    with suppress(OSError):
        return [str(p) for p in path.parent.iterdir() if p.suffix.lower() in MODEL_FILES or (p / BEST).is_file()]
    return []


def short_name(text: str) -> str:
    """Return a name for what is made of the model that a reference names: that of its file, its run or its factory.

    >>> [short_name(text) for text in ("runs/lenet-mnist-1/model.onnx", "torchvision/resnet18", "mypackage.nets:MyNet")]
    ['lenet-mnist-1', 'resnet18', 'MyNet']
    """
    path = Path(text).expanduser().resolve()
    if path.suffix.lower() not in MODEL_FILES:
        return path.name.rpartition(":")[2]
    # Runs call their file model.onnx, and their weights best.safetensors.
    return path.parent.name if path.stem in {"model", "best"} else path.stem
