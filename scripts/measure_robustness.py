"""Attack mnist-cnn, as it is in the zoo and after adversarial training, and write the table in docs/robustness.md.

    python scripts/measure_robustness.py --data-dir DIR [--run RUN]

DIR holds MNIST/raw/…. Training takes about ten minutes on a core; --run measures a run of it that is there. All 10,000
test images are attacked. The script ends with an error where a bar is missed.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from gathering import write_part

import cnnkit
from cnnkit.robustness.results import Part, Robustness

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "robustness.md"
MODEL = "mnist-cnn"
CHANGES = {
    "adversarial_training": 0.1, "epochs": 20, "batch_size": 128, "schedule": "one-cycle", "learning_rate": 0.006,
}  # fmt: skip
RADII = (0.05, 0.1, 0.2)
LEAST_CLEAN, LEAST_ROBUST, AT = 0.98, 0.90, 0.1


def attack(ref: str, data_dir: Path, steps: int, radii: tuple[float, ...], only: tuple[Part, ...]) -> Robustness:
    """Attack a network with L∞ on all test images of MNIST."""
    found: Robustness = cnnkit.attack(
        ref, data="mnist", data_dir=data_dir, only=only, norms=["linf"], epsilons=radii, steps=steps, images=0
    )
    return found


def rows(name: str, ref: str, data_dir: Path) -> tuple[list[str], float, float, int]:
    """Return a network's rows of the table, its accuracy, that under PGD at 0.1, and the images without a gradient."""
    found = attack(ref, data_dir, 20, RADII, ("fgsm", "pgd"))
    # Were gradients hidden rather than harmless, many more steps would still find a way; and images without any would
    # be counted.
    longer = attack(ref, data_dir, 100, (AT,), ("pgd",))
    hidden = sum(sum(curve.without_gradient) for curve in (*found.attacks, *longer.attacks))
    table = []
    for curve in (*found.attacks, *longer.attacks):
        by_radius = dict(zip(curve.epsilons, curve.accuracies, strict=True))
        cells = [f"{by_radius[radius]:.2%}" if radius in by_radius else "" for radius in RADII]
        label = "FGSM" if curve.attack == "fgsm" else f"PGD, {curve.steps} steps"
        table.append(f"| {name} | {label} | {found.accuracy:.2%} | {' | '.join(cells)} |")
    pgd = found.attacks[1]
    return table, found.accuracy or 0.0, pgd.accuracies[pgd.epsilons.index(AT)], hidden


def fooled(ref: str) -> tuple[int, int]:
    """Return how many fooling images `cnnkit predict` takes for their class with 99%, and how many there are."""
    with tempfile.TemporaryDirectory() as folder:
        found = cnnkit.attack(ref, only=["fooling"], output=folder).fooling
        assert found is not None  # noqa: S101
        paths = {str(image.image): image.label for image in found.images}
        command = [sys.executable, "-m", "cnnkit", "predict", *paths, "--model", ref, "--top", "1", "--json"]
        answers = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["data"]["predictions"]
    top = [(answer["source"], answer["scores"][0]) for answer in answers]
    right = sum(score["label"] == paths[source] and score["probability"] >= found.confidence for source, score in top)
    return right, len(paths)


def main() -> None:
    """Train or take the run, attack both networks, write the table, and hold the bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--run", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = given.run
        if run is None:
            recipe = cnnkit.default_recipe(MODEL, **CHANGES)
            for epoch in cnnkit.train(recipe, data_dir=given.data_dir, runs_dir=folder):
                print(
                    f"epoch {epoch.epoch}: {epoch.validation_accuracy:.2%} on validation, {epoch.seconds:.0f} s",
                    flush=True,
                )
            run = Path(folder) / f"{MODEL}-mnist-1"
        plain, *_, unseen = rows(f"{MODEL}, of the zoo", MODEL, given.data_dir)
        trained, clean, robust, hidden = rows("the same, adversarially trained", str(run), given.data_dir)
        counts = [fooled(MODEL), fooled(str(run))]
    radii = " | ".join(f"ε = {radius:g}" for radius in RADII)
    lines = [
        f"| network | attack in L∞ | no attack | {radii} |",
        f"| --- | --- |{' --- |' * (1 + len(RADII))}",
        *plain,
        *trained,
        "",
        f"Images without a gradient, over all rows: {unseen + hidden}.",
        "",
        f"Fooling images that `predict` takes for their class with 99% or more: {counts[0][0]} of {counts[0][1]} "
        f"classes of the zoo's network, {counts[1][0]} of {counts[1][1]} after adversarial training.",
        "",
        f"Measured on all 10,000 test images of MNIST, on {os.cpu_count()} CPU cores ({platform.machine()}) with torch "
        f"{torch.__version__}, Python {platform.python_version()}, by `scripts/measure_robustness.py`.",
    ]
    write_part(DOCUMENT, "measured", lines)
    print("\n".join(lines), flush=True)
    if clean < LEAST_CLEAN or robust < LEAST_ROBUST:
        sys.exit(
            f"{clean:.2%} without an attack and {robust:.2%} under one; must be {LEAST_CLEAN:%} and {LEAST_ROBUST:%}."
        )


if __name__ == "__main__":
    main()
