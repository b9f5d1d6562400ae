"""How good averaged weights are after a few steps: rules for the decay, and for batch statistics.

    python scripts/measure_averaging.py --data-dir DIR [--networks mnist-cnn,digit-cnn] [--data fashion-mnist]

DIR holds the data set as torchvision lays it out. Each network is trained on the CPU by its own optimizer, with a
constant learning rate and batches of 64. After 20, 100, 300 and 1,000 steps the loss and the accuracy on 2,000
validation images are printed: of the weights as they are, and of their averages with a highest decay of 0.9999, by
several rules. `copied` takes the batch statistics from the network, instead of averaging them. `constant` has the full
decay from the first step.
"""

import argparse
import copy
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

import cnnkit
from cnnkit.data.loaded import load
from cnnkit.operation import result_of
from cnnkit.sources import create_model, find
from cnnkit.training.classification import Classification
from cnnkit.training.loader import BatchLoader
from cnnkit.training.optimisation import initialise
from cnnkit.training.step import TrainingStep

DECAY, STEPS = 0.9999, (20, 100, 300, 1000)
CPU = torch.device("cpu")
RULES: dict[str, Callable[[int], float]] = {
    "constant": lambda _: DECAY,
    "power 2/3": lambda step: min(1 - step ** (-2 / 3), DECAY),
    "power 3/4": lambda step: min(1 - step ** (-3 / 4), DECAY),
    "power 1": lambda step: min(1 - step**-1, DECAY),
}


class Average:
    """An average by a rule, its statistics averaged or copied."""

    def __init__(self, network: nn.Module, rule: Callable[[int], float], *, copied: bool) -> None:
        self.module, self.rule, self.copied = copy.deepcopy(network), rule, copied

    @torch.no_grad()
    def add(self, network: nn.Module, step: int) -> None:
        """Take in the network after a step."""
        share = 1 - self.rule(step)
        for there, here in zip(self.module.parameters(), network.parameters(), strict=True):
            there.lerp_(here, share)
        for mean, now in zip(self.module.buffers(), network.buffers(), strict=True):
            if self.copied or not now.is_floating_point():
                mean.copy_(now)
            else:
                mean.lerp_(now, share)


def measure(network_name: str, data_name: str, data_dir: Path, seed: int) -> None:
    """Train one network and print what its averages are worth."""
    recipe = cnnkit.default_recipe(
        network_name, data=data_name, seed=seed, batch_size=64, schedule="constant", warmup_epochs=0, ema=DECAY
    )
    shape = find(network_name).input_shape() or (1, 28, 28)
    data = result_of(load(recipe.data_options(data_dir), shape))
    torch.manual_seed(seed)
    network = create_model(network_name, len(data.classes))
    initialise(network, recipe.initialisation)
    step = TrainingStep(network, Classification.of(recipe, len(data.classes), data.train.targets, CPU), recipe, CPU)
    averages = {
        f"{name}{', copied' if copied else ''}": Average(network, rule, copied=copied)
        for name, rule in RULES.items()
        for copied in (False, True)
    }
    batches = BatchLoader(data.train, data.preprocessing, len(data.classes), recipe, CPU)
    validation = data.validation.drawn(2000)
    images, targets = batches.normalise(next(iter(validation.batches(2000)))[0]), validation.targets
    network.train()
    epoch = 0
    while step.steps < max(STEPS):
        epoch += 1
        for seen, wanted, together in batches.epoch(epoch):
            step(seen, wanted, rate=recipe.learning_rate, together=together)
            for average in averages.values():
                average.add(network, step.steps)
            if step.steps in STEPS:
                print(f"\n{network_name} on {data_name}, seed {seed}, after {step.steps:,} steps")
                kept = {"as it is": network, "cnnkit": step.kept} | {n: a.module for n, a in averages.items()}
                for name, one in kept.items():
                    with torch.inference_mode():
                        logits = copy.deepcopy(one).eval()(images)
                    accuracy = (logits.argmax(1) == targets).float().mean().item()
                    print(f"  {name:<20} {F.cross_entropy(logits, targets).item():8.4f} {accuracy:8.2%}", flush=True)
            if step.steps == max(STEPS):
                break


def main() -> None:
    """Parse, and measure each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--networks", default="mnist-cnn,digit-cnn")
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    for network in arguments.networks.split(","):
        for seed in range(arguments.seeds):
            measure(network, arguments.data, arguments.data_dir, seed)


if __name__ == "__main__":
    main()
