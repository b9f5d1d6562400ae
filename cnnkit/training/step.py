"""One step of training: forward, loss, backward, update. On CUDA it is recorded once and replayed."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from cnnkit.errors import DeviceError, UsageError
from cnnkit.models.memory import is_out_of_memory
from cnnkit.optimizers import optimizer
from cnnkit.recipe import Recipe
from cnnkit.training.averaging import WeightAverage
from cnnkit.training.optimisation import make_optimizer
from cnnkit.training.recording import try_to_record
from cnnkit.training.task import Task

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_EAGER_STEPS = 3
"""Steps before the recording: libraries choose their algorithms and optimizers make their state in them."""


def require_precision(precision: str, device: torch.device) -> None:
    """Make sure that a device computes in a precision.

    Raises:
        DeviceError: it does not.
    """
    if precision == "fp16" and device.type == "cpu":
        raise DeviceError("--precision fp16 needs a GPU; on the CPU use bf16 or fp32.")
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise DeviceError(f"--precision bf16: {torch.cuda.get_device_name(device)} has no bfloat16; use fp16 or fp32.")


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Return the context in which a network computes in a precision; its weights stay float32."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, _TYPES[precision])


class Totals:
    """Sums of loss and of right answers, kept on the device until somebody asks."""

    def __init__(self, task: Task, device: torch.device) -> None:
        self._task = task
        self.loss = torch.zeros((), device=device)
        self._right = torch.zeros((), dtype=torch.int64, device=device)
        self.images = 0
        # A recorded step counts by itself; on the CPU calls are what counting costs.
        self._every = 1 if device.type == "cuda" else 16
        self._uncounted: list[tuple[Tensor, Tensor]] = []

    def add(self, outputs: Tensor, targets: Tensor, loss: Tensor) -> None:
        """Add a batch; `loss` is the sum over its images. Targets are indices [N] or shares [N, classes]."""
        self.images += len(targets)
        self.loss += loss  # one by one: the sum must not depend on when somebody asks
        if self._uncounted and self._uncounted[-1][1].shape[1:] != targets.shape[1:]:
            self._count()
        self._uncounted.append((outputs, targets))
        if len(self._uncounted) == self._every:
            self._count()

    @property
    def right(self) -> Tensor:
        """Right answers, int64."""
        self._count()
        return self._right

    def _count(self) -> None:
        if self._uncounted:
            outputs, targets = map(torch.cat, zip(*self._uncounted, strict=True))
            self._uncounted.clear()
            self._right += self._task.right(outputs, targets)

    def means(self) -> tuple[float, float]:
        """Return mean loss and accuracy of what this process saw."""
        return self.loss.item() / self.images, self.right.item() / self.images

    def state(self) -> dict[str, Tensor]:
        """Return what `load` takes."""
        return {"loss": self.loss, "right": self.right, "images": torch.tensor(self.images)}

    def load(self, *states: dict[str, Tensor]) -> None:
        """Go on with the sum of what one or several processes saw."""
        self.clear()
        for state in states:
            self.loss += state["loss"].to(self.loss)
            self._right += state["right"].to(self._right)
            self.images += int(state["images"])

    def clear(self) -> None:
        """Begin again, in the same memory: a recorded step writes there."""
        self._uncounted.clear()
        self.loss.zero_()
        self._right.zero_()
        self.images = 0


class TrainingStep:
    """Trains `network` on one batch a call, and adds up what it saw.

    Args:
        network: on its device; what is frozen has `requires_grad` off.
        recipe: optimizer, precision, smoothing, clipping, averaging.
        device: where network and batches are.
        class_weights: float32 [classes], or None for one each.
        wrap: what makes the network's gradients those of all processes (DDP); None for one process.
        world: number of processes that share a batch.

    Attributes:
        steps: of the run, that are done; a resumed run sets it to what its earlier parts did.
        notices: what the user should know of how the steps run, each as a sentence without its full stop.
    """

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        recipe: Recipe,
        device: torch.device,
        *,
        wrap: Callable[[nn.Module], nn.Module] | None = None,
        world: int = 1,
    ) -> None:
        self.network, self.recipe, self.device, self.world = network, recipe, device, world
        self.task = task
        # A step across processes waits for them, which a recording cannot; unfused steps under fp16 read the GPU.
        self._records = device.type == "cuda" and wrap is None
        self._records &= recipe.precision != "fp16" or optimizer(recipe.optimizer).fused
        self.optimizer = make_optimizer(recipe, network, captured=self._records)
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")
        self.steps = 0
        self.notices: list[str] = []
        self._averaging = WeightAverage(network, recipe.ema) if recipe.ema else None
        self.totals = Totals(task, device)
        self._forward: Callable[[Tensor], Tensor] = wrap(network) if wrap else network
        if recipe.compile:
            self._forward = torch.compile(self._forward)
        self._compiled: set[torch.Size] = set()
        self._shares: dict[int, Tensor] = {}
        self._eager = 0
        self._stream: Any = torch.cuda.Stream(device) if self._records else None  # type: ignore[no-untyped-call]
        self._recording: tuple[torch.cuda.CUDAGraph, Tensor, Tensor] | None = None

    @property
    def average(self) -> nn.Module | None:
        """The average of the network over the steps; None where the recipe asks for none."""
        return None if self._averaging is None else self._averaging.module

    @property
    def kept(self) -> nn.Module:
        """The network that is measured and saved: the average where there is one."""
        return self.network if self.average is None else self.average

    def __call__(self, images: Tensor, targets: Tensor, *, rate: float, together: int) -> None:
        """Take one step.

        Args:
            images: float32 [N, C, H, W], this process's share of the batch.
            targets: class indices int64 [N], or shares of the classes float32 [N, classes].
            rate: the learning rate.
            together: images in the batch over all processes.
        """
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        self.steps += 1
        if self._averaging is not None:
            self._averaging.begin(self.steps)
        if self._records:
            self._replay(images, targets, together)
        else:
            self._compute(images, targets, together)

    def _compute(self, images: Tensor, targets: Tensor, together: int) -> None:
        with self._compiling(images.shape):
            with autocast(self.recipe.precision, self.device):
                outputs = self._forward(images)
                loss = self.task.loss(outputs.float(), targets)
            self.optimizer.zero_grad()
            # Processes average their gradients: each divides by its part of the batch's images to give the batch's
            # mean.
            self.scaler.scale(loss).backward(self._share_of(together))  # type: ignore[no-untyped-call]
        if self.recipe.clip_norm:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self._averaging is not None:
            self._averaging.add()
        self.totals.add(outputs.detach(), targets, loss.detach())

    @contextlib.contextmanager
    def _compiling(self, shape: torch.Size) -> Iterator[None]:
        """Say that a network cannot be compiled; what compilers only warn of is no such error."""
        if not self.recipe.compile or shape in self._compiled:
            yield
            return
        with warnings.catch_warnings():
            # Where warnings are made errors, PyTorch would take one on its way for a failure to compile.
            warnings.simplefilter("default")
            try:
                yield
            except Exception as error:
                if not type(error).__module__.startswith("torch._") or is_out_of_memory(error):
                    raise
                reason = str(error).strip().partition("\n")[0]
                raise UsageError(f"--compile: torch.compile cannot compile this network here: {reason}") from error
        self._compiled.add(shape)

    def _share_of(self, together: int) -> Tensor:
        """Return what the gradient of a summed loss begins with, made once for each size of a batch."""
        if together not in self._shares:
            self._shares[together] = torch.tensor(self.world / together, device=self.device)
        return self._shares[together]

    def _replay(self, images: Tensor, targets: Tensor, together: int) -> None:
        if self._recording is None and self._eager >= _EAGER_STEPS and together == self.recipe.batch_size:
            self._record(images, targets, together)
        if self._recording is not None and self._recording[1].shape == images.shape:
            graph, static_images, static_targets = self._recording
            static_images.copy_(images)
            static_targets.copy_(targets)
            graph.replay()
            self.totals.images += len(images)
            return
        if not self._records:
            self._compute(images, targets, together)
            return
        # On a stream of its own, as the recording asks of the steps before it.
        self._stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._stream):
            self._compute(images, targets, together)
        torch.cuda.current_stream(self.device).wait_stream(self._stream)
        self._eager += 1

    def _record(self, images: Tensor, targets: Tensor, together: int) -> None:
        graph = torch.cuda.CUDAGraph()
        static = images.clone(memory_format=torch.preserve_format), targets.clone()
        self.optimizer.zero_grad()
        seen = self.totals.images

        def record() -> None:
            with torch.cuda.graph(graph, stream=self._stream):
                self._compute(*static, together)

        problem = try_to_record(record, self.network)
        self.totals.images = seen  # recorded, not computed
        if not problem:
            self._recording = (graph, *static)
            return
        self.notices.append(problem)
        self._records = False
        scale = self.scaler.state_dict()  # what it noted of the broken step goes
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.scaler.is_enabled())
        self.scaler.load_state_dict(scale)
