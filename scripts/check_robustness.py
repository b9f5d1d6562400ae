"""Check that figures under attack do not depend on the scale of the logits, and are as low as those of others.

    python scripts/check_robustness.py --data-dir DIR [--only NAME …] [--images 1000] [--steps 20]

DIR holds MNIST/raw/…, basicshapes/<class>/… and cifar10-jpeg/{train,test}/<class>/…. Every network of the zoo is
attacked by PGD in L∞ at 0.1, with its last layer multiplied by 0.1, 1, 10, 30 and 100, which changes no answer; and by
APGD-CE and APGD-DLR (Croce and Hein, 2020) of torchattacks, which is installed without its dependencies into a
temporary folder. Of both the worst result of each image counts. The rows of these networks in docs/robustness.md are
written anew; the script ends with an error where a bar is missed.
"""

import argparse
import importlib
import os
import platform
import subprocess
import sys
import tempfile
import types
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gathering import part_in, write_part
from torch import Tensor, nn

import cnnkit
from cnnkit import zoo
from cnnkit.data.options import Choice
from cnnkit.evaluation.images import load_for
from cnnkit.models.networks import TorchNetwork, save_checkpoint
from cnnkit.operation import result_of
from cnnkit.robustness.gradients import PixelNetwork, to_pixels
from cnnkit.robustness.subject import Subject, subject_of
from cnnkit.sources import find

DOCUMENT = Path(__file__).parent.parent / "docs" / "robustness.md"
PART = "scales"
SCALES = (0.1, 1.0, 10.0, 30.0, 100.0)
EPSILON, MOST_APART, MOST_ABOVE = 0.1, 0.02, 0.02


def installed(folder: str) -> Any:
    """Return the class of APGD, out of a torchattacks in `folder`."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, "torchattacks"]
    subprocess.run(pip, check=True)
    # The package imports all its attacks, and one of them needs scipy; an empty one has this attack alone.
    package = types.ModuleType("torchattacks")
    package.__path__ = [str(Path(folder) / "torchattacks")]
    sys.modules["torchattacks"] = package
    return importlib.import_module("torchattacks.attacks.apgd").APGD


def scaled(name: str, scale: float, path: Path) -> None:
    """Write a network of the zoo with its last layer multiplied."""
    network, card = find(name).weights()
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        for parameter in last.parameters():
            parameter.mul_(scale)
    save_checkpoint(path, network, card)


def ours(ref: Path, given: argparse.Namespace, data: str | None) -> tuple[float, float, int]:
    """Return the accuracy under PGD, the share that is right as it is, and the images without a gradient."""
    found = cnnkit.attack(
        ref,
        data=data,
        data_dir=given.data_dir,
        device="cpu",
        only=["pgd"],
        norms=["linf"],
        epsilons=[EPSILON],
        images=given.images,
    )
    (pgd,) = found.attacks
    return pgd.accuracies[0], found.accuracy or 0.0, pgd.without_gradient[0]


class Unnormalised(nn.Module):
    """A network that takes pixels in [0, 1], as torchattacks wants it."""

    def __init__(self, network: nn.Module, pixels: PixelNetwork) -> None:
        super().__init__()
        self.network, self.pixels = network, pixels

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        return self.pixels(images)


def theirs(apgd: Any, name: str, given: argparse.Namespace, data: str | None) -> tuple[float, float]:
    """Return the accuracy under both APGD, as they leave the images and on whole pixels."""
    classifier = cnnkit.load(name, device="cpu", torch=True)

    def chosen() -> Generator[Any, None, Subject]:
        """Choose the same images as `ours`."""
        loaded, used = yield from load_for(classifier.card, name, Choice(data, data_dir=given.data_dir))
        split = loaded.filled(used)
        return (yield from subject_of(classifier, split, given.images, seed=0, batch_size=256, folder=None))

    subject = result_of(chosen())
    network = classifier.network
    assert isinstance(network, TorchNetwork)  # noqa: S101
    model = Unnormalised(network.module, PixelNetwork(network.module, network.card.preprocessing, network.device))
    free, whole = 0, 0
    for batch in subject.batches(np.flatnonzero(subject.right)):
        pixels = torch.from_numpy(subject.images[batch]).permute(0, 3, 1, 2)
        targets = torch.from_numpy(subject.targets[batch])
        left, left_whole = torch.ones(len(batch), dtype=torch.bool), torch.ones(len(batch), dtype=torch.bool)
        for loss in ("ce", "dlr"):
            found = apgd(model, norm="Linf", eps=EPSILON, steps=given.steps, loss=loss)(pixels / 255, targets).cpu()
            rounded = to_pixels(found, pixels, epsilon=EPSILON, norm="linf")
            with torch.inference_mode():
                left &= model(found).argmax(1) == targets
                left_whole &= model(rounded / 255).argmax(1) == targets
        free, whole = free + int(left.sum()), whole + int(left_whole.sum())
    return free / len(subject.images), whole / len(subject.images)


def write_table(measured: dict[str, str], images: int, steps: int) -> None:
    """Put rows into the table in docs/robustness.md, by the names of their networks."""
    old = {name: line for line in part_in(DOCUMENT, PART) for name in zoo.entries() if line.startswith(f"| {name} |")}
    rows = old | measured
    scales = " | ".join(f"× {scale:g}" for scale in SCALES)
    lines = [
        f"| network | no attack | {scales} | APGD | APGD, whole pixels |",
        f"| --- | --- |{' --- |' * (len(SCALES) + 2)}",
        *(rows[name] for name in zoo.entries() if name in rows),
        "",
        f"Measured on {images:,} test images of each data set, or all where there are fewer, on {os.cpu_count()} CPU "
        f"cores ({platform.machine()}) with torch {torch.__version__}, Python {platform.python_version()}, APGD of "
        f"{steps} steps, by `scripts/check_robustness.py`.",
    ]
    write_part(DOCUMENT, PART, lines)


def main() -> None:
    """Measure the networks, write the table, and hold the bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=list(zoo.entries()), default=list(zoo.entries()))
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=20, help="of APGD")
    given = parser.parse_args()
    rows, missed = dict[str, str](), list[str]()
    with tempfile.TemporaryDirectory() as folder:
        apgd = installed(folder)
        for name in given.only:
            dataset = zoo.entry(name).dataset
            inside = given.data_dir / dataset
            data = str(inside) if inside.is_dir() and dataset != "mnist" else None
            by_scale = []
            for scale in SCALES:
                path = Path(folder) / "scaled.safetensors"
                scaled(name, scale, path)
                by_scale.append(ours(path, given, data))
            free, whole = theirs(apgd, name, given, data)
            found, clean, _ = by_scale[SCALES.index(1.0)]
            figures = [accuracy for accuracy, _, _ in by_scale]
            cells = " | ".join(f"{value:.1%}" for value in (clean, *figures, free, whole))
            rows[name] = f"| {name} | {cells} |"
            print(rows[name], [count for *_, count in by_scale], flush=True)
            if max(figures) - min(figures) > MOST_APART:
                missed.append(f"{name} depends on the scale")
            if found > free + MOST_ABOVE:
                missed.append(f"{name} is {found - free:.1%} above APGD")
    write_table(rows, given.images, given.steps)
    if missed:
        sys.exit("; ".join(missed))


if __name__ == "__main__":
    main()
