"""Train and export every entry of models_zoo/ on the real data, and write its README files and index.json.

    python scripts/build_zoo.py --data-dir DIR [--only digits,lenet-mnist] [--run RUN | --reexport | --record-split]

DIR holds MNIST/raw/…, FashionMNIST/raw/…, basicshapes/<class>/… and cifar10-jpeg/{train,test}/<class>/…. On two cores
all of it takes about an hour and a half, most of it for CIFAR-10. With --reexport the weights stay as they are: two
minutes. With --record-split only the cards change: entries that were trained before version 0.2 say how their images
were divided.
"""

import argparse
import contextlib
import dataclasses
import json
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors.torch

import cnnkit
from cnnkit import registry, zoo
from cnnkit.card import CARD_KEY
from cnnkit.data import sets
from cnnkit.data.options import Choice
from cnnkit.errors import ParityError
from cnnkit.evaluation.images import catalogue_for
from cnnkit.exporting.carding import replace_card
from cnnkit.files import sha256, write_atomic
from cnnkit.models.networks import read_checkpoint
from cnnkit.operation import result_of
from cnnkit.recipe import Recipe
from cnnkit.runtime.guard import check_with_card
from cnnkit.training.results import TrainingFinished
from cnnkit.words import percent
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
    Plan(
        "digits", "digit-cnn", about="The default of `cnnkit predict`: reads digits as people draw them, in Europe too."
    ),
    Plan("softmax-regression-mnist", "softmax-regression"),
    Plan("mlp-mnist", "mlp"),
    Plan("mnist-cnn-mnist", "mnist-cnn"),
    Plan("dropout-cnn-mnist", "dropout-cnn"),
    # An architecture stands for its first entry, so `lenet` still reads digits.
    Plan("lenet-mnist", "lenet"),
    Plan(
        "lenet-fashion-mnist",
        "lenet",
        data="fashion-mnist",
        changes={"seed": 1},
        about="Ten kinds of clothes: `lenet` trained by its own recipe. Of the seeds 0, 1 and 2 this one has the "
        "highest validation accuracy.",
    ),
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
    """Train one entry, unless a finished run is given, and make the rest of it."""
    # The card names the folder as it is inside DIR: an absolute path would be that of this machine.
    recipe = cnnkit.default_recipe(
        plan.model, data=plan.data if sets.named(plan.data) else f"./{plan.data}", **plan.changes
    )
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(data_dir):
        if run is None:
            for event in cnnkit.train.steps(recipe, data_dir=Path(), runs_dir=Path(scratch)):
                print(event, flush=True)
                if isinstance(event, TrainingFinished):
                    run = event.run
        assert run is not None  # noqa: S101
        return finish(plan, data_dir, (run / "best.safetensors").read_bytes())


def finish(plan: Plan, data_dir: Path, checkpoint: bytes) -> ZooEntry:
    """Export, verify on the whole test set and describe one entry; its folder is replaced when everything is there.

    Raises:
        ParityError: the file is not its network.
    """
    spec = registry.model(plan.model)
    _, card = read_checkpoint(checkpoint, "best.safetensors")
    recipe = Recipe.recorded(card.recipe or {})
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(data_dir):
        write_atomic(Path(scratch) / "best.safetensors", checkpoint)
        exported = cnnkit.export(scratch, data_dir=Path()).path
        verification = cnnkit.verify(exported, data_dir=Path(), device="cpu")
        if not (verification.passed and verification.stored):
            raise ParityError(f"{plan.name} differs from its network: {verification}", result=verification)
        evaluation = cnnkit.evaluate(exported, data_dir=Path(), device="cpu")
        model = exported.read_bytes()
    found, images = verification.certificate, evaluation.images
    agreement = percent(found.top1_agreement, of=found.images_count)
    accuracies = (percent(value, of=found.images_count) for value in (found.torch_accuracy, found.onnx_accuracy))
    print(
        f"{plan.name}: {found.images}, largest difference {found.max_absolute_difference:.1e}, "
        f"mean {found.mean_absolute_difference:.1e}, same first class {agreement}, "
        f"accuracy {' and '.join(accuracies)}, {verification.seconds:.1f} s",
        flush=True,
    )
    folder = ZOO / plan.name
    shutil.rmtree(folder, ignore_errors=True)
    write_atomic(folder / "model.safetensors", checkpoint)
    write_atomic(folder / "model.onnx", model)
    files = {"model.safetensors": sha256(checkpoint), "model.onnx": sha256(model)}
    readme = f"""# {plan.name}

{plan.about or f"`{plan.model}` trained by the recipe below ({spec.source})."}

| | |
| --- | --- |
| network | `{plan.model}`, {spec.parameters:,} parameters |
| data | {plan.data} |
| accuracy | {percent(evaluation.accuracy, of=images)} of {images:,} test images, in PyTorch and in onnxruntime |
| calibration error | {percent(evaluation.calibration_error, of=images)} |
| parity | on all of them: same first class on {agreement}, logits differ by at most \
{found.max_absolute_difference:.1e}, {found.mean_absolute_difference:.1e} on average |
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
    return ZooEntry(plan.name, plan.model, plan.data, evaluation.accuracy, files, evaluation.images)


def record_split(plan: Plan, data_dir: Path) -> ZooEntry:
    """Write into the cards of an entry how the images of its training were divided; weights and graph stay."""
    entry, folder = zoo.entries()[plan.name], ZOO / plan.name
    state, card = read_checkpoint(zoo.read(plan.name, "model.safetensors"), plan.name)
    with contextlib.chdir(data_dir):
        split = result_of(catalogue_for(card, Choice(data_dir=Path()))).record
    content = safetensors.torch.save(state, {CARD_KEY: replace(card, split=split).to_json()})
    write_atomic(folder / "model.safetensors", content)
    _, exported = check_with_card(folder / "model.onnx", plan.name)
    assert exported is not None  # noqa: S101
    replace_card(folder / "model.onnx", replace(exported, split=split))
    print(f"{plan.name}: by {split.by}, seed {split.seed}, {split.images}, digest {split.digest[:12]}", flush=True)
    files = {name: sha256((folder / name).read_bytes()) for name in entry.files}
    return replace(entry, files=files)


def main() -> None:
    """Build what is asked for and rewrite the index."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--only", default=",".join(plan.name for plan in PLANS))
    parser.add_argument("--run", type=Path, help="a finished run of the one entry that is named by --only")
    parser.add_argument("--reexport", action="store_true", help="keep the weights; export and verify them again")
    parser.add_argument("--record-split", action="store_true", help="write the split into the cards, and nothing else")
    arguments = parser.parse_args()
    wanted = arguments.only.split(",")
    for plan in PLANS:
        if plan.name in wanted:
            data_dir = arguments.data_dir.resolve()
            if arguments.record_split:
                entry = record_split(plan, data_dir)
            elif arguments.reexport:
                entry = finish(plan, data_dir, zoo.read(plan.name, "model.safetensors"))
            else:
                entry = build(plan, data_dir, arguments.run and arguments.run.resolve())
            # Read again: another process may have built entries meanwhile.
            zoo.entries.cache_clear()
            built = {**zoo.entries(), plan.name: entry}
            listed = [dataclasses.asdict(built[p.name]) for p in PLANS if p.name in built]
            write_atomic(ZOO / "index.json", (json.dumps({"entries": listed}, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
