"""A training run as it happens: a bar while an epoch runs, a row when it is done."""

import math
from collections.abc import Generator, Sequence
from pathlib import Path

from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from cnnkit.data.results import ClassCount, SkippedFiles
from cnnkit.progress import LoadProgress, Notice
from cnnkit.recipe import Recipe
from cnnkit.render import console, envelope
from cnnkit.render.progress import Bar
from cnnkit.render.tables import shape
from cnnkit.runfile import resume_command
from cnnkit.training.results import (
    EpochRecord,
    StartRecord,
    StepProgress,
    TrainingEvent,
    TrainingFinished,
    TrainingStarted,
    TrainingStopped,
)
from cnnkit.words import counted, part_of, percent, share

_LISTED = 20
"""Classes that are named with their numbers of images."""

_HEADER = "epoch  train loss  accuracy   val. loss  accuracy   images/s  seconds"


def show(
    events: Generator[TrainingEvent], recipe: Recipe, *, as_json: bool, quiet: bool = False
) -> TrainingStopped | None:
    """Draw the events of a run on standard error and its result on standard output.

    Args:
        events: what `train_events` yields.
        recipe: of the run.
        as_json: print the result as JSON.
        quiet: print nothing; so it is in all but one of several processes.

    Returns:
        Where the run stopped when it was asked to, None when it finished.
    """
    display = _Display(recipe, quiet=quiet)
    records: list[EpochRecord] = []
    finished: TrainingFinished | None = None
    stopped: TrainingStopped | None = None
    try:
        with display.progress:
            for event in events:
                display.draw(event)
                match event:
                    case TrainingStarted():
                        records.extend(event.earlier)
                    case EpochRecord():
                        records.append(event)
                    case TrainingStopped():
                        stopped = event
                    case TrainingFinished():
                        finished = event
    except (KeyboardInterrupt, SystemExit):  # the second signal, or the first before training began
        events.close()  # saves what there is to save, before anything is said of it
        display.stopped(records)
        raise
    if quiet or finished is None:
        return stopped
    console.undrawn([finished.run.name])
    if finished.advice:
        console.warning(finished.advice)
    if as_json:
        recipe = recipe.override({"input_shape": display.input_shape})
        about = {"classes": display.classes, "preparation": display.preparation, "skipped": display.skipped}
        rows = {"start": display.start, "epochs": records}
        envelope.write("train", {"recipe": recipe, "data": about, **rows, "result": finished})
    else:
        _result(finished, display.images)
    return None


def _result(finished: TrainingFinished, images: "_Images") -> None:
    """Draw how well the best epoch does, and where it is."""
    out = console.out()
    measured = images.validation if finished.best_epoch else finished.validation_images
    line = Text.assemble(
        ("dry run: ", "bold yellow") if finished.dry_run else "",
        *(("best epoch ", (str(finished.best_epoch), "bold")) if finished.best_epoch else ("before training",)),
        f": validation {share(finished.validation_accuracy, of=measured)}",
    )
    if not finished.best_epoch:
        line.append(f", on {part_of(measured, images.validation, 'image')}")
    elif finished.test_accuracy is None:
        line.append(", no test set")
    else:
        line.append(", test ").append(share(finished.test_accuracy, of=images.test), "bold green")
    line.append(f", {finished.seconds:.1f} s")
    if finished.ended_by != "epochs":
        line.append(f" (ended by --{finished.ended_by})")
    out.print(line)
    out.print(Text(str(finished.checkpoint)), soft_wrap=True)


def how_to_go_on(stopped: TrainingStopped, how: str) -> str:
    """Say where a run stopped, and how to resume it."""
    at = f"step {stopped.steps} of epoch {stopped.epochs + 1}" if stopped.steps else f"epoch {stopped.epochs}"
    best = f"The best so far, epoch {stopped.best_epoch}, is in {stopped.run}. " if stopped.best_epoch else ""
    return f"stopped by {how} after {at}. {best}Go on with: {resume_command(stopped.run)}"


def _parameters(event: TrainingStarted) -> str:
    frozen = f", {event.trainable:,} of them trained" if event.trainable < event.parameters else ""
    return f"{counted(event.parameters, 'parameter')}{frozen}"


def _details(recipe: Recipe) -> str:
    """Name the optimizer, and whatever else is not as usual."""
    details = [
        recipe.optimizer,
        f"learning rate {recipe.learning_rate:g}",
        recipe.momentum and f"{'Nesterov ' if recipe.nesterov else ''}momentum {recipe.momentum:g}",
        recipe.weight_decay and f"weight decay {recipe.weight_decay:g}",
        recipe.clip_norm and f"gradients clipped to a norm of {recipe.clip_norm:g}",
        f"batch {recipe.batch_size}",
        recipe.schedule != "constant" and f"{recipe.schedule} schedule",
        recipe.warmup_epochs and f"warm-up {counted(recipe.warmup_epochs, 'epoch')}",
        recipe.augmentation != "none" and f"{recipe.augmentation} augmentation",
        recipe.drawn_digits and f"drawn digits {recipe.drawn_digits:g}",
        recipe.mixup and f"mixup {recipe.mixup:g}",
        recipe.adversarial_training
        and f"PGD of {counted(recipe.adversarial_steps, 'step')} within {recipe.adversarial_training:g}",
        recipe.class_weights != "none" and f"{recipe.class_weights} class weights",
        recipe.label_smoothing and f"label smoothing {recipe.label_smoothing:g}",
        recipe.ema and f"averaged by {recipe.ema:g}",
        recipe.precision != "fp32" and recipe.precision,
        recipe.compile and "compiled",
        recipe.input_shape and f"input {shape(recipe.input_shape)}",
    ]
    return ", ".join(str(detail) for detail in details if detail)


def _classes(found: Sequence[ClassCount]) -> str:
    """Name the classes with their numbers of images, over all splits."""
    listed = [f"{c.label} ({c.train + c.validation + c.test:,})" for c in found[:_LISTED]]
    more = f" and {len(found) - _LISTED:,} more" if len(found) > _LISTED else ""
    return f"{counted(len(found), 'class', 'classes')}: {', '.join(listed)}{more}"


def _loss(value: float) -> str:
    return f"{value:.4f}" if value < 1e5 else f"{value:.3g}"


class _Images:
    """How many images the accuracies of a run are of; 0 before that is known."""

    def __init__(self, started: TrainingStarted | None = None) -> None:
        sizes = (0, 0, 0)
        if started is not None:
            sizes = started.dry_run or (started.train_images, started.validation_images, started.test_images)
        self.train, self.validation, self.test = sizes


class _Display:
    def __init__(self, recipe: Recipe, *, quiet: bool) -> None:
        self.recipe = recipe
        self.images = _Images()
        self.console = console.err()
        self.console.quiet = quiet
        self.progress = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[left]}"),
            console=self.console,
            transient=True,
            disable=quiet or not self.console.is_terminal,
        )
        self.task = self.progress.add_task("loading", total=None, numbers="", left="")
        self.steps = 0
        self.run = ""
        self.classes: tuple[ClassCount, ...] = ()
        self.preparation = ""
        self.start: StartRecord | None = None
        self.input_shape: tuple[int, int, int] | None = None
        self.skipped: tuple[SkippedFiles, ...] = ()

    def draw(self, event: TrainingEvent) -> None:
        match event:
            case LoadProgress():
                self.progress.update(
                    self.task, description=f"reading {event.what}", completed=event.done, total=event.total
                )
            case Notice(text, warning):
                if warning and not self.console.quiet:
                    console.warning(text, self.console)
                else:
                    console.say(self.console, Text(console.printable(f"{text}."), "dim"))
            case TrainingStarted():
                self._started(event)
            case StartRecord():
                self._start(event)
            case StepProgress():
                self.progress.update(
                    self.task,
                    description=f"epoch {event.epoch}/{self.recipe.epochs}",
                    completed=(event.epoch - 1) * self.steps + event.step,
                    numbers=f"loss {event.loss:.4f}  {percent(event.accuracy, of=event.images)}  {self._rate()}",
                )
            case EpochRecord():
                self._epoch(event)

    def _rate(self) -> str:
        speed = self.progress.tasks[self.task].speed
        return f"{speed * self.recipe.batch_size:,.0f} images/s" if speed and math.isfinite(speed) else ""

    def _started(self, event: TrainingStarted) -> None:
        self.images = _Images(event)
        self.steps = event.steps_per_epoch
        self.run = str(event.run)
        recipe = self.recipe
        console.say(
            self.console,
            Text.assemble(
                (recipe.model, "bold"),
                f" ({_parameters(event)}) on {recipe.data}: {counted(event.train_images, 'image')} to train, "
                f"{event.validation_images:,} to validate, {event.test_images:,} to test; {event.device}",
                f", {counted(event.processes, 'process', 'processes')}" if event.processes > 1 else "",
            ),
        )
        self.classes, self.preparation, self.skipped = event.classes, event.preparation, event.skipped
        self.input_shape = event.input_shape
        if event.classes:
            console.say(self.console, Text(console.printable(_classes(event.classes)), "dim"))
        if event.preparation:
            console.say(self.console, Text(f"images: {event.preparation}", "dim"))
        console.say(self.console, Text(f"{_details(recipe)} → {event.run}", "dim"))
        if event.dry_run is not None:
            train, validation, test = event.dry_run
            console.warning(
                f"this is a dry run of {counted(recipe.limit_batches, 'batch', 'batches')} an epoch: it uses "
                f"{counted(train, 'image')} to train, {validation:,} to validate and {test:,} to test, and no figure "
                "of it counts",
                self.console,
            )
        self.console.print(Text(_HEADER, "bold cyan"), soft_wrap=True)
        if event.start is not None:
            self._start(event.start)
        for record in event.earlier:
            self._epoch(record)
        epochs, steps = event.resumed_at or (0, 0)
        if event.resumed_at:
            at = f"step {steps} of epoch {epochs + 1}" if steps else f"epoch {epochs}"
            console.say(self.console, Text(f"going on after {at}", "dim"))
        done = epochs * self.steps + steps
        self.progress.reset(self.task, total=self.steps * recipe.epochs, completed=done, numbers="", left="left")

    def _start(self, event: StartRecord) -> None:
        self.start = event
        accuracy = percent(event.validation_accuracy, of=event.images)
        row = f"{0:>5}  {'–':>10}  {'–':>8}  {_loss(event.validation_loss):>10}  {accuracy:>8}  "
        about = f"before training, on {part_of(event.images, self.images.validation, 'image')}"
        self.console.print(Text.assemble(row, (about, "dim")), soft_wrap=True)

    def _epoch(self, event: EpochRecord) -> None:
        images = event.train_images or self.images.train
        train = percent(event.train_accuracy, of=images)
        validation = percent(event.validation_accuracy, of=self.images.validation)
        row = (
            f"{event.epoch:>5}  {_loss(event.train_loss):>10}  {train:>8}  "
            f"{_loss(event.validation_loss):>10}  {validation:>8}  "
            f"{event.images_per_second:>9,.0f}  {event.seconds:>7.1f}"
        )
        dry = (" dry run" if event.dry_run else "", "yellow")
        # One image that is left over makes no batch.
        part = not event.dry_run and images < min(self.images.train, self.recipe.batch_size * self.steps)
        some = (f" {part_of(images, self.images.train, 'image')}" if part else "", "yellow")
        self.console.print(Text.assemble(row, (" best" if event.is_best else "", "green"), dry, some), soft_wrap=True)

    def stopped(self, records: list[EpochRecord]) -> None:
        best = [record for record in records if record.is_best]
        if best:
            accuracy = percent(best[-1].validation_accuracy, of=self.images.validation)
            kept = f"the best so far, epoch {best[-1].epoch} ({accuracy}), is in {self.run}"
        elif self.run and (Path(self.run) / "best.safetensors").is_file():
            kept = f"no epoch was finished; the weights as they were are in {self.run}"
        else:
            kept = "training had not begun, and nothing is left behind"
        if self.run and (Path(self.run) / "state.safetensors").is_file():
            kept += f"; go on with: {resume_command(Path(self.run))}"
        console.say(self.console, Text(f"stopped: {kept}", "yellow"))
