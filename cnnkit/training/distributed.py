"""The processes that train together: who this one is among them, and what they tell each other."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from cnnkit.errors import DeviceError, LostProcessError, UsageError
from cnnkit.models.networks import choose_device
from cnnkit.training.step import Totals

T = TypeVar("T")

_PATIENCE = timedelta(days=1)
"""For the others to wait while the first process decodes a large image folder."""


@dataclass(frozen=True)
class Group:
    """The processes that torchrun started; one alone where it did not.

    Attributes:
        rank: this process's number among all.
        world: how many there are.
        device: where this process trains.
        waiting: the same processes, where they have time.
    """

    rank: int
    world: int
    device: torch.device
    waiting: dist.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is the one process that writes."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """Let the gradients of a network be the mean over all processes."""
        return nn.parallel.DistributedDataParallel(network)

    def synchronised(self, network: nn.Module) -> nn.Module:
        """Let batch normalisation see the batch of all processes; PyTorch can only on GPUs."""
        if self.world > 1 and self.device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return network

    def all_reduce(self, totals: Totals) -> tuple[float, float, int]:
        """Return mean loss, accuracy and number of images over all processes."""
        sums = torch.stack(
            [totals.loss.double(), totals.right.double(), torch.tensor(totals.images).to(totals.loss).double()]
        )
        if self.world > 1:
            dist.all_reduce(sums)
        loss, right, images = sums.tolist()
        return loss / images, right / images, int(images)

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any process."""
        if self.world == 1:
            return flag
        votes = torch.tensor(int(flag), device=self.device)
        dist.all_reduce(votes, dist.ReduceOp.MAX)
        return bool(votes.item())

    def broadcast(self, value: T) -> T:
        """Return the first process's value in all of them."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, device=self.device)
        return box[0]

    def all_gather(self, value: T) -> list[T]:
        """Return the values of all processes."""
        values = [value] * self.world
        if self.world > 1:
            dist.all_gather_object(values, value)
        return values

    def gather(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of all processes, `name` of process r as `name@r`."""
        boxes = self.all_gather(tensors)
        return {f"{name}@{rank}": tensor for rank, box in enumerate(boxes) for name, tensor in box.items()}

    def broadcast_buffers(self, network: nn.Module) -> None:
        """Give every process the first one's batch statistics, so that all measure what it saves."""
        if self.world > 1:
            for buffer in network.buffers():
                dist.broadcast(buffer, 0)

    def broadcast_weights(self, network: nn.Module) -> None:
        """Give every process the first one's weights and batch statistics."""
        if self.world > 1:
            for tensor in network.state_dict().values():
                dist.broadcast(tensor, 0)

    @contextmanager
    def first_goes_first(self) -> Iterator[None]:
        """Let the first process of each machine do something, such as filling a cache, before the others follow."""
        waits = self.world > 1 and int(os.environ["LOCAL_RANK"]) > 0
        if waits:
            dist.barrier(self.waiting)
        yield
        if self.world > 1 and not waits:
            dist.barrier(self.waiting)


def is_first() -> bool:
    """Return whether this process is the one that writes and shows; so is one that runs alone."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def joined(device: str, batch_size: int) -> Iterator[Group]:
    """Join the processes that torchrun started (gloo on the CPU, NCCL on GPUs), and leave them afterwards.

    Args:
        device: `auto`, `cpu` or `cuda`; each process of a machine gets a GPU of its own.
        batch_size: images in a batch over all processes.

    Raises:
        DeviceError: more processes on this machine than GPUs.
        UsageError: fewer than two images of a batch for a process, or a single GPU for all.
        LostProcessError: on the way.
    """
    world = int(os.environ.get("WORLD_SIZE", "1")) if dist.is_torchelastic_launched() else 1
    place = choose_device(device)
    if world == 1:
        if place.index is not None:
            torch.cuda.set_device(place)  # what is recorded is recorded on the current one
        yield Group(0, 1, place)
        return
    if ":" in device:
        raise UsageError(f"--device {device} is one GPU, and there are {world} processes; say --device cuda.")
    if batch_size < 2 * world:
        raise UsageError(f"a batch of {batch_size} leaves less than two images for each of {world} processes.")
    here, local = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["LOCAL_RANK"])
    if place.type == "cuda":
        if here > torch.cuda.device_count():
            raise DeviceError(f"{here} processes need {here} GPUs; this machine has {torch.cuda.device_count()}.")
        place = torch.device("cuda", local)
        torch.cuda.set_device(place)
    with _without_others():
        store, rank, world = next(rendezvous("env://"))
        # torchrun restarts with the store of the try before, in which the addresses of its processes still stand.
        store = dist.PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)  # type: ignore[attr-defined]
        backend = "nccl" if place.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=world)
        try:
            waiting: Any = dist.new_group(timeout=_PATIENCE, backend="gloo")
            yield Group(rank, world, place, waiting)
        finally:
            dist.destroy_process_group()


def is_about_others(error: Exception) -> bool:
    """Return whether an error says that another process is gone."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


@contextmanager
def _without_others() -> Iterator[None]:
    """Turn what PyTorch raises where another process is gone into an error that says so."""
    try:
        yield
    except RuntimeError as error:
        if not is_about_others(error):
            raise
        raise LostProcessError(
            "another of the processes that train together has ended, so this one ends too."
        ) from error
