"""Random numbers depend on what they are for; whoever draws others in between changes nothing."""

import random
from collections.abc import Iterator
from itertools import combinations, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnkit.training.randomness import capture, derive, generator, restore, seed_network

CPU = torch.device("cpu")
PURPOSES = ("order", "augmentation", "mixup", "network", "adversary", "drawn")


@pytest.fixture(autouse=True)
def own_generators() -> Iterator[None]:
    """Give other tests back the generators that they had."""
    states = capture(CPU)
    yield
    restore(states, CPU)


def drawn() -> list[float]:
    """Numbers from each of the global generators, two of them from caches of second Gaussians."""
    return [
        *torch.rand(3).tolist(),
        *torch.randn(2).tolist(),
        *np.random.rand(3).tolist(),
        float(np.random.standard_normal()),
        random.random(),
        random.gauss(0, 1),
    ]


@pytest.mark.parametrize(
    ("seed", "epoch", "purpose", "expected"),
    [
        (0, 1, "order", 2918264622725855778),
        (0, 1, "augmentation", 1554199118406742183),
        (0, 1, "mixup", 1535930435702422785),
        (0, 1, "network", 5276725955892761082),
        (0, 2, "order", 8597659618385908031),
        (1, 1, "order", 38901565946305238),
        (2**32 - 1, 100_000, "network", 4414701346596771460),
        (0, 1, "adversary", 7741287600362113183),
        (0, 1, "drawn", 6961367642473578847),
    ],
)
def test_seeds_never_change_or_else_every_recipe_means_something_else(
    seed: int, epoch: int, purpose: str, expected: int
) -> None:
    assert derive(seed, epoch, purpose) == expected


def test_the_order_of_an_epoch_never_changes_either() -> None:
    assert torch.randperm(8, generator=generator(0, 1, "order")).tolist() == [5, 6, 4, 3, 1, 7, 2, 0]


def test_seeds_epochs_and_purposes_all_have_streams_of_their_own() -> None:
    uses = list(product(range(12), range(12), PURPOSES))
    assert len({derive(*use) for use in uses}) == len(uses)
    streams = [torch.rand(500, generator=generator(*use)) for use in uses[:60]]
    for one, other in combinations(streams, 2):
        assert abs(torch.corrcoef(torch.stack([one, other]))[0, 1]) < 0.3


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(0, 100_000), st.sampled_from(PURPOSES))
def test_every_generator_takes_the_seed_and_the_global_ones_stay_as_they_are(
    seed: int, epoch: int, purpose: str
) -> None:
    before = capture(CPU)
    assert 0 <= derive(seed, epoch, purpose) < 2**63
    numbers = torch.rand(4, generator=generator(seed, epoch, purpose))
    assert torch.equal(numbers, torch.rand(4, generator=generator(seed, epoch, purpose)))
    torch.testing.assert_close(capture(CPU), before, rtol=0, atol=0, equal_nan=True)


def test_a_network_is_seeded_whatever_was_drawn_before() -> None:
    found = []
    for waste in range(3):
        for _ in range(waste):
            drawn()
        seed_network(3, 2, 0, CPU)
        found.append(drawn())
    assert found[0] == found[1] == found[2]
    assert found[0][:2] == pytest.approx([0.822222888469696, 0.49687063694000244], abs=0)


def test_processes_epochs_and_seeds_give_a_network_different_numbers() -> None:
    found = []
    for use in ((0, 1, 0), (0, 1, 1), (0, 1, 2), (0, 2, 0), (1, 1, 0)):
        seed_network(*use, CPU)
        found.append(drawn())
    for numbers in zip(*found, strict=True):
        assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("pause", [0, 1, 2, 700])
def test_restoring_goes_on_where_it_was_captured(pause: int) -> None:
    seed_network(5, 1, 0, CPU)
    # An odd number of Gaussians leaves the second of a pair to be drawn next.
    for _ in range(pause):
        random.gauss(0, 1)
        np.random.standard_normal()
        torch.randn(1)
    states = capture(CPU)
    expected = [drawn() for _ in range(3)]
    seed_network(6, 1, 0, CPU)
    drawn()
    restore(states, CPU)
    assert [drawn() for _ in range(3)] == expected


def test_what_was_captured_can_be_kept_as_tensors_and_used_again() -> None:
    states = capture(CPU)
    first = drawn()
    assert all(isinstance(state, torch.Tensor) and state.device == CPU for state in states.values())
    copies = {name: state.clone() for name, state in states.items()}
    restore(copies, CPU)
    assert drawn() == first
    restore(states, CPU)
    assert drawn() == first, "restoring and drawing left the captured states alone"
