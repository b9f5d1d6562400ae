"""The notebook's LeNet recipes on Fashion-MNIST, by cnnkit and by a plain loop, and AlexNet on a part of the images.

    python scripts/compare_lenet.py --data-dir DIR [--seeds 3] [--only loop,slow,alexnet]

DIR holds FashionMNIST/raw/…. What cnnkit reaches with the reference recipe is measured by scripts/measure_recipes.py;
this script adds, to docs/fashion_mnist.json and to the tables in docs/recipes.md:

    loop      the reference recipe in a loop of torch's own parts alone: the same network, initialisation, optimizer,
              rate, batches, epochs and images of each split. The order of the images is the loop's own
    slow      cnnkit with the notebook's other recipe, 150 epochs at 0.01
    alexnet   its recipe on a part of the images, and what an epoch of all images would take

All weights are chosen by the validation images; the test images are used once, at the end.
"""

import copy
import hashlib
import os
import platform
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gathering import Result, gather, options, results_in, write_part
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.datasets import FashionMNIST

import cnnkit
from cnnkit import registry
from cnnkit.data import splits
from cnnkit.training.results import EpochRecord, TrainingFinished
from cnnkit.words import counted, percent

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "fashion_mnist.json"
REFERENCE = ROOT / "docs" / "recipes.json"
TABLE = ROOT / "docs" / "recipes.md"
ALLOWED = 0.003
"""cnnkit's mean may be this far below that of the plain loop."""
GUESSING = 0.15
"""Of ten classes: an accuracy above it shows that a network has left the plateau where it answers one class."""
ALL_TRAINING = 54_000
PART = {"train": 2000, "val": 300, "test": 1000}
"""Images of AlexNet's part, all classes as often."""
LONGEST = 420
"""Seconds that AlexNet trains for; an epoch of all images would take hours."""


@dataclass(frozen=True)
class Split:
    """Images as float32 [N, 1, 28, 28] from 0 to 1, and their classes, int64 [N]."""

    images: Tensor
    targets: Tensor


def load_splits(data_dir: Path) -> dict[str, Split]:
    """Return the images that cnnkit trains, validates and tests on, by split."""
    spec = registry.model("lenet").recipe
    train, test = (FashionMNIST(data_dir, train=train) for train in (True, False))
    contents = [hashlib.sha256(image.numpy().data).hexdigest() for image in train.data]
    parts = splits.divide(
        contents, train.targets.tolist(), seed=spec.split_seed, validation=spec.validation_fraction, test=0
    )
    places = {"train": (train, parts["train"]), "validation": (train, parts["validation"])}
    places["test"] = (test, np.arange(len(test.targets)))
    return {
        part: Split(data.data[where].unsqueeze(1).float() / 255, data.targets[where])
        for part, (data, where) in places.items()
    }


def accuracy(network: nn.Module, split: Split) -> float:
    """Return the share of images that are classified rightly."""
    network.eval()
    with torch.no_grad():
        right = network(split.images).argmax(1) == split.targets
    return int(right.sum()) / len(right)


def plain_loop(seed: int, data_dir: Path) -> Result:
    """Train the notebook's network by its reference recipe, without cnnkit."""
    data = load_splits(data_dir)
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Sigmoid(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.Sigmoid(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.Sigmoid(), nn.Linear(120, 84), nn.Sigmoid(), nn.Linear(84, 10),
    )  # fmt: skip
    for layer in network:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.15)
    started, best, best_epoch, weights = time.perf_counter(), 0.0, 0, network.state_dict()
    for epoch in range(1, 101):
        network.train()
        order = torch.randperm(len(data["train"].targets))
        for start in range(0, len(order), 256):
            batch = order[start : start + 256]
            loss = F.cross_entropy(network(data["train"].images[batch]), data["train"].targets[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        found = accuracy(network, data["validation"])
        if found > best:
            best, best_epoch, weights = found, epoch, copy.deepcopy(network.state_dict())
        print(f"plain loop, seed {seed}, epoch {epoch}: {found:.4f} {time.perf_counter() - started:.0f} s", flush=True)
    seconds = time.perf_counter() - started
    network.load_state_dict(weights)
    return {
        "what": "loop",
        "seed": seed,
        "test_accuracy": accuracy(network, data["test"]),
        "validation_accuracy": best,
        "best_epoch": best_epoch,
        "seconds": round(seconds, 1),
    }


def by_cnnkit(what: str, seed: int, data_dir: Path, model: str = "lenet", **changes: Any) -> Result:
    """Train with cnnkit; the result has the epoch in which the network left the plateau, 0 where it never did."""
    left, rates = 0, []
    with tempfile.TemporaryDirectory() as runs:
        recipe = cnnkit.default_recipe(model, seed=seed, **changes)
        for event in cnnkit.train.steps(recipe, data_dir=data_dir, runs_dir=Path(runs), device="cpu"):
            if isinstance(event, EpochRecord):
                rates.append(event.images_per_second)
                left = left or event.epoch * (event.validation_accuracy > GUESSING)
                print(what, event.epoch, event.train_loss, event.validation_accuracy, event.seconds, flush=True)
    assert isinstance(event, TrainingFinished)  # noqa: S101
    return {
        "what": what,
        "seed": seed,
        "test_accuracy": event.test_accuracy,
        "validation_accuracy": event.validation_accuracy,
        "best_epoch": event.best_epoch,
        "seconds": round(event.seconds, 1),
        "left_plateau": left,
        "epochs": len(rates),
        "images_per_second": round(statistics.median(rates), 1),
    }


def write_images(folder: Path, data_dir: Path) -> None:
    """Write the first images of each class as PNG files; those that validate follow those that train."""
    for split, start, end in (
        ("train", 0, PART["train"]),
        ("val", PART["train"], PART["train"] + PART["val"]),
        ("test", 0, PART["test"]),
    ):
        data = FashionMNIST(data_dir, train=split != "test")
        for label, name in enumerate(data.classes):
            place = folder / split / name.replace("/", "-")
            place.mkdir(parents=True)
            for at in (data.targets == label).nonzero()[start // 10 : end // 10, 0].tolist():
                Image.fromarray(data.data[at].numpy()).save(place / f"{at}.png")


def alexnet(seed: int, data_dir: Path) -> Result:
    """Train AlexNet by its recipe on a part of the images."""
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), data_dir)
        return {**by_cnnkit("alexnet", seed, data_dir, "alexnet", data=folder, max_seconds=LONGEST), "images": PART}


MEASUREMENTS = {
    "loop": plain_loop,
    "slow": lambda seed, data_dir: by_cnnkit("slow", seed, data_dir, learning_rate=0.01, epochs=150),
    "alexnet": alexnet,
}
TITLES = {
    "cnnkit": "cnnkit, 100 epochs at 0.15",
    "loop": "plain PyTorch loop, 100 epochs at 0.15",
    "slow": "cnnkit, 150 epochs at 0.01",
}


def about_alexnet(result: Result) -> str:
    """Say what AlexNet reached on its part, and what all images would take."""
    images, recipe = result["images"], registry.model("alexnet").recipe
    hours = ALL_TRAINING / result["images_per_second"] / 3600
    return (
        f"**AlexNet, on a part.** Its recipe, stopped after {counted(result['epochs'], 'epoch')} and "
        f"{result['seconds']:.0f} seconds, on {images['train']:,} of the {ALL_TRAINING:,} training images: "
        f"{percent(result['test_accuracy'], of=images['test'])} of {images['test']:,} test images. It says nothing of "
        f"what AlexNet reaches on all of them. It trains {result['images_per_second']:.1f} images a second here: "
        f"an epoch of all images would take {hours:.1f} hours, and the {recipe.epochs} of the recipe "
        f"{hours * recipe.epochs:.0f} hours."
    )


def write_tables(results: list[Result]) -> None:
    """Rewrite the tables in docs/recipes.md."""
    lines = [
        "| LeNet on Fashion-MNIST | test accuracy, mean | all seeds | validation accuracy | best epoch | seconds |",
        "|" + " --- |" * 6,
    ]
    for what, title in TITLES.items():
        rows = sorted((r for r in results if r["what"] == what), key=lambda r: r["seed"])
        if rows:
            tested = [r["test_accuracy"] for r in rows]
            mean, *each = (percent(a, of=10_000) for a in (statistics.mean(tested), *tested))
            lines.append(
                f"| {title} | {mean} | {', '.join(each)} "
                f"| {', '.join(percent(r['validation_accuracy'], of=6000) for r in rows)} "
                f"| {', '.join(str(r['best_epoch']) for r in rows)} "
                f"| {', '.join(format(r['seconds'], '.0f') for r in rows)} |"
            )
    left = [f"{r['left_plateau'] or 'never'}" for r in results if r["what"] == "slow"]
    if left:
        lines += [
            "",
            f"At 0.01 the network answers one class for long: more than {GUESSING:.0%} of the validation images are "
            f"right from epoch {', '.join(left)} on.",
        ]
    lines += ["", *(about_alexnet(r) for r in results if r["what"] == "alexnet")]
    lines += [
        "",
        f"Measured with one thread on {os.cpu_count()} shared CPU cores ({platform.machine()}) with torch "
        f"{torch.__version__}.",
    ]
    write_part(TABLE, "fashion", lines)


def reference() -> list[Result]:
    """Return what scripts/measure_recipes.py found for cnnkit's reference recipe."""
    return [
        {"what": "cnnkit", **r} for r in results_in(REFERENCE) if (r["model"], r["data"]) == ("lenet", "fashion-mnist")
    ]


def main() -> None:
    """Measure what is asked for, rewrite the table, and compare cnnkit with the plain loop."""
    arguments = options(__doc__, list(MEASUREMENTS)).parse_args()
    torch.set_num_threads(1)
    for what, measured in MEASUREMENTS.items():
        for seed in range(arguments.seeds if what in arguments.only else 0):
            result = measured(seed, arguments.data_dir)
            print(result, flush=True)
            gather(RESULTS, result, by=("what", "seed"))
    every = [*reference(), *results_in(RESULTS)]
    write_tables(every)
    means = {
        what: statistics.mean(r["test_accuracy"] for r in every if r["what"] == what) for what in ("cnnkit", "loop")
    }
    print(means)
    if means["cnnkit"] < means["loop"] - ALLOWED:
        raise SystemExit("cnnkit is too far below the plain loop")


if __name__ == "__main__":
    main()
