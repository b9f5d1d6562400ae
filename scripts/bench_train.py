"""Training speed: cnnkit's engine against the same training by other means, on MNIST and the CPU.

    python scripts/bench_train.py --data-dir DIR [--rounds 5] [--networks lenet,mnist-cnn] [--keep] [--json FILE]
    python scripts/bench_train.py --folder IMAGES [--rounds 5] [--folder-network bench_train:small_network]

DIR holds MNIST/raw/…. All train the same network on as many images, with batches of 64, Adam 1e-3 and float32, each in
a process of its own with PyTorch's own number of threads, one after the other in an order drawn anew each round; the
ratio is taken round by round. Exit code 1: a required ratio is not reached. A round is a warm-up epoch and a measured
one in new processes: glibc's malloc hands memory back and takes it anew from 0 to 1,500 pages a step, as it happens to
lie in a process and as long as that lives, and some lose nearly half their time so.

    cnnkit      real runs of the engine, with run folder: images a second of the training part of an epoch
    notebook    the loop of a course notebook: torchvision's MNIST with ToTensor, DataLoader, Adam, loss.item()
    bare step   cnnkit's settings, malloc's too, on one batch that stays in memory: what network and optimizer take.
                A few percent are at stake, so it takes turns with real epochs in one process, a quarter as long
    lightning   the notebook's data and optimizer; from on_train_epoch_start to on_train_epoch_end, nothing logged
    keras       fit, on PyTorch, without metrics; float32 arrays [N, H, W, C], its own order
    keras NCHW  told to use PyTorch's order, [N, C, H, W]; nothing is required here

With --folder, cnnkit trains on an image folder with an empty cache: as it comes, and told that nothing fits in memory.
"""

import argparse
import importlib
import importlib.util
import json
import logging
import math
import multiprocessing
import os
import platform
import random
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Generator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torchvision
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision.transforms import ToTensor

import cnnkit
from cnnkit.data import sets
from cnnkit.models.memory import keep_freed_memory
from cnnkit.models.normalisation import Normalise
from cnnkit.recipe import Recipe
from cnnkit.training.results import EpochRecord, TrainingStarted

BATCH, RATE, ALL_IMAGES = 64, 1e-3, 60_000
BARS = {"notebook": 1.8, "bare step": 0.93, "lightning": 1.9, "keras": 2.2}
"""Images a second of cnnkit divided by those of the candidate: at least this."""
STREAMED_BAR, PEERS = 0.9, ("lightning", "keras")

Epoch = dict[str, float]
"""`images_per_second`, `threads`, its number (0 is a warm-up); from cnnkit also `train_images` and `load_seconds`; from
the bare step `ratio`, cnnkit's rate beside it divided by its own."""
Epochs = dict[str, list[Epoch]]


@dataclass(frozen=True)
class Task:
    """What is trained: `images` of MNIST under `data`, or where `images` is 0 the image folder `data`."""

    network: str
    data: Path
    images: int
    rounds: int
    runs: Path


def cnnkit_engine(task: Task, *, fits: bool = True) -> Generator[Epoch]:
    """Train with cnnkit; it can be told that nothing fits in memory."""
    if not fits:
        importlib.import_module("cnnkit.data.cache").__dict__["fits_in_memory"] = lambda _: False
    changes = {"data": "mnist", "validation_fraction": 1 - task.images / ALL_IMAGES} if task.images else {}
    given = {"data": str(task.data), "epochs": task.rounds + 1, "batch_size": BATCH, "learning_rate": RATE, **changes}
    recipe = Recipe(model=task.network, optimizer="adam").override(given)
    began, start = time.perf_counter(), {}
    for event in cnnkit.train.steps(recipe, data_dir=task.data, runs_dir=task.runs, device="cpu"):
        if isinstance(event, TrainingStarted):
            start = {"train_images": event.train_images, "load_seconds": time.perf_counter() - began}
            assert task.images in {0, event.train_images}  # noqa: S101
        if isinstance(event, EpochRecord):
            yield {"images_per_second": event.images_per_second, **start}


def mnist(task: Task) -> Any:
    """Return torchvision's MNIST, cut without a wrapper that would cost time."""
    data = torchvision.datasets.MNIST(task.data, train=True, transform=ToTensor())
    data.data, data.targets = data.data[: task.images], data.targets[: task.images]
    return data


def notebook(task: Task) -> Generator[Epoch]:
    """Train as a course notebook does."""
    loader = DataLoader(mnist(task), batch_size=BATCH, shuffle=True)
    model = cnnkit.create_model(task.network)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    while True:
        started = time.perf_counter()
        model.train()
        running_loss = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
        yield {"images_per_second": task.images / (time.perf_counter() - started)}


def bare_step(task: Task) -> Generator[Epoch]:
    """Step as often as an epoch has steps, on one batch."""
    keep_freed_memory()
    data = mnist(task)
    images, targets = Normalise((0.0,), (1.0,))(data.data[:BATCH, :, :, None]), data.targets[:BATCH]
    images = images.flatten(1).view(images.shape)  # the strides that cnnkit gives it too
    steps = math.ceil(task.images / BATCH)
    network = cnnkit.create_model(task.network).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, fused=True)
    while True:
        started = time.perf_counter()
        for _ in range(steps):
            loss = F.cross_entropy(network(images), targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        yield {"images_per_second": steps * BATCH / (time.perf_counter() - started)}


def beside_bare_step(task: Task) -> Generator[Epoch]:
    """Let cnnkit's epochs and bare ones take turns, a quarter as long; yields the medians of four turns."""
    short = replace(task, images=task.images // 4 // BATCH * BATCH, rounds=(task.rounds + 1) * 4)
    pairs = zip(cnnkit_engine(short), bare_step(short), strict=False)
    while turns := [(ours["images_per_second"], bare["images_per_second"]) for ours, bare in islice(pairs, 4)]:
        yield {"images_per_second": median(bare for _, bare in turns), "ratio": median(a / b for a, b in turns)}


def with_lightning(task: Task) -> Generator[Epoch]:
    """Train with Lightning, with everything beside the loop switched off."""
    lightning: Any = importlib.import_module("lightning")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    times: list[float] = []

    def stamp(_: object) -> None:
        times.append(time.perf_counter())

    class Module(lightning.LightningModule):  # type: ignore[misc]
        on_train_epoch_start = on_train_epoch_end = stamp

        def training_step(self, batch: list[Tensor], _: int) -> Tensor:
            return F.cross_entropy(self.network(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=RATE)

    off = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    loader, module = DataLoader(mnist(task), batch_size=BATCH, shuffle=True), Module()
    module.network = cnnkit.create_model(task.network)
    while True:
        lightning.Trainer(max_epochs=1, accelerator="cpu", devices=1, **off).fit(module, loader)
        yield {"images_per_second": task.images / (times[-1] - times[-2])}


def with_keras(task: Task, *, order: str = "channels_last") -> Generator[Epoch]:
    """Train with Keras on PyTorch."""
    os.environ |= {"KERAS_BACKEND": "torch", "KERAS_TORCH_DEVICE": "cpu"}
    keras: Any = importlib.import_module("keras")
    keras.config.set_image_data_format(order)
    channel = 1 if order == "channels_first" else 3
    conv, pool, flat, dense = (getattr(keras.layers, n) for n in ("Conv2D", "MaxPooling2D", "Flatten", "Dense"))
    sigmoid, relu = {"activation": "sigmoid"}, {"activation": "relu", "padding": "same"}
    layers = {
        "lenet": [
            conv(6, 5, padding="same", **sigmoid), pool(), conv(16, 5, **sigmoid), pool(),
            flat(), dense(120, **sigmoid), dense(84, **sigmoid), dense(10),
        ],
        "mnist-cnn": [conv(8, 3, **relu), pool(), conv(16, 3, **relu), pool(), conv(32, 3, **relu), flat(), dense(10)],
    }  # fmt: skip
    data = mnist(task)
    x, y = np.expand_dims(data.data.numpy(), channel).astype("float32") / 255, data.targets.numpy()
    model = keras.Sequential([keras.layers.Input(x.shape[1:]), *layers[task.network]])
    assert model.count_params() == sum(p.numel() for p in cnnkit.create_model(task.network).parameters())  # noqa: S101
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(RATE), loss=loss)
    while True:
        started = time.perf_counter()
        model.fit(x, y, batch_size=BATCH, epochs=1, verbose=0)
        yield {"images_per_second": task.images / (time.perf_counter() - started)}


def small_network(num_classes: int = 10) -> nn.Module:
    """Three 3×3 convolutions on 3×32×32 images: so small that feeding it is what takes time."""
    layers: list[nn.Module] = []
    for inputs, outputs in (3, 8), (8, 16), (16, 32):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 4 * 4, num_classes))


small_network.input_shape = (3, 32, 32)  # type: ignore[attr-defined]

CONTENDERS: dict[str, Callable[[Task], Generator[Epoch]]] = {
    "cnnkit": cnnkit_engine, "notebook": notebook, "bare step": beside_bare_step, "lightning": with_lightning,
    "keras": with_keras, "keras NCHW": partial(with_keras, order="channels_first"),
    "streamed": partial(cnnkit_engine, fits=False),
}  # fmt: skip
running: list[Generator[Epoch]] = []
"""The candidate of this process."""


def one_epoch(name: str, task: Task) -> Epoch:
    """Return the candidate's next epoch; called in its process."""
    if not running:
        # A spawned process would spawn its data loaders too; a user's process starts them as the platform does.
        multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[0], force=True)
        running.append(CONTENDERS[name](task))
    return {**next(running[0]), "threads": torch.get_num_threads()}


def end() -> None:
    """Let the candidate tidy up; called in its process."""
    running.pop().close()


def race(names: list[str], task: Task, order: random.Random) -> Epochs:
    """Let candidates train in turn, each in a new process; returns their epochs, each first one a warm-up."""
    epochs: Epochs = {name: [] for name in names}
    with ExitStack() as stack:
        new = partial(ProcessPoolExecutor, 1, multiprocessing.get_context("spawn"))
        pools = {name: stack.enter_context(new()) for name in names}
        for number in range(task.rounds + 1):
            for name in order.sample(names, len(names)) if number else names:
                epochs[name].append({"epoch": number, **pools[name].submit(one_epoch, name, task).result()})
        for pool in pools.values():
            pool.submit(end).result()
    assert len({one["threads"] for taken in epochs.values() for one in taken}) == 1  # noqa: S101
    return epochs


def spread(values: list[float], form: str) -> str:
    """Return median, least and largest as text."""
    return f"{median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


def speeds(epochs: list[Epoch]) -> list[float]:
    """Return images a second of each epoch but the warm-ups."""
    return [one["images_per_second"] for one in epochs if one["epoch"]]


def verdict(epochs: Epochs, one: str, other: str, bar: float | None) -> tuple[bool, str, str, str]:
    """Return whether the median ratio of two candidates reaches the bar, if there is one, and three cells."""
    ratios = [a / b for a, b in zip(speeds(epochs[one]), speeds(epochs[other]), strict=True)]
    ratios = [epoch["ratio"] for epoch in epochs[other] if epoch["epoch"] and "ratio" in epoch] or ratios
    if bar is None:
        return True, spread(ratios, ".2f"), "", ""
    held = median(ratios) >= bar
    return held, spread(ratios, ".2f"), f"≥ {bar}", "[green]pass" if held else "[red]FAIL"


def compare(epochs: Epochs, console: Console, title: str) -> bool:
    """Show the table of a network; returns whether every bar is held."""
    table = Table("candidate", "images/s: median (min–max)", "cnnkit / candidate", "must be", "", title=title)
    held = True
    for name, taken in epochs.items():
        cells = ["", "", ""]
        if name != "cnnkit":
            passed, *cells = verdict(epochs, "cnnkit", name, BARS.get(name))
            held &= passed
        table.add_row(name, spread(speeds(taken), ",.0f"), *cells)
    console.print(table)
    return held


def compare_folder(epochs: Epochs, console: Console, title: str) -> bool:
    """Show the table of an image folder; returns whether the bar is held."""
    table = Table("run", "load, s", "epoch 1, images/s", "later epochs", "epoch 1 / later", title=title)
    for name, taken in epochs.items():
        load, first, later = taken[0]["load_seconds"], taken[0]["images_per_second"], speeds(taken)
        table.add_row(name, f"{load:.1f}", f"{first:,.0f}", spread(later, ",.0f"), f"{first / median(later):.2f}")
    console.print(table)
    held, *cells = verdict(epochs, "streamed", "cnnkit", STREAMED_BAR)
    console.print(
        "cnnkit: as it comes, the images in memory; before epoch 1 it decodes all files into an empty cache.\n"
        "streamed: told that nothing fits in memory; worker processes read the cache that the first run left.\n"
        "later epochs, streamed / cnnkit:",
        *cells,
    )
    return held


def machine() -> str:
    """Say what it was measured with."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text() if info.is_file() else "")
    cpu = found[1] if found else platform.machine()
    packages = ", ".join(f"{p} {version(p)}" for p in ("torch", "torchvision", *PEERS) if importlib.util.find_spec(p))
    threads = f"{torch.get_num_threads()} threads, on {os.cpu_count()} cores of {cpu}"
    return f"Python {platform.python_version()}, {packages}; {threads}"


def main() -> None:
    """Measure what is asked for, and exit with 1 where a bar is not held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--networks", default="lenet,mnist-cnn", help="of these two")
    parser.add_argument("--images", type=int, default=48_000, help="in an epoch; fewer for a try")
    parser.add_argument("--keep", action="store_true", help="keep the processes over the rounds: half the time")
    parser.add_argument("--json", type=Path, help="file for the raw figures")
    parser.add_argument("--folder", type=Path, help="image folder")
    parser.add_argument("--folder-network", default="bench_train:small_network", help="model reference")
    given = parser.parse_args()
    if not {"lenet", "mnist-cnn"}.issuperset(given.networks.split(",")):
        parser.error("--networks takes lenet and mnist-cnn")
    where = sets.find("mnist").locate(given.data_dir)
    console, order, held, figures = Console(), random.Random(0), True, {}  # noqa: S311
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        if given.folder:
            task = Task(given.folder_network, given.folder.resolve(), 0, given.rounds, Path(folder))
            figures["folder"] = epochs = race(["cnnkit", "streamed"], task, order)
            title = f"{task.network} on {task.data}: {epochs['cnnkit'][0]['train_images']:,} images an epoch"
            held = compare_folder(epochs, console, title)
        elif not where.present or where.folder is None:
            raise SystemExit(f"MNIST is not under {where.folder} ({where.origin}); name its folder with --data-dir.")
        else:
            absent = [name for name in PEERS if not importlib.util.find_spec(name)]
            console.print(*(f"[yellow]{name} is not installed, and left out.\n" for name in absent), end="")
            for network in given.networks.split(","):
                task = Task(network, where.folder, given.images, given.rounds if given.keep else 1, Path(folder))
                names = [n for n in ("cnnkit", *BARS, "keras NCHW") if n.partition(" ")[0] not in absent]
                figures[network] = epochs = {name: [] for name in names}
                for number in range(1 if given.keep else given.rounds):
                    print(f"{network}, round {number + 1} …", file=sys.stderr)
                    for name, taken in race(names, task, order).items():
                        epochs[name] += taken
                title = f"{network}: {given.images:,} images an epoch, {given.rounds} rounds"
                held &= compare(epochs, console, title)
    console.print(machine())
    if given.json:
        given.json.write_text(json.dumps({"machine": machine(), "epochs": figures}, indent=1) + "\n")
    raise SystemExit(0 if held else 1)


if __name__ == "__main__":
    main()
