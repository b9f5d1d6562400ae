"""A run of a network: what is recorded, and that nothing of it stays."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from cnnkit.inspection import tracing
from tests.hooks import hooks_of


class Calling(nn.Module):
    def __init__(self, function: Callable[[Tensor], object], *parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(parts)

    def forward(self, values: Tensor) -> object:
        return self.function(values)


def run(network: nn.Module, *shape: int) -> tracing.Trace:
    return tracing.run(network.to("meta"), [torch.zeros(shape, device="meta")])


def test_what_views_and_works_in_place_writes_nothing() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(inplace=True), nn.Dropout(), nn.Flatten(), nn.Sigmoid())
    records = run(network, 3, 1, 4, 4).records
    assert [record.output_bytes for record in records.values()][1:] == [3 * 2 * 16 * 4, 0, 0, 0, 3 * 2 * 16 * 4]


def test_half_precision_writes_half() -> None:
    network = nn.Sequential(nn.ReLU()).to("meta")
    records = tracing.run(network, [torch.zeros(2, 8, device="meta", dtype=torch.float16)]).records
    assert records["0"].output_bytes == 32


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + torch.ones(4),
        lambda x: torch.ones(1, 4).add_(x),
        lambda x: torch.cat([torch.ones(1, 4), x]),
        lambda x: x[:, torch.tensor([0, 2])],
        lambda x: x * torch.arange(10).sum().item(),
    ],
)
def test_tensors_of_the_cpu_meet_those_without_values(function: Callable[[Tensor], object]) -> None:
    assert run(Calling(function), 1, 4).error is None


def test_what_really_does_not_fit_is_kept_as_the_error() -> None:
    trace = run(Calling(lambda x: x + torch.ones(5)), 1, 4)
    assert isinstance(trace.error, RuntimeError)
    assert "broadcast" in str(trace.error)
    assert trace.refused_by is not None
    assert trace.refused_by[0].name == ""


def test_a_stop_is_no_error_of_the_network() -> None:
    def stop(_: Tensor) -> None:
        raise KeyboardInterrupt

    network = Calling(stop, nn.Linear(2, 2))
    with pytest.raises(KeyboardInterrupt):
        run(network, 1, 4)
    assert network.training
    assert hooks_of(network) == []


def test_parameters_that_were_used_are_known() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.PReLU())
    trace = run(network, 2, 4)
    assert set(trace.used) == {id(p) for p in network.parameters()}
