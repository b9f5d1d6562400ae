"""The curves of a run for TensorBoard."""

from pathlib import Path
from typing import TYPE_CHECKING

from cnnkit.errors import MissingDependencyError
from cnnkit.training.results import EpochRecord

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def require_tensorboard() -> None:
    """Make sure that TensorBoard is there.

    Raises:
        MissingDependencyError: it is not.
    """
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "--tensorboard needs TensorBoard. Run: pip install 'cnnkit[tensorboard]'"
        ) from error


class Board:
    """Writes each epoch into `tensorboard/` of a run folder, where the recipe asks for it.

    Args:
        run: the run folder.
        wanted: whether to write anything.
        after: epochs that are done; what an interrupted part of the run wrote beyond them is hidden.
    """

    def __init__(self, run: Path, wanted: bool, *, after: int) -> None:
        self._writer: SummaryWriter | None = None
        if wanted:
            import torch.utils.tensorboard as board

            self._writer = board.SummaryWriter(run / "tensorboard", purge_step=after + 1)

    def add(self, record: EpochRecord) -> None:
        """Add an epoch: losses, accuracies, learning rate and speed over the number of the epoch."""
        if self._writer is None:
            return
        for name in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
            split, _, what = name.partition("_")
            split += " (dry run)" * record.dry_run
            self._writer.add_scalar(f"{what}/{split}", getattr(record, name), record.epoch)
        self._writer.add_scalar("learning rate", record.learning_rate, record.epoch)
        self._writer.add_scalar("images per second", record.images_per_second, record.epoch)
        self._writer.flush()

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()
