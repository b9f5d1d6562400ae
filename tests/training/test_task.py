"""The task is all that the loop knows of what a network is for: another one is trained, measured and kept alike."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cnnkit.data.loaded import Split
from cnnkit.models.normalisation import Normalise
from cnnkit.recipe import Recipe
from cnnkit.training.distributed import Group
from cnnkit.training.measuring import measure
from cnnkit.training.results import EpochRecord
from cnnkit.training.state import restore_step, step_tensors
from cnnkit.training.step import TrainingStep

CPU = torch.device("cpu")
TENTH = 0.1


class Brightness:
    """How bright an image is: one number for each, right to a tenth."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return ((outputs[:, 0] - targets) ** 2).sum()

    held_out_loss = loss

    def right(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return ((outputs[:, 0] - targets).abs() < TENTH).sum()

    def rank(self, accuracy: float, loss: float) -> tuple[float, ...]:
        return (-loss,)

    def require_output(self, network: nn.Module, name: str, input_shape: tuple[int, int, int]) -> str | None:
        return None

    def require_trainable(self, network: nn.Module, name: str, input_shape: tuple[int, int, int], batch: int) -> None:
        pass

    def advice(self, records: Sequence[EpochRecord]) -> str:
        return ""


def test_a_task_of_another_kind_is_trained_measured_and_kept() -> None:
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (64, 4, 4, 1), dtype=torch.uint8)
    split = Split(pixels, pixels.float().mean((1, 2, 3)) / 255)
    network, recipe, task = nn.Sequential(nn.Flatten(), nn.Linear(16, 1)), Recipe(optimizer="sgd"), Brightness()
    step, form, group = TrainingStep(network, task, recipe, CPU), Normalise((0.0,), (1.0,)), Group(0, 1, CPU)
    before = measure(network, task, form, split, recipe, group, stop=lambda: False)
    network.train()
    for _ in range(300):
        step(form(split.images), split.targets, rate=0.1, together=64)
    after = measure(network, task, form, split, recipe, group, stop=lambda: False)
    assert before is not None
    assert after is not None
    assert after[0] < 0.1 * before[0]
    assert after[1] > 0.95
    again = TrainingStep(nn.Sequential(nn.Flatten(), nn.Linear(16, 1)), task, recipe, CPU)
    restore_step(again, step_tensors(step))
    assert measure(again.network, task, form, split, recipe, group, stop=lambda: False) == after
