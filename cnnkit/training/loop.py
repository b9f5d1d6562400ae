"""The training loop: a generator of events. It writes the run folder and prints nothing."""

import csv
import io
import math
import shutil
import time
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnkit import datasets
from cnnkit.card import ModelCard
from cnnkit.errors import TrainingDivergedError, UsageError
from cnnkit.files import require_writable, write_atomic
from cnnkit.models.normalisation import Normalise
from cnnkit.recipe import Recipe
from cnnkit.results import EpochRecord, StepProgress, TrainingEvent, TrainingFinished, TrainingStarted
from cnnkit.training import data as data_module
from cnnkit.training.augmentation import AUGMENTATIONS, Augmentation
from cnnkit.training.data import ImageData, Split
from cnnkit.training.networks import choose_device, create_model, input_shape, load_checkpoint, save_checkpoint
from cnnkit.training.optimisers import initialise, make_optimizer, make_schedule
from cnnkit.training.runs import new_run_folder, versions

_PROGRESS_SECONDS = 0.1
_EVALUATION_PIXELS = 1000 * 28 * 28
"""Pixels that are evaluated together: a thousand digits, or sixteen images of 224×224."""


def train_events(
    recipe: Recipe, *, data_dir: Path | None = None, runs_dir: Path = Path("runs"), device: str = "auto"
) -> Generator[TrainingEvent]:
    """Train by a recipe; yields what happens as it happens.

    The run folder gets `run.toml`, `metrics.csv` and `best.safetensors`, the weights of the epoch with the highest
    validation accuracy. Seeds PyTorch's global random state from the recipe.

    Raises:
        UnknownNameError, DataError, DeviceError, OutputError, UsageError: before the first step.
        TrainingDivergedError: the loss became NaN or infinite; the best checkpoint so far is kept.
    """
    place = choose_device(device)
    require_writable(runs_dir)
    shape = recipe.input_shape or input_shape(recipe.model)
    if shape is None:
        raise UsageError(
            f"{recipe.model} does not say its input; give channels × height × width, as in --input 3x32x32."
        )
    data = yield from data_module.load(recipe, shape, data_dir=data_dir)
    torch.manual_seed(recipe.seed)
    network = create_model(recipe.model, len(data.classes))
    initialise(network, recipe.initialisation)
    _check_fits(network, shape, len(data.classes), recipe)
    run = new_run_folder(runs_dir, recipe.model, data.name)
    repeatable = recipe
    if recipe.data not in datasets.DATASETS:
        # Only the whole path repeats the run from another folder; the card, which travels, keeps what was given.
        repeatable = recipe.override({"data": str(Path(recipe.data).expanduser().resolve())})
    repeatable.write(run / "run.toml")
    why = f" ({'the GPU that PyTorch found' if place.type == 'cuda' else 'PyTorch finds no GPU'})"
    yield from _Run(recipe, network, data, run, place, f"{place}{why if device == 'auto' else ''}").events()


@dataclass
class _Totals:
    """Sums of loss and of right answers, kept on the device until somebody asks."""

    loss: Tensor
    right: Tensor
    images: int = 0

    @classmethod
    def on(cls, device: torch.device) -> "_Totals":
        return cls(torch.zeros((), device=device), torch.zeros((), dtype=torch.int64, device=device))

    def add(self, logits: Tensor, targets: Tensor, loss: Tensor) -> None:
        self.loss += loss.detach() * len(targets)
        self.right += (logits.detach().argmax(1) == targets).sum()
        self.images += len(targets)

    def means(self) -> tuple[float, float]:
        return self.loss.item() / self.images, self.right.item() / self.images


class _Run:
    """What one run holds; `events` runs it."""

    def __init__(
        self, recipe: Recipe, network: nn.Module, data: ImageData, run: Path, device: torch.device, device_name: str
    ) -> None:
        self.recipe, self.data, self.run, self.device, self.device_name = recipe, data, run, device, device_name
        # Channels-last is the order in which pixels arrive, and the faster one for small convolutions.
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        form = data.preprocessing
        self.normalise = Normalise(form.mean, form.std).to(device)
        self.augmentation: Augmentation | None = AUGMENTATIONS[recipe.augmentation]
        self.train = Split(data.train.images.to(device), data.train.targets.to(device))
        self.optimizer = make_optimizer(recipe, network)
        # A left-over image alone has no batch statistics, and is left out; the next epoch leaves another one over.
        whole, rest = divmod(len(self.train), recipe.batch_size)
        self.steps = whole + (rest > 1 or not whole)
        self.schedule = make_schedule(recipe, self.optimizer, self.steps * recipe.epochs)
        self.records: list[EpochRecord] = []
        self.best: EpochRecord | None = None
        self.stepped = False

    @property
    def checkpoint(self) -> Path:
        return self.run / "best.safetensors"

    def events(self) -> Iterator[TrainingEvent]:
        started = time.perf_counter()
        try:
            yield TrainingStarted(
                run=self.run,
                device=self.device_name,
                parameters=sum(p.numel() for p in self.network.parameters()),
                train_images=len(self.train),
                validation_images=len(self.data.validation),
                test_images=len(self.data.test),
                steps_per_epoch=self.steps,
            )
            for epoch in range(1, self.recipe.epochs + 1):
                yield from self._epoch(epoch)
        except (KeyboardInterrupt, GeneratorExit, TrainingDivergedError) as stop:
            # Stopped inside the first epoch: its weights are the best there are, unless they are no numbers.
            if self.best is None and self.stepped and not isinstance(stop, TrainingDivergedError):
                self._save({})
            elif not self.checkpoint.is_file():
                shutil.rmtree(self.run, ignore_errors=True)
            raise
        yield self._finished(time.perf_counter() - started)

    def _finished(self, seconds: float) -> TrainingFinished:
        """Measure the best checkpoint on the test split, where there is one, and note it in its card."""
        best = self.best if self.best is not None else self.records[-1]
        test_accuracy = None
        if len(self.data.test):
            self.network.load_state_dict(
                load_checkpoint(self.checkpoint, str(self.checkpoint), trust_code=True)[0].state_dict()
            )
            _, test_accuracy = self._measure(self.data.test)
            self._save({**_metrics(best), "test_accuracy": test_accuracy})
        return TrainingFinished(
            run=self.run,
            checkpoint=self.checkpoint,
            best_epoch=best.epoch,
            validation_accuracy=best.validation_accuracy,
            test_accuracy=test_accuracy,
            seconds=seconds,
        )

    def _epoch(self, epoch: int) -> Iterator[TrainingEvent]:
        started = shown = time.perf_counter()
        totals = _Totals.on(self.device)
        learning_rate = self.optimizer.param_groups[0]["lr"]
        self.network.train()
        for step, batch in enumerate(self._batches(epoch), 1):
            images, targets = batch
            logits = self.network(images)
            loss = F.cross_entropy(logits, targets)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.stepped = True
            self.schedule.step()
            totals.add(logits, targets, loss)
            if time.perf_counter() - shown >= _PROGRESS_SECONDS or step == self.steps:
                mean_loss, accuracy = totals.means()
                self._require_finite(mean_loss, epoch, "training")
                yield StepProgress(epoch, step, totals.images, mean_loss, accuracy)
                shown = time.perf_counter()
        seconds = time.perf_counter() - started
        mean_loss, accuracy = totals.means()
        validation_loss, validation_accuracy = self._measure(self.data.validation)
        self._require_finite(validation_loss, epoch, "validation")
        record = EpochRecord(
            epoch=epoch,
            train_loss=mean_loss,
            train_accuracy=accuracy,
            validation_loss=validation_loss,
            validation_accuracy=validation_accuracy,
            learning_rate=learning_rate,
            seconds=time.perf_counter() - started,
            images_per_second=totals.images / seconds,
            is_best=self._beats_best(validation_accuracy, validation_loss),
        )
        if record.is_best:
            # Saved before it counts as best: an interrupt in between must not leave a best epoch without a file.
            self._save(_metrics(record))
            self.best = record
        self.records.append(record)
        write_metrics(self.run / "metrics.csv", self.records)
        yield record

    def _beats_best(self, accuracy: float, loss: float) -> bool:
        # With few validation images accuracies tie often; the lower loss then tells them apart.
        best = self.best
        return best is None or (accuracy, -loss) > (best.validation_accuracy, -best.validation_loss)

    def _batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed((self.recipe.seed * 2_000_003 + epoch) % 2**63)
        order = torch.randperm(len(self.train), generator=generator).to(self.device)
        numbers = None
        if self.augmentation is not None:
            numbers = self.augmentation.draw(len(self.train), seed=self.recipe.seed, epoch=epoch).to(self.device)
        for chosen in torch.split(order, self.recipe.batch_size)[: self.steps]:
            pixels, targets = self.train.images[chosen], self.train.targets[chosen]
            if self.augmentation is not None and numbers is not None:
                varied = self.augmentation.apply(pixels.permute(0, 3, 1, 2).float() / 255, numbers[chosen])
                # Normalise takes stored pixels; varied ones are rounded as if they had been stored.
                pixels = (varied * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
            yield self.normalise(pixels), targets

    @torch.inference_mode()
    def _measure(self, split: Split) -> tuple[float, float]:
        """Return mean loss and accuracy on a split."""
        self.network.eval()
        totals = _Totals.on(self.device)
        form = self.data.preprocessing
        batch = max(1, _EVALUATION_PIXELS // (form.height * form.width))
        for images, targets in zip(torch.split(split.images, batch), torch.split(split.targets, batch), strict=True):
            there = targets.to(self.device)
            logits = self.network(self.normalise(images.to(self.device)))
            totals.add(logits, there, F.cross_entropy(logits, there))
        return totals.means()

    def _require_finite(self, loss: float, epoch: int, which: str) -> None:
        if math.isfinite(loss):
            return
        kept = f"The best checkpoint, of epoch {self.best.epoch}, is kept in {self.checkpoint}. " if self.best else ""
        rate = f"{self.recipe.learning_rate / 10:g}"
        raise TrainingDivergedError(
            f"the {which} loss became {loss} in epoch {epoch}. {kept}Lower the learning rate, as in "
            f"--learning-rate {rate}."
        )

    def _save(self, metrics: dict[str, float]) -> None:
        card = ModelCard(
            model=self.recipe.model,
            labels=self.data.classes,
            preprocessing=self.data.preprocessing,
            dataset=self.data.name,
            fingerprint=self.data.fingerprint,
            recipe=self.recipe.model_dump(mode="json"),
            metrics=metrics,
            versions=versions(),
        )
        save_checkpoint(self.checkpoint, self.network, card)


def _metrics(record: EpochRecord) -> dict[str, float]:
    return {
        "epoch": record.epoch,
        "validation_loss": record.validation_loss,
        "validation_accuracy": record.validation_accuracy,
    }


def write_metrics(path: Path, records: list[EpochRecord]) -> None:
    """Write one CSV line an epoch, with the fields of `EpochRecord` as header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(EpochRecord)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(record) for record in records)
    write_atomic(path, text.getvalue().encode())


@torch.inference_mode()
def _check_fits(network: nn.Module, shape: tuple[int, int, int], classes: int, recipe: Recipe) -> None:
    """Run two images of zeros through the network, so that a wrong shape fails before a run folder is made."""
    network.eval()
    try:
        logits = network(torch.zeros(2, *shape))
    except (RuntimeError, ValueError, TypeError) as error:
        size = "×".join(map(str, shape))
        raise UsageError(f"{recipe.model} cannot take images of {size}: {' '.join(str(error).split())}.") from error
    if not isinstance(logits, Tensor) or tuple(logits.shape) != (2, classes):
        came = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UsageError(f"{recipe.model} gives {came} for two images; expected logits [2, {classes}].")
