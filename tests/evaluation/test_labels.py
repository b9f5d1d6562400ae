"""Confident learning: what counts as another class than its label's."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cnnkit.evaluation.labels import find_candidates


def by_definition(probabilities: np.ndarray, labels: np.ndarray) -> set[tuple[int, int]]:
    """The entries beside the diagonal of the confident joint, as the paper defines it, image by image."""
    classes = range(probabilities.shape[1])
    means = {j: probabilities[labels == j, j].mean() for j in classes if (labels == j).any()}
    found = set()
    for index, row in enumerate(probabilities):
        confident = [j for j in means if row[j] >= means[j]]
        if confident and (best := max(confident, key=lambda j: row[j])) != labels[index]:
            found.add((index, best))
    return found


@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 60))
def test_candidates_are_those_of_the_definition(seed: int, classes: int, images: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(classes, 0.5), images)
    labels = rng.integers(0, classes, images)
    found = find_candidates(torch.from_numpy(probabilities), torch.from_numpy(labels))
    pairs = list(zip(found.positions.tolist(), found.suggested.tolist(), strict=True))
    assert set(pairs) == by_definition(probabilities, labels)
    margins = [probabilities[i, j] - probabilities[i, labels[i]] for i, j in pairs]
    assert margins == sorted(margins, reverse=True)


def test_a_class_that_the_network_is_seldom_sure_of_needs_less() -> None:
    rows = [[0.99, 0.01, 0.0], [0.99, 0.01, 0.0], [0.3, 0.4, 0.3], [0.3, 0.4, 0.3], [0.45, 0.55, 0.0], [0.6, 0.4, 0.0]]
    labels = torch.tensor([0, 0, 1, 1, 0, 1])
    found = find_candidates(torch.tensor(rows), labels)
    # The last one is no candidate, although it looks more like class 0 than the one before looks like class 1.
    assert (found.positions.tolist(), found.suggested.tolist()) == ([4], [1])


def test_no_image_counts_as_a_class_without_images() -> None:
    found = find_candidates(torch.tensor([[0.1, 0.9], [0.2, 0.8]]), torch.tensor([0, 0]))
    assert found.positions.tolist() == []


@pytest.mark.parametrize("images", [1, 10, 100_000])
def test_a_network_that_is_always_right_and_sure_has_no_candidates(images: int) -> None:
    labels = torch.arange(images) % 10
    assert len(find_candidates(torch.eye(10)[labels], labels).positions) == 0
