"""The networks that can be built by name: cnnkit's own, and those of installed packages.

The registry is data: a factory is a `module:function` text, imported only when the network is built, so that listing
and completing names never pays for PyTorch.
"""

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnkit.errors import UnknownNameError, UsageError

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


OWN = {spec.name: spec for spec in (
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

)}  # fmt: skip
"""cnnkit's own networks, by name."""


@cache
def models() -> dict[str, ModelSpec]:
    """Return every registered network by name: cnnkit's own first, then those of installed packages."""
    from cnnkit import plugins

    found = dict(OWN)
    for name in plugins.registered(ENTRY_POINTS):
        spec = plugins.load(ENTRY_POINTS, name, lambda it: isinstance(it, ModelSpec), "a cnnkit.registry.ModelSpec")
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


def short_name(text: str) -> str:
    """Return a name for what is made of the model that a reference names: that of its file, its run or its factory.

    >>> [short_name(text) for text in ("runs/lenet-mnist-1/model.onnx", "torchvision/resnet18", "mypackage.nets:MyNet")]
    ['lenet-mnist-1', 'resnet18', 'MyNet']
    """
    path = Path(text).expanduser().resolve()
    if path.suffix.lower() not in {".onnx", ".safetensors"}:
        return path.name.rpartition(":")[2]
    # Runs call their file model.onnx, and their weights best.safetensors.
    return path.parent.name if path.stem in {"model", "best"} else path.stem
