"""Whether several processes learn what one learns: the losses of the first steps, with the same batches.

    python scripts/compare_processes.py --data-dir DIR [--networks mnist-cnn,lenet] [--processes 2] [--steps 200]

DIR holds MNIST/raw/…. Each network is trained on MNIST by its own recipe, with its batch as one or shared out, on the
CPU, from the parts that the engine is made of and in processes that torchrun starts. Networks with dropout are not for
this: each process draws its own. Exit code 1: a loss differs by more than 1e-4.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

import cnnkit
from cnnkit.data.loaded import load
from cnnkit.operation import result_of
from cnnkit.sources import create_model, find
from cnnkit.training import randomness
from cnnkit.training.classification import Classification
from cnnkit.training.distributed import joined
from cnnkit.training.loader import BatchLoader
from cnnkit.training.optimisation import initialise, learning_rates
from cnnkit.training.step import TrainingStep

BAR = 1e-4


def losses(network: str, steps: int, data_dir: Path) -> list[float]:
    """Train as one process of its group; return the loss of each step over all of them."""
    recipe = cnnkit.default_recipe(network, data="mnist")
    found: list[float] = []
    with joined("cpu", recipe.batch_size) as group:
        with group.first_goes_first():
            data = result_of(load(recipe.data_options(data_dir), find(network).input_shape() or (1, 28, 28)))
        torch.manual_seed(recipe.seed)
        model = create_model(network, len(data.classes))
        initialise(model, recipe.initialisation)
        step = TrainingStep(
            model.to(memory_format=torch.channels_last),
            Classification.of(recipe, len(data.classes), data.train.targets, group.device),
            recipe,
            group.device,
            wrap=group.wrap if group.world > 1 else None,
            world=group.world,
        )
        batches = BatchLoader(
            data.train,
            data.preprocessing,
            len(data.classes),
            recipe,
            group.device,
            rank=group.rank,
            world=group.world,
        )
        rates = learning_rates(recipe, batches.steps)
        for epoch in itertools.count(1):
            randomness.seed_network(recipe.seed, epoch, group.rank, group.device)
            for images, targets, together in batches.epoch(epoch):
                step(images, targets, rate=next(rates), together=together)
                found.append(group.all_reduce(step.totals)[0])
                step.totals.clear()
                if len(found) == steps:
                    return found
    raise AssertionError


def measure(network: str, processes: int, steps: int, data_dir: Path) -> list[float]:
    """Run `losses` in so many processes."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "losses.json"
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), __file__),
            *("--networks", network, "--steps", str(steps), "--data-dir", str(data_dir), "--output", str(output)),
        ]
        subprocess.run(command, check=True, env={"OMP_NUM_THREADS": "1", **os.environ})
        found: list[float] = json.loads(output.read_text("utf-8"))
    return found


def main() -> None:
    """Compare and print, or be one of the processes that are compared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--networks", default="mnist-cnn,lenet")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.output:
        found = losses(given.networks, given.steps, given.data_dir)
        if os.environ["RANK"] == "0":
            given.output.write_text(json.dumps(found), "utf-8")
        return
    print("| network | batch | steps | loss, first → last | largest difference |\n| --- | ---: | ---: | ---: | ---: |")
    above = False
    for network in given.networks.split(","):
        one, several = (measure(network, count, given.steps, given.data_dir) for count in (1, given.processes))
        largest = max(abs(a - b) for a, b in zip(one, several, strict=True))
        above |= not largest <= BAR
        batch = cnnkit.default_recipe(network).batch_size
        print(f"| {network} | {batch} | {len(one)} | {one[0]:.4f} → {one[-1]:.4f} | {largest:.1e} |", flush=True)
    sys.exit(1 if above else 0)


if __name__ == "__main__":
    main()
