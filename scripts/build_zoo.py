"""Train and export every entry of models_zoo/ on the real data, and write its README files and index.json.

    python scripts/build_zoo.py --data-dir DIR [--only digits,lenet-mnist] [--run RUN]

DIR holds MNIST/raw/…, basicshapes/<class>/… and cifar10-jpeg/{train,test}/<class>/…. On two cores all of it takes about
an hour and a half, most of it for CIFAR-10.
"""

import argparse
import contextlib
import dataclasses
import json
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cnnkit import api, registry, zoo
from cnnkit.files import sha256, write_atomic
from cnnkit.results import TrainingFinished
from cnnkit.training.networks import read_checkpoint
from cnnkit.zoo import ZooEntry

ROOT = Path(__file__).parent.parent
ZOO = ROOT / "models_zoo"


@dataclass(frozen=True)
class Plan:
    """An entry to build: the recipe of its architecture, with changes."""

    name: str
    model: str
    data: str = "mnist"
    changes: dict[str, Any] = field(default_factory=dict)
    about: str = ""


PLANS = (
    Plan("digits", "digit-cnn", about="The default of `cnnkit predict`: reads digits as people draw them."),
    Plan("softmax-regression-mnist", "softmax-regression"),
    Plan("mlp-mnist", "mlp"),
    Plan("mnist-cnn-mnist", "mnist-cnn"),
    Plan("dropout-cnn-mnist", "dropout-cnn"),
    Plan("lenet-mnist", "lenet"),
    Plan("shapes-cnn-basicshapes", "shapes-cnn", data="basicshapes"),
    Plan(
        "cifar-resnet-cifar10",
        "cifar-resnet",
        data="cifar10-jpeg",
        changes={"epochs": 40, "precision": "bf16"},
        about="Ten kinds of things in small photos: `cifar-resnet`, trained longer than by its recipe.",
    ),
)


def build(plan: Plan, data_dir: Path, run: Path | None) -> ZooEntry:
    """Train, unless a finished run is given, export and describe one entry.

    Its folder is replaced only when everything is there.
    """
    spec = registry.model(plan.model)
    # The card names the folder as it is inside DIR: an absolute path would be that of this machine.
    recipe = api.default_recipe(
        plan.model, data=plan.data if plan.data == "mnist" else f"./{plan.data}", **plan.changes
    )
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(data_dir):
        if run is None:
            for event in api.train_events(recipe, data_dir=Path(), runs_dir=Path(scratch)):
                print(event, flush=True)
                if isinstance(event, TrainingFinished):
                    run = event.run
        assert run is not None  # noqa: S101
        checkpoint = (run / "best.safetensors").read_bytes()
        _, card = read_checkpoint(checkpoint, "best.safetensors")
        exported = api.export(run, Path(scratch) / "model.onnx", data_dir=Path())
        evaluation = api.evaluate(exported.path, data_dir=Path())
        model = exported.path.read_bytes()
    folder = ZOO / plan.name
    shutil.rmtree(folder, ignore_errors=True)
    write_atomic(folder / "model.safetensors", checkpoint)
    write_atomic(folder / "model.onnx", model)
    files = {"model.safetensors": sha256(checkpoint), "model.onnx": sha256(model)}
    certificate = exported.certificate
    readme = f"""# {plan.name}

{plan.about or f"`{plan.model}` trained by the recipe below ({spec.source})."}

| | |
| --- | --- |
| network | `{plan.model}`, {spec.parameters:,} parameters |
| data | {plan.data} |
| accuracy | {evaluation.accuracy:.2%} of {evaluation.images:,} test images, in PyTorch and in onnxruntime |
| calibration error | {evaluation.calibration_error:.2%} |
| parity | largest difference of the logits {certificate.max_absolute_difference:.1e} |
| best epoch | {card.metrics["epoch"]:.0f} of {recipe.epochs} |

## Recipe

```toml
{recipe.to_toml().strip()}
```

## Rebuild

```sh
python scripts/build_zoo.py --data-dir DIR --only {plan.name}
```
"""
    write_atomic(folder / "README.md", readme.encode())
    return ZooEntry(plan.name, plan.model, plan.data, evaluation.accuracy, files)


def main() -> None:
    """Build what is asked for and rewrite the index."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--only", default=",".join(plan.name for plan in PLANS))
    parser.add_argument("--run", type=Path, help="a finished run of the one entry that is named by --only")
    arguments = parser.parse_args()
    wanted = arguments.only.split(",")
    for plan in PLANS:
        if plan.name in wanted:
            entry = build(plan, arguments.data_dir.resolve(), arguments.run and arguments.run.resolve())
            # Read again: another process may have built entries meanwhile.
            zoo.entries.cache_clear()
            built = {**zoo.entries(), plan.name: entry}
            listed = [dataclasses.asdict(built[p.name]) for p in PLANS if p.name in built]
            write_atomic(ZOO / "index.json", (json.dumps({"entries": listed}, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
