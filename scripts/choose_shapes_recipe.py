"""Train shapes-cnn by several candidate recipes, and choose one by validation images.

    python scripts/choose_shapes_recipe.py --data-dir DIR [--seeds 3] [--only article,one-cycle-0.002-80] [--epochs N]

DIR holds basicshapes/<class>/…; results gather in docs/shapes_recipe.json, so that a part can be measured again, and
what is there already is kept. After a change of the splits, measure all with --again. On two cores a seed takes about
10 seconds for 30 epochs, 50 for 160.

Candidates are ranked by their mean validation accuracy over the seeds, then by their mean validation loss, both of the
best epoch. The test split (`test_fraction` of the recipe) is held back from training as always, and the script ignores
it: no test accuracy is read, stored or printed.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import cnnkit
from cnnkit.training.results import EpochRecord

RESULTS = Path(__file__).parent.parent / "docs" / "shapes_recipe.json"

ARTICLE: dict[str, Any] = {
    "optimizer": "rmsprop",
    "learning_rate": 0.001,
    "schedule": "constant",
    "batch_size": 16,
    "epochs": 30,
    "initialisation": "default",
    "normalisation": "unit",
    "augmentation": "none",
}
ADAM = {**ARTICLE, "optimizer": "adam", "initialisation": "xavier", "normalisation": "standard", "epochs": 80}
CONSTANT = {**ADAM, "augmentation": "drawings"}
ONE_CYCLE = {**CONSTANT, "schedule": "one-cycle", "epochs": 160}

CANDIDATES: dict[str, dict[str, Any]] = {
    "article": ARTICLE,
    "article-xavier": {**ARTICLE, "initialisation": "xavier"},
    "constant-0.001-80-none": ADAM,
    "constant-0.001-80-affine": {**ADAM, "augmentation": "affine"},
    "constant-0.001-80": CONSTANT,
    "constant-0.002-160": {**CONSTANT, "learning_rate": 0.002, "epochs": 160},
    "one-cycle-0.001-160": ONE_CYCLE,
    "one-cycle-0.002-160": {**ONE_CYCLE, "learning_rate": 0.002},
    "one-cycle-0.004-160": {**ONE_CYCLE, "learning_rate": 0.004},
    "one-cycle-0.002-80": {**ONE_CYCLE, "learning_rate": 0.002, "epochs": 80},
}
"""Fields that differ between candidates are given in all of them, so that the registry's own recipe does not count."""

Result = dict[str, Any]


def measure(name: str, changes: dict[str, Any], seed: int, data_dir: Path) -> Result:
    """Train one candidate with one seed; returns what the validation images say of its best epoch."""
    recipe = cnnkit.default_recipe("shapes-cnn", data=str(data_dir / "basicshapes"), seed=seed, **changes)
    with tempfile.TemporaryDirectory() as runs:
        events = cnnkit.train.steps(recipe, data_dir=data_dir, runs_dir=Path(runs))
        records = [event for event in events if isinstance(event, EpochRecord)]
    best = next(record for record in reversed(records) if record.is_best)
    return {
        "candidate": name,
        "changes": changes,
        "seed": seed,
        "validation_accuracy": best.validation_accuracy,
        "validation_loss": best.validation_loss,
        "best_epoch": best.epoch,
        "seconds": round(sum(record.seconds for record in records), 1),
    }


def rank(results: list[Result]) -> list[list[Result]]:
    """Return the results of each candidate, the best candidate first."""
    groups = [[r for r in results if r["candidate"] == name] for name in CANDIDATES]
    return sorted(
        filter(None, groups), key=lambda rows: (-mean(rows, "validation_accuracy"), mean(rows, "validation_loss"))
    )


def mean(rows: list[Result], field: str) -> float:
    """Return the mean of a field over the seeds of a candidate."""
    return statistics.mean(float(row[field]) for row in rows)


def table(ranked: list[list[Result]]) -> str:
    """Return the ranking as Markdown."""
    lines = [
        "| candidate | optimiser | augmentation | epochs | mean validation accuracy | each seed | mean loss |",
        "|" + " --- |" * 7,
    ]
    for rows in ranked:
        changes = rows[0]["changes"]
        cells = (
            rows[0]["candidate"],
            f"{changes['optimizer']} {changes['learning_rate']:g} {changes['schedule']}, {changes['initialisation']}",
            changes["augmentation"],
            changes["epochs"],
            f"{mean(rows, 'validation_accuracy'):.1%}",
            ", ".join(f"{row['validation_accuracy']:.0%}" for row in rows),
            f"{mean(rows, 'validation_loss'):.4f}",
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    """Measure what is asked for and not yet known, and print the ranking."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default=",".join(CANDIDATES), help="candidates, with commas between them")
    parser.add_argument("--epochs", type=int, help="of every candidate, for a trial; nothing is stored then")
    parser.add_argument("--again", action="store_true", help="measure anew what is in the results already")
    arguments = parser.parse_args()
    wanted = arguments.only.split(",")
    if unknown := sorted(set(wanted) - set(CANDIDATES)):
        parser.error(f"--only {','.join(unknown)}: expected some of {', '.join(CANDIDATES)}")
    trial = arguments.epochs is not None
    stored: list[Result] = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() and not trial else []
    # Results of a candidate that was changed since are of no use.
    results = [r for r in stored if r["changes"] == CANDIDATES.get(r["candidate"])]
    for name in wanted:
        changes = {**CANDIDATES[name], "epochs": arguments.epochs} if trial else CANDIDATES[name]
        for seed in range(arguments.seeds):
            known = [r for r in results if (r["candidate"], r["seed"]) == (name, seed)]
            if known and not arguments.again:
                continue
            result = measure(name, changes, seed, arguments.data_dir)
            print(result, flush=True)
            results = [r for r in results if r not in known] + [result]
            if not trial:
                RESULTS.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    counted = [r for r in results if r["candidate"] in wanted and r["seed"] < arguments.seeds]
    ranked = rank(counted)
    print(f"\n{table(ranked)}\n\nChosen: {ranked[0][0]['candidate']} {ranked[0][0]['changes']}")


if __name__ == "__main__":
    main()
