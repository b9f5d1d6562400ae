"""Train every reference recipe with several seeds and write the table in docs/recipes.md.

    python scripts/measure_recipes.py --data-dir DIR [--seeds 3] [--only mlp,lenet/mnist] [--runs-dir RUNS]

DIR holds MNIST/raw/…, FashionMNIST/raw/… and basicshapes/<class>/…; results gather in docs/recipes.json, so that a part
can be measured again. On two cores all of it takes about an hour. With --runs-dir the run folders are kept, for
scripts/build_zoo.py to take one.
"""

import contextlib
import os
import platform
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

import onnxruntime
import torch
from gathering import Result, gather, options, results_in, write_part

import cnnkit
from cnnkit.training.results import TrainingFinished
from cnnkit.words import percent, plain_percent

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "recipes.json"
TABLE = ROOT / "docs" / "recipes.md"


@dataclass(frozen=True)
class Row:
    """A line of the table: a reference recipe on a data set, and the test accuracy that it must reach."""

    model: str
    data: str
    bar: float
    remark: str = ""
    images: int = 10_000
    """Of the test split."""
    mean: bool = False
    """The bar is for the mean of the seeds, not for each of them."""

    @property
    def name(self) -> str:
        """As `--only` takes it: the data set is named where it is not the only one of the network."""
        return self.model if sum(row.model == self.model for row in ROWS) == 1 else f"{self.model}/{self.data}"


ROWS = (
    Row("softmax-regression", "mnist", 0.90, "one epoch"),
    Row("mlp", "mnist", 0.975),
    Row("mnist-cnn", "mnist", 0.986, "mean of 3 seeds"),
    Row("dropout-cnn", "mnist", 0.98, "within two epochs"),
    Row("lenet", "mnist", 0.985, "on MNIST, best of its recipe"),
    Row("lenet", "fashion-mnist", 0.88, "mean of 3 seeds", mean=True),
    Row("shapes-cnn", "basicshapes", 0.93, "30 held-back drawings a class", images=90),
)


def measure(row: Row, seed: int, data_dir: Path, runs_dir: Path) -> Result:
    """Train one recipe with one seed; returns its accuracies (fractions) and seconds, and those of its ONNX file."""
    data = f"./{row.data}" if row.data == "basicshapes" else row.data
    recipe = cnnkit.default_recipe(row.model, seed=seed, data=data)
    # The card names a folder as it is inside DIR: an absolute path would be that of this machine.
    with contextlib.chdir(data_dir):
        *_, last = cnnkit.train.steps(recipe, data_dir=Path(), runs_dir=runs_dir)
        assert isinstance(last, TrainingFinished)  # noqa: S101
        exported = cnnkit.export(last.run, data_dir=Path())
        accuracy = cnnkit.evaluate(exported.path, data_dir=Path()).accuracy
    if last.test_accuracy is None or abs(accuracy - last.test_accuracy) > 1e-6:
        raise SystemExit(f"{row.name}: the checkpoint has {last.test_accuracy}, its ONNX file {accuracy}")
    return {
        "model": row.model,
        "data": row.data,
        "seed": seed,
        "test_accuracy": last.test_accuracy,
        "validation_accuracy": last.validation_accuracy,
        "best_epoch": last.best_epoch,
        "seconds": round(last.seconds, 1),
        "max_abs_logit_difference": exported.certificate.max_absolute_difference,
        "top1_agreement": exported.certificate.top1_agreement,
    }


def found_for(row: Row, results: list[Result]) -> list[Result]:
    """Return the results of a row, by seed."""
    return sorted((r for r in results if (r["model"], r["data"]) == (row.model, row.data)), key=lambda r: r["seed"])


def is_below(row: Row, results: list[Result]) -> bool:
    """Whether a row was measured and misses its bar."""
    accuracies = [r["test_accuracy"] for r in found_for(row, results)]
    return bool(accuracies) and (statistics.mean(accuracies) if row.mean else min(accuracies)) < row.bar


def write_table(results: list[Result]) -> None:
    """Rewrite the table in docs/recipes.md."""
    lines = [
        "| model | data | test accuracy, median | all seeds | must be | seconds | ONNX: largest logit difference |",
        "|" + " --- |" * 7,
    ]
    for row in ROWS:
        found = found_for(row, results)
        if not found:
            continue
        accuracies = [r["test_accuracy"] for r in found]
        median, mean, *each = (
            percent(a, of=row.images) for a in (statistics.median(accuracies), statistics.mean(accuracies), *accuracies)
        )
        listed = f"{', '.join(each)} (mean {mean})"
        lines.append(
            f"| {row.model} | {row.data} | {median} | {listed} | ≥ {plain_percent(row.bar)} {row.remark} "
            f"| {statistics.median(r['seconds'] for r in found):.0f} "
            f"| {max(r['max_abs_logit_difference'] for r in found):.1e} |"
        )
    lines += [
        "",
        f"Measured on {os.cpu_count()} CPU cores ({platform.machine()}) with torch {torch.__version__}, "
        f"onnxruntime {onnxruntime.__version__}, Python {platform.python_version()}.",
    ]
    write_part(TABLE, "measured", lines)


def main() -> None:
    """Measure what is asked for and rewrite the table."""
    parser = options(__doc__, [row.name for row in ROWS])
    parser.add_argument("--runs-dir", type=Path, help="keep the run folders here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        runs_dir = (arguments.runs_dir or Path(scratch)).resolve()
        for row in ROWS:
            for seed in range(arguments.seeds if row.name in arguments.only else 0):
                result = measure(row, seed, arguments.data_dir, runs_dir)
                print(result, flush=True)
                gather(RESULTS, result, by=("model", "data", "seed"))
    results = results_in(RESULTS)
    write_table(results)
    if below := [row.name for row in ROWS if is_below(row, results)]:
        raise SystemExit(f"below the bar: {', '.join(below)}")


if __name__ == "__main__":
    main()
