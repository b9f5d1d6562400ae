"""The loop over epochs and steps: in which order a run trains, measures, saves and stops."""

import math
import time
from collections.abc import Callable, Generator
from itertools import islice
from typing import Literal

from cnnkit.data.loaded import Split, drawn_for
from cnnkit.errors import OutputError, TrainingDivergedError
from cnnkit.progress import Notice
from cnnkit.training import randomness
from cnnkit.training.adversarial import Adversary
from cnnkit.training.advice import notes_before
from cnnkit.training.checkpoints import CheckpointSaver, Position, restore, what_is_left
from cnnkit.training.describing import class_counts, preparation
from cnnkit.training.distributed import Group
from cnnkit.training.finetuning import set_training_mode
from cnnkit.training.layout import channels_last
from cnnkit.training.loader import BatchLoader
from cnnkit.training.measuring import first_images, measure, metrics_of
from cnnkit.training.optimisation import learning_rates
from cnnkit.training.results import (
    EpochRecord,
    StartRecord,
    StepProgress,
    TrainingEvent,
    TrainingFinished,
    TrainingStarted,
    TrainingStopped,
)
from cnnkit.training.setup import Prepared
from cnnkit.training.step import TrainingStep

_PROGRESS_SECONDS = 0.25
_VOTE_STEPS = 8
"""Steps between two votes of several processes on whether to stop: a vote costs as much as a small step."""
_SLOW_SECONDS = 0.1
"""A first step that takes longer is followed by a vote after each step."""

EndedBy = Literal["epochs", "patience", "max-seconds"]


class _StopWanted(Exception):  # noqa: N818
    """Unwinds the loop to where the state is saved."""


class Engine:
    """What one run holds; `events` runs it."""

    def __init__(
        self, prepared: Prepared, group: Group, device_name: str, checkpoint_every: int, stop: Callable[[], bool]
    ) -> None:
        self.recipe, self.data, self.run = prepared.recipe, prepared.data, prepared.run
        self.limit = self.recipe.limit_batches * self.recipe.batch_size
        self.validation, self.test = (
            split.drawn(self.limit) if self.limit else split for split in (self.data.validation, self.data.test)
        )
        self.trained, self.task = prepared.trained, prepared.task
        self.group, self.device_name, self.checkpoint_every, self.stop = group, device_name, checkpoint_every, stop
        classes = len(self.data.classes)
        self.train_step = TrainingStep(
            group.synchronised(channels_last(prepared.network, group.device)),
            self.task,
            self.recipe,
            group.device,
            wrap=group.wrap if group.world > 1 else None,
            world=group.world,
        )
        form, place = self.data.preprocessing, {"rank": group.rank, "world": group.world}
        drawn = drawn_for(self.data, seed=self.recipe.seed) if self.recipe.drawn_digits else None
        self.batches = BatchLoader(self.data.train, form, classes, self.recipe, group.device, **place, drawn=drawn)
        self.adversary = None
        if self.recipe.adversarial_training:
            self.adversary = Adversary(self.train_step.network, self.recipe, form, group.device, **place)
        self.resumed = prepared.state is not None
        self.is_new, self.over, self.vote_every = prepared.is_new, False, 0
        self.at = restore(prepared.state, self.train_step, group) if prepared.state is not None else Position()
        self.saver = CheckpointSaver(prepared, group, self.train_step, self.at)
        done = self.at.epoch * self.batches.steps + self.at.step
        self.train_step.steps = self.train_step.steps or done  # a state of an earlier version does not have it
        self.rates = islice(learning_rates(self.recipe, self.batches.steps), done, None)

    def events(self) -> Generator[TrainingEvent]:
        """Train to the end, or until somebody stops it; each event comes between two steps."""
        try:
            yield from self._begin()
            while (ended_by := self._ended_by()) is None:
                yield from self._epoch()
            self.over = True
            yield self._finished(ended_by)
        except _StopWanted:
            self._save_state()
            self._leave()
            yield TrainingStopped(self.run, self.at.epoch, self.at.step, self.at.best.epoch if self.at.best else 0)
        except GeneratorExit:
            if self.group.world == 1:
                self._save_state()  # every event comes between two steps
            self._leave()
            raise
        except (KeyboardInterrupt, SystemExit, TrainingDivergedError) as error:
            self._leave(numbers=not isinstance(error, TrainingDivergedError))
            raise
        except OutputError as error:
            raise OutputError(f"{error} {what_is_left(self.run)}") from error
        finally:
            self.saver.close()

    def _begin(self) -> Generator[TrainingEvent]:
        """Say what begins, and measure the network as it is before the first step."""
        yield from notes_before(self.recipe, self.batches.steps, self.at.epoch if self.resumed else None)
        parameters = list(self.train_step.network.parameters())
        used = min(len(self.data.train), self.limit), len(self.validation), len(self.test)
        yield TrainingStarted(
            run=self.run,
            device=self.device_name,
            processes=self.group.world,
            parameters=sum(p.numel() for p in parameters),
            trainable=sum(p.numel() for p in parameters if p.requires_grad),
            input_shape=self.data.preprocessing.input_shape,
            train_images=len(self.data.train),
            validation_images=len(self.data.validation),
            test_images=len(self.data.test),
            classes=class_counts(self.data),
            preparation=preparation(self.data),
            skipped=self.data.catalogue.skipped,
            dry_run=used if self.limit else None,
            steps_per_epoch=self.batches.steps,
            resumed_at=(self.at.epoch, self.at.step) if self.resumed else None,
            earlier=tuple(self.at.records),
            start=self.at.start,
        )
        if self.at.epoch or self.at.step or self.at.start is not None:
            return
        images = first_images(self.validation)
        loss, accuracy = self._measure(images, stop=lambda: False)  # so few that a stop can wait for the first step
        if not math.isfinite(loss):
            raise TrainingDivergedError(
                f"the validation loss is {loss} before the first step: the first weights give no finite scores."
            )
        self.at.start = StartRecord(loss, accuracy, len(images), dry_run=self.recipe.limit_batches > 0)
        yield self.at.start

    def _leave(self, *, numbers: bool = True) -> None:
        keep = numbers and self.at.step > 0
        if keep or self.is_new:
            self.saver.leave(keep=keep)

    def _save_state(self) -> None:
        # In the end the network holds its best weights, and the state after the last epoch is there.
        if not self.over:
            self.saver.save_state()

    def _ended_by(self) -> EndedBy | None:
        recipe, at = self.recipe, self.at
        if at.epoch >= recipe.epochs:
            return "epochs"
        if recipe.patience and at.best is not None and at.epoch - at.best.epoch >= recipe.patience:
            return "patience"
        if recipe.max_seconds and at.records and self.group.any(at.seconds >= recipe.max_seconds):
            return "max-seconds"
        return None

    def _epoch(self) -> Generator[TrainingEvent]:
        at, totals = self.at, self.train_step.totals
        if not at.step:
            randomness.seed_network(self.recipe.seed, at.epoch + 1, self.group.rank, self.group.device)
            totals.clear()
            at.epoch_seconds = 0.0
        set_training_mode(self.train_step.network, self.trained)
        self.since = shown = time.perf_counter()
        for images, targets, together in self.batches.epoch(at.epoch + 1, at.step):
            rate = next(self.rates)
            if not at.step:
                at.first_rate = rate
            seen = images
            if self.adversary is not None:
                seen = self.adversary(images, targets, together=together, epoch=at.epoch + 1, step=at.step)
            self.train_step(seen, targets, rate=rate, together=together)
            at.step += 1
            self._count_time()
            yield from self._notices()
            if self._voted(self.stop()):
                raise _StopWanted
            if self.checkpoint_every and at.step % self.checkpoint_every == 0:
                self.saver.save_state()
                self.since = time.perf_counter()
            if self.since - shown >= _PROGRESS_SECONDS or at.step == self.batches.steps:
                loss, accuracy = totals.means()
                self._count_time()  # a GPU had steps to finish before it could tell
                if self.group.world == 1:  # else each would find out at another step
                    self._require_finite(loss, "training")
                yield StepProgress(at.epoch + 1, at.step, totals.images * self.group.world, loss, accuracy)
                self.since = shown = time.perf_counter()
            if self.recipe.max_seconds and self._voted(at.seconds >= self.recipe.max_seconds):
                break
        yield self._end_epoch()

    def _notices(self) -> Generator[Notice]:
        """Yield what the step has to say, once in a run; its parts share a list."""
        while self.train_step.notices:
            notice = self.train_step.notices.pop()
            if notice not in self.at.notices:
                self.at.notices.append(notice)
            yield Notice(notice, warning=True)

    def _count_time(self) -> None:
        before, self.since = self.since, time.perf_counter()
        self.at.epoch_seconds += self.since - before
        self.at.seconds += self.since - before

    def _voted(self, wish: bool) -> bool:
        if self.group.world == 1:
            return wish
        if self.vote_every == 0:
            self.vote_every = self.group.broadcast(1 if self.at.epoch_seconds > _SLOW_SECONDS else _VOTE_STEPS)
        due = self.at.step % self.vote_every == 0 or self.at.step == self.batches.steps
        return due and self.group.any(wish)

    def _end_epoch(self) -> EpochRecord:
        started, at = time.perf_counter(), self.at
        train_loss, train_accuracy, images = self.group.all_reduce(self.train_step.totals)
        self._require_finite(train_loss, "training")
        self.group.broadcast_buffers(self.train_step.kept)
        validation_loss, validation_accuracy = self._measure(self.validation)
        self._require_finite(validation_loss, "validation")
        best = at.best
        record = EpochRecord(
            epoch=at.epoch + 1,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            validation_loss=validation_loss,
            validation_accuracy=validation_accuracy,
            learning_rate=at.first_rate,
            seconds=at.epoch_seconds + time.perf_counter() - started,
            images_per_second=images / at.epoch_seconds,
            is_best=best is None
            or self.task.rank(validation_accuracy, validation_loss)
            > self.task.rank(best.validation_accuracy, best.validation_loss),
            dry_run=self.recipe.limit_batches > 0,
            train_images=images,
        )
        if record.is_best:
            # Saved before it counts as best: a state must not speak of a best epoch without a file.
            self.saver.save_best(metrics_of(record))
        at.records.append(record)
        at.epoch, at.step = at.epoch + 1, 0
        self.saver.write_metrics()
        self.saver.save_state()
        return record

    def _measure(self, split: Split, stop: Callable[[], bool] | None = None) -> tuple[float, float]:
        kept, normalise = self.train_step.kept, self.batches.normalise
        found = measure(kept, self.task, normalise, split, self.recipe, self.group, stop=stop or self.stop)
        if found is None:
            raise _StopWanted
        return found

    def _finished(self, ended_by: EndedBy) -> TrainingFinished:
        """Measure the best checkpoint on the test split, where there is one, and note it in its card."""
        kept, test_accuracy, images = self.at.kept, None, (len(self.validation), len(self.test))
        if isinstance(kept, StartRecord):  # the first weights of a run of no epochs, from whose state it can go on
            images = kept.images, 0
            self.saver.save_best(metrics_of(kept))
            self.saver.write_metrics()
            self.saver.save_state()
        elif len(self.test):
            self.saver.load_best()
            _, test_accuracy = self._measure(self.test)
            if not kept.dry_run:
                self.saver.save_best({**metrics_of(kept), "test_accuracy": test_accuracy})
        return TrainingFinished(
            run=self.run,
            checkpoint=self.saver.checkpoint,
            best_epoch=kept.epoch,
            validation_accuracy=kept.validation_accuracy,
            test_accuracy=test_accuracy,
            seconds=self.at.seconds,
            ended_by=ended_by,
            validation_images=images[0],
            test_images=images[1],
            dry_run=kept.dry_run,
            notices=tuple(self.at.notices),
            advice=self.task.advice(self.at.records),
        )

    def _require_finite(self, loss: float, which: str) -> None:
        if math.isfinite(loss):
            return
        best = self.at.best
        kept = f"The best checkpoint, of epoch {best.epoch}, is kept in {self.saver.checkpoint}. " if best else ""
        raise TrainingDivergedError(
            f"the {which} loss became {loss} in epoch {self.at.epoch + 1}. {kept}Lower the learning rate, as in "
            f"--learning-rate {self.recipe.learning_rate / 10:g}."
        )
