"""What a run keeps on disk: its best weights with their card, its curves, and the state from which it can go on."""

import shutil
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from torch import Tensor

from cnnkit.card import ModelCard
from cnnkit.files import JsonObject
from cnnkit.models.networks import load_weights, read_checkpoint, save_checkpoint
from cnnkit.runfile import resume_command
from cnnkit.sources.files import BEST
from cnnkit.training import randomness
from cnnkit.training.board import Board
from cnnkit.training.distributed import Group
from cnnkit.training.results import EpochRecord, StartRecord
from cnnkit.training.resuming import facts_of
from cnnkit.training.runs import METRICS, versions, write_metrics
from cnnkit.training.setup import Prepared
from cnnkit.training.state import PREVIOUS, STATE, restore_step, step_tensors, write_state
from cnnkit.training.step import TrainingStep


@dataclass
class Position:
    """How far a run is.

    Attributes:
        epoch, step: epochs that are done, and steps of the next one.
        first_rate: learning rate of the first step of the epoch.
        seconds, epoch_seconds: of training, in all and in this epoch.
        records: the epochs that are done.
        start: what the network did before them; None in states of versions before 0.2.
        notices: what the user was told of how the steps run.
    """

    epoch: int = 0
    step: int = 0
    first_rate: float = 0.0
    seconds: float = 0.0
    epoch_seconds: float = 0.0
    records: list[EpochRecord] = field(default_factory=list)
    start: StartRecord | None = None
    notices: list[str] = field(default_factory=list)

    @property
    def best(self) -> EpochRecord | None:
        """The best epoch so far, which is the last that was best."""
        return next((record for record in reversed(self.records) if record.is_best), None)

    @property
    def kept(self) -> EpochRecord | StartRecord:
        """What the weights that are kept were measured at: the best epoch, or the start of a run of none.

        Raises:
            ValueError: neither was measured yet.
        """
        found = self.best or self.start
        if found is None:
            raise ValueError("nothing was measured yet")
        return found

    @classmethod
    def from_facts(cls, facts: JsonObject) -> "Position":
        """Read what `asdict` made, among other facts."""
        # States of earlier versions have neither notices nor a start.
        values = {f.name: facts[f.name] for f in fields(cls) if f.name in facts}
        start = facts.get("start")
        records = [EpochRecord(**record) for record in facts["records"]]
        return cls(**{**values, "records": records, "start": start and StartRecord(**start)})


class CheckpointSaver:
    """Writes into the run folder; in the first of several processes only."""

    def __init__(self, prepared: Prepared, group: Group, step: TrainingStep, position: Position) -> None:
        self.recipe, self.data, self.run = prepared.recipe, prepared.data, prepared.run
        self.group, self.train_step, self.position = group, step, position
        self._card_recipe = self.recipe.override(prepared.given)
        self._pretraining = prepared.pretraining
        self._saved_best = False
        self._facts = facts_of(self.recipe, self.data, group, prepared.given, prepared.pretraining)
        self._board = Board(self.run, self.recipe.tensorboard and group.is_first, after=position.epoch)

    @property
    def checkpoint(self) -> Path:
        """The file of the best weights."""
        return self.run / BEST

    def save_best(self, metrics: dict[str, float]) -> None:
        """Write the weights as they are, as the best."""
        if not self.group.is_first:
            return
        card = ModelCard(
            model=self.recipe.model,
            labels=self.data.classes,
            preprocessing=self.data.preprocessing,
            dataset=self.data.name,
            fingerprint=self.data.fingerprint,
            recipe=self._card_recipe.model_dump(mode="json"),
            metrics=metrics,
            versions=versions(),
            split=self.data.catalogue.record,
            pretraining=self._pretraining,
            trained=bool(self.position.records or self.position.step or self.recipe.weights),
        )
        save_checkpoint(self.checkpoint, self.train_step.kept, card)
        self._saved_best = True

    def load_best(self) -> None:
        """Put the best weights into the network that is measured, in all processes."""
        if self.group.is_first:
            weights, _ = read_checkpoint(self.checkpoint, str(self.checkpoint))
            load_weights(self.train_step.kept, weights)
        self.group.broadcast_weights(self.train_step.kept)

    def write_metrics(self) -> None:
        """Write the epochs that are done."""
        if self.group.is_first:
            write_metrics(self.run / METRICS, self.position.records)
            if self.position.records:
                self._board.add(self.position.records[-1])

    def save_state(self) -> None:
        """Write all that decides how the run goes on; every process has to call it at the same step."""
        own = {f"random.{name}": t for name, t in randomness.capture(self.group.device).items()}
        own |= {f"totals.{name}": t for name, t in self.train_step.totals.state().items()}
        of_each = self.group.gather(own)
        if self.group.is_first:
            write_state(self.run, step_tensors(self.train_step) | of_each, {**self._facts, **asdict(self.position)})

    def leave(self, *, keep: bool) -> None:
        """Leave no run folder without weights: before the first epoch is over, those at hand are the best.

        Args:
            keep: there was a step, and its weights are numbers.
        """
        if not self.group.is_first or self.position.records or self._saved_best:
            return
        if keep:
            self.save_best({})
        elif not self.checkpoint.is_file():  # one of no epochs stays
            shutil.rmtree(self.run, ignore_errors=True)

    def close(self) -> None:
        """Finish the curves."""
        self._board.close()


def what_is_left(run: Path) -> str:
    """Say what a user has after an error."""
    if not (run / STATE).is_file():
        return "Nothing was saved before."
    return f"What was saved before is whole; go on with: {resume_command(run)}"


def remove_if_empty(run: Path) -> None:
    """Remove a run folder in which nothing was saved."""
    if not any((run / name).exists() for name in (BEST, STATE, PREVIOUS)):
        shutil.rmtree(run, ignore_errors=True)


def restore(state: tuple[dict[str, Tensor], JsonObject], step: TrainingStep, group: Group) -> Position:
    """Put a training step and every random generator back to a state; return where that is.

    Raises:
        CheckpointError: it is the state of another network or optimizer.
    """
    tensors, facts = state
    restore_step(step, tensors)
    # Of fewer processes than before, the first goes on with the sums of those that are missing.
    kept = [group.rank] if group.rank else [0, *range(group.world, facts["processes"])]
    step.totals.load(*filter(None, (_own(tensors, "totals.", rank) for rank in kept)))
    if generators := _own(tensors, "random.", group.rank):  # of more, the new ones have generators of their own
        randomness.restore(generators, group.device)
    return Position.from_facts(facts)


def _own(tensors: dict[str, Tensor], prefix: str, rank: int) -> dict[str, Tensor]:
    """Return what a state holds of one process."""
    ending = f"@{rank}"
    return {
        name.removeprefix(prefix).removesuffix(ending): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix) and name.endswith(ending)
    }
