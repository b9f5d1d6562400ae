"""A training run as it happens: a bar while an epoch runs, a row when it is done."""

import math
from collections.abc import Generator
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from cnnkit.recipe import Recipe
from cnnkit.render import console, envelope
from cnnkit.render.tables import percent, shape
from cnnkit.results import (
    EpochRecord,
    LoadProgress,
    StepProgress,
    TrainingEvent,
    TrainingFinished,
    TrainingStarted,
)

_HEADER = "epoch  train loss  accuracy   val. loss  accuracy   images/s  seconds"


def show(events: Generator[TrainingEvent], recipe: Recipe, *, as_json: bool) -> None:
    """Draw the events of a run on standard error and its result on standard output."""
    display = _Display(recipe)
    records: list[EpochRecord] = []
    try:
        with display.progress:
            for event in events:
                display.draw(event)
                if isinstance(event, EpochRecord):
                    records.append(event)
                if isinstance(event, TrainingFinished):
                    finished = event
    except KeyboardInterrupt:
        events.close()  # saves what there is to save, before anything is said of it
        display.stopped(records)
        raise
    if as_json:
        envelope.write("train", {"recipe": recipe, "epochs": records, "result": finished})
        return
    out = console.out()
    line = Text.assemble(
        "best epoch ", (str(finished.best_epoch), "bold"), f": validation {percent(finished.validation_accuracy)}"
    )
    if finished.test_accuracy is not None:
        line.append(", test ").append(percent(finished.test_accuracy), "bold green")
    out.print(line.append(f", {finished.seconds:.1f} s"))
    out.print(Text(str(finished.checkpoint)), soft_wrap=True)


def _loss(value: float) -> str:
    return f"{value:.4f}" if value < 1e5 else f"{value:.3g}"


class _Display:
    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.console = console.err()
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[left]}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.task = self.progress.add_task("loading", total=None, numbers="", left="")
        self.steps = 0
        self.run = ""

    def draw(self, event: TrainingEvent) -> None:
        match event:
            case LoadProgress():
                self.progress.update(
                    self.task, description=f"reading {event.what}", completed=event.done, total=event.total
                )
            case TrainingStarted():
                self._started(event)
            case StepProgress():
                rate = self._rate(event)
                self.progress.update(
                    self.task,
                    description=f"epoch {event.epoch}/{self.recipe.epochs}",
                    completed=(event.epoch - 1) * self.steps + event.step,
                    numbers=f"loss {event.loss:.4f}  {percent(event.accuracy)}  {rate}",
                )
            case EpochRecord():
                self._epoch(event)

    def _rate(self, event: StepProgress) -> str:
        speed = self.progress.tasks[self.task].speed
        return f"{speed * self.recipe.batch_size:,.0f} images/s" if speed and math.isfinite(speed) else ""

    def _started(self, event: TrainingStarted) -> None:
        self.steps = event.steps_per_epoch
        self.run = str(event.run)
        recipe = self.recipe
        console.say(
            self.console,
            Text.assemble(
                (recipe.model, "bold"),
                f" ({event.parameters:,} parameters) on {recipe.data}: {event.train_images:,} images to train, "
                f"{event.validation_images:,} to validate, {event.test_images:,} to test; {event.device}",
            ),
        )
        details = [recipe.optimizer, f"learning rate {recipe.learning_rate:g}", f"batch {recipe.batch_size}"]
        details += [f"{recipe.schedule} schedule"] if recipe.schedule != "constant" else []
        details += [f"{recipe.augmentation} augmentation"] if recipe.augmentation != "none" else []
        details += [f"input {shape(recipe.input_shape)}"] if recipe.input_shape else []
        console.say(self.console, Text(", ".join(details) + f" → {event.run}", "dim"))
        self.console.print(Text(_HEADER, "bold cyan"), soft_wrap=True)
        self.progress.update(self.task, total=self.steps * recipe.epochs, completed=0, left="left")

    def _epoch(self, event: EpochRecord) -> None:
        row = (
            f"{event.epoch:>5}  {_loss(event.train_loss):>10}  {percent(event.train_accuracy):>8}  "
            f"{_loss(event.validation_loss):>10}  {percent(event.validation_accuracy):>8}  "
            f"{event.images_per_second:>9,.0f}  {event.seconds:>7.1f}"
        )
        self.console.print(Text.assemble(row, (" best" if event.is_best else "", "green")), soft_wrap=True)

    def stopped(self, records: list[EpochRecord]) -> None:
        best = [record for record in records if record.is_best]
        if best:
            kept = (
                f"the best so far, epoch {best[-1].epoch} ({percent(best[-1].validation_accuracy)}), is in {self.run}"
            )
        elif self.run and (Path(self.run) / "best.safetensors").is_file():
            kept = f"no epoch was finished; the weights as they were are in {self.run}"
        else:
            kept = "training had not begun, and nothing is left behind"
        console.say(self.console, Text(f"stopped: {kept}", "yellow"))
