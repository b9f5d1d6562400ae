"""Train networks from simple to complex on CIFAR-10 in colour by one recipe, and write the table in docs/recipes.md.

    python scripts/compare_networks.py --data-dir DIR [--seeds 3] [--only mlp,lenet]

DIR holds train/<class>/*.jpg and test/<class>/*.jpg, 50,000 and 10,000 images. Results gather in docs/networks.json, so
that a part can be measured again. On two cores all of it takes about half an hour.
"""

import os
import platform
import statistics
import tempfile
from pathlib import Path

import torch
from gathering import Result, gather, options, results_in, write_part

import cnnkit
from cnnkit.training.results import TrainingFinished, TrainingStarted
from cnnkit.words import counted, percent, plain_percent

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "networks.json"
TABLE = ROOT / "docs" / "recipes.md"
NETWORKS = ("softmax-regression", "mlp", "lenet", "mnist-cnn", "dropout-cnn", "shapes-cnn", "cifar-resnet")
"""From simple to complex."""
LEAST = 0.30
"""Test accuracy that each must reach with every seed."""
RECIPE = {
    "epochs": 2, "optimizer": "adam", "learning_rate": 0.001, "schedule": "constant", "batch_size": 64,
    "normalisation": "standard", "augmentation": "none", "validation_fraction": 0.1,
    "warmup_epochs": 0.0, "weight_decay": 0.0, "label_smoothing": 0.0, "ema": 0.0,
}  # fmt: skip
"""One for all, so that the networks are compared and not their recipes; the first weights are each network's own."""


def measure(name: str, seed: int, folder: Path) -> Result:
    """Train one network with one seed; returns its parameters, its accuracies (fractions) and seconds."""
    recipe = cnnkit.default_recipe(name, seed=seed, data=str(folder), **RECIPE)
    with tempfile.TemporaryDirectory() as runs:
        events = list(cnnkit.train.steps(recipe, runs_dir=Path(runs)))
    (started,) = (event for event in events if isinstance(event, TrainingStarted))
    finished = events[-1]
    assert isinstance(finished, TrainingFinished)  # noqa: S101
    return {
        "model": name,
        "seed": seed,
        "input_shape": started.input_shape,
        "parameters": started.parameters,
        "test_accuracy": finished.test_accuracy,
        "validation_accuracy": finished.validation_accuracy,
        "seconds": round(finished.seconds, 1),
        "torch": torch.__version__,
    }


def write_table(results: list[Result]) -> None:
    """Rewrite the table in docs/recipes.md."""
    lines = ["| network | parameters | test accuracy, mean | all seeds | seconds |", "|" + " --- |" * 5]
    for name in NETWORKS:
        found = sorted((r for r in results if r["model"] == name), key=lambda r: int(r["seed"]))
        if not found:
            continue
        accuracies = [r["test_accuracy"] for r in found]
        mean, *each = (percent(a, of=10_000) for a in (statistics.mean(accuracies), *accuracies))
        lines.append(
            f"| {name} | {found[0]['parameters']:,} | {mean} | {', '.join(each)} "
            f"| {statistics.median(r['seconds'] for r in found):.0f} |"
        )
    versions = sorted({r["torch"] for r in results})
    lines += ["", f"Measured with one thread on {counted(os.cpu_count() or 1, 'shared CPU core')} "
              f"({platform.machine()}) with torch {', '.join(versions)}."]  # fmt: skip
    write_part(TABLE, "networks", lines)


def main() -> None:
    """Measure what is asked for and rewrite the table."""
    arguments = options(__doc__, NETWORKS).parse_args()
    for name in NETWORKS:
        for seed in range(arguments.seeds if name in arguments.only else 0):
            result = measure(name, seed, arguments.data_dir.resolve())
            print(result, flush=True)
            gather(RESULTS, result, by=("model", "seed"))
    results = results_in(RESULTS)
    write_table(results)
    if below := sorted({r["model"] for r in results if r["test_accuracy"] <= LEAST}):
        raise SystemExit(f"not above {plain_percent(LEAST)}: {', '.join(below)}")


if __name__ == "__main__":
    main()
