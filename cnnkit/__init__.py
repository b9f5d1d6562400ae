"""Classic convolutional networks, from a name to a trained, proven and served ONNX file.

The names below are loaded when first used, so that `import cnnkit` costs nothing.
"""

import os
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

# onnxruntime's wheels tell its maker of every session, and keep an identifier in the home folder. 0 lets them.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOMES = {
    "CnnkitError": "cnnkit.errors",
    "Classifier": "cnnkit.runtime.classifier",
    "ModelCard": "cnnkit.card",
    "ModelSpec": "cnnkit.registry",
    "Preprocessing": "cnnkit.images",
    "Recipe": "cnnkit.recipe",
    "attack": "cnnkit.robustness.attack",
    "benchmark": "cnnkit.inspection.benchmark",
    "create_model": "cnnkit.sources",
    "default_recipe": "cnnkit.training.recipes",
    "doctor": "cnnkit.runtime.doctor",
    "evaluate": "cnnkit.evaluation.accuracy",
    "explain": "cnnkit.inspection.explain",
    "export": "cnnkit.exporting.export",
    "find_mistakes": "cnnkit.evaluation.mistakes",
    "list_datasets": "cnnkit.data.listing",
    "list_models": "cnnkit.listing",
    "load": "cnnkit.sources",
    "open_dataset": "cnnkit.data.listing",
    "report": "cnnkit.reporting.report",
    "serve": "cnnkit.serving.serve",
    "summarize": "cnnkit.inspection.summarize",
    "train": "cnnkit.training.train",
    "tune": "cnnkit.exporting.tune",
    "verify": "cnnkit.exporting.verify",
}

__all__ = ["__version__", *sorted(_HOMES)]  # noqa: PLE0604

if TYPE_CHECKING:
    from cnnkit.card import ModelCard as ModelCard
    from cnnkit.data.listing import list_datasets as list_datasets
    from cnnkit.data.listing import open_dataset as open_dataset
    from cnnkit.errors import CnnkitError as CnnkitError
    from cnnkit.evaluation.accuracy import evaluate as evaluate
    from cnnkit.evaluation.mistakes import find_mistakes as find_mistakes
    from cnnkit.exporting.export import export as export
    from cnnkit.exporting.tune import tune as tune
    from cnnkit.exporting.verify import verify as verify
    from cnnkit.images import Preprocessing as Preprocessing
    from cnnkit.inspection.benchmark import benchmark as benchmark
    from cnnkit.inspection.explain import explain as explain
    from cnnkit.inspection.summarize import summarize as summarize
    from cnnkit.listing import list_models as list_models
    from cnnkit.recipe import Recipe as Recipe
    from cnnkit.registry import ModelSpec as ModelSpec
    from cnnkit.reporting.report import report as report
    from cnnkit.robustness.attack import attack as attack
    from cnnkit.runtime.classifier import Classifier as Classifier
    from cnnkit.runtime.doctor import doctor as doctor
    from cnnkit.serving.serve import serve as serve
    from cnnkit.sources import create_model as create_model
    from cnnkit.sources import load as load
    from cnnkit.training.recipes import default_recipe as default_recipe
    from cnnkit.training.train import train as train


def __getattr__(name: str) -> Any:
    import importlib

    if (home := _HOMES.get(name) or _operation(name)) is None:
        raise AttributeError(f"module 'cnnkit' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def _operation(name: str) -> str | None:
    """Return the module of an operation, which is one of its name in the folder of its subject."""
    from pathlib import Path

    for path in Path(__file__).parent.glob(f"*/{name}.py") if name.isidentifier() else ():
        if f"\n@operation\ndef {name}(" in path.read_text("utf-8"):
            return f"cnnkit.{path.parent.name}.{name}"
    return None


def __dir__() -> list[str]:
    return sorted(__all__)
