"""Train every reference recipe with several seeds and write the table in docs/recipes.md.

    python scripts/measure_recipes.py --data-dir DIR [--seeds 3] [--only mnist-cnn,mlp]

DIR holds MNIST/raw/… and basicshapes/<class>/…; results gather in docs/recipes.json, so that a part can be measured
again. On two cores all of it takes about half an hour.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
from pathlib import Path

import onnxruntime
import torch

from cnnkit import api, registry
from cnnkit.results import TrainingFinished
from cnnkit.words import percent, plain_percent

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "recipes.json"
TABLE = ROOT / "docs" / "recipes.md"
BARS = {
    "softmax-regression": (0.90, "one epoch"),
    "mlp": (0.975, ""),
    "mnist-cnn": (0.986, "mean of 3 seeds"),
    "dropout-cnn": (0.98, "within two epochs"),
    "lenet": (0.985, "on MNIST, best of its recipe"),
    "shapes-cnn": (0.93, "30 held-back drawings a class"),
}
IMAGES = {"mnist": 10_000, "basicshapes": 90}
"""Of the test splits."""
DATA = {"lenet": "mnist", "shapes-cnn": "basicshapes"}


def measure(model: str, seed: int, data_dir: Path) -> dict[str, float | int | str]:
    """Train one recipe with one seed; returns its accuracies (fractions) and seconds, and those of its ONNX file."""
    data = DATA.get(model, registry.model(model).recipe.data)
    recipe = api.default_recipe(model, seed=seed, data=str(data_dir / data) if data == "basicshapes" else data)
    with tempfile.TemporaryDirectory() as runs:
        *_, last = api.train_events(recipe, data_dir=data_dir, runs_dir=Path(runs))
        assert isinstance(last, TrainingFinished)  # noqa: S101
        exported = api.export(last.run, data_dir=data_dir)
        accuracy = api.evaluate(exported.path, data_dir=data_dir).accuracy
    if last.test_accuracy is None or abs(accuracy - last.test_accuracy) > 1e-6:
        raise SystemExit(f"{model}: the checkpoint has {last.test_accuracy}, its ONNX file {accuracy}")
    return {
        "model": model,
        "data": data,
        "seed": seed,
        "test_accuracy": last.test_accuracy,
        "validation_accuracy": last.validation_accuracy,
        "best_epoch": last.best_epoch,
        "seconds": round(last.seconds, 1),
        "max_abs_logit_difference": exported.certificate.max_absolute_difference,
        "top1_agreement": exported.certificate.top1_agreement,
    }


def write_table(results: list[dict[str, float | int | str]]) -> None:
    """Rewrite the part of docs/recipes.md between its two markers."""
    lines = [
        "| model | data | test accuracy, median | all seeds | must be | seconds | ONNX: largest logit difference |",
        "|" + " --- |" * 7,
    ]
    for model, (bar, remark) in BARS.items():
        rows = sorted((r for r in results if r["model"] == model), key=lambda r: r["seed"])
        if not rows:
            continue
        accuracies = [float(r["test_accuracy"]) for r in rows]
        images = IMAGES[str(rows[0]["data"])]
        median, mean, *each = (
            percent(a, of=images) for a in (statistics.median(accuracies), statistics.mean(accuracies), *accuracies)
        )
        listed = f"{', '.join(each)} (mean {mean})"
        lines.append(
            f"| {model} | {rows[0]['data']} | {median} | {listed} | ≥ {plain_percent(bar)} {remark} "
            f"| {statistics.median(float(r['seconds']) for r in rows):.0f} "
            f"| {max(float(r['max_abs_logit_difference']) for r in rows):.1e} |"
        )
    lines += [
        "",
        f"Measured on {os.cpu_count()} CPU cores ({platform.machine()}) with torch {torch.__version__}, "
        f"onnxruntime {onnxruntime.__version__}, Python {platform.python_version()}.",
    ]
    before, _, rest = TABLE.read_text("utf-8").partition("<!-- measured -->")
    _, _, after = rest.partition("<!-- end -->")
    TABLE.write_text(f"{before}<!-- measured -->\n" + "\n".join(lines) + f"\n<!-- end -->{after}", "utf-8")


def main() -> None:
    """Measure what is asked for and rewrite the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default=",".join(BARS))
    arguments = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    for model in arguments.only.split(","):
        for seed in range(arguments.seeds):
            result = measure(model, seed, arguments.data_dir)
            print(result, flush=True)
            results = [r for r in results if (r["model"], r["seed"]) != (model, seed)] + [result]
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    write_table(results)
    below = [r for r in results if float(r["test_accuracy"]) < BARS[str(r["model"])][0]]
    if below:
        raise SystemExit(f"below the bar: {below}")


if __name__ == "__main__":
    main()
