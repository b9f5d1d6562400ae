"""The smallest corruption that makes a network change its right answer."""

from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray

from cnnkit.progress import WorkProgress
from cnnkit.robustness.corruptions import SEVERITIES, Amounts, corrupt
from cnnkit.robustness.results import CorruptionName, FlipSearch
from cnnkit.robustness.subject import EXAMPLES, Subject

_LEVELS_OF_ONE = 4
"""Severities that are tried between one of the five and the next."""
_HALVINGS = 5


def flip_search(subject: Subject, name: CorruptionName) -> Generator[WorkProgress, None, FlipSearch]:
    """Find, for each image that the network gets right, the smallest severity of a corruption that it gets wrong.

    An answer may flip and flip back, so severities are tried upwards, from a quarter to 5 in steps of a quarter, up to
    the first wrong answer; halving the step below it five times then finds where it begins, to 1/128. The severity
    that is returned was itself answered wrongly. What flips and flips back within a step is not seen.
    """
    positions = np.flatnonzero(subject.right)
    smallest = np.full(len(positions), np.nan)
    levels, total = SEVERITIES * _LEVELS_OF_ONE, SEVERITIES * _LEVELS_OF_ONE + _HALVINGS
    for level in range(1, levels + 1):
        left = np.flatnonzero(np.isnan(smallest))
        severities = np.full(len(left), level / _LEVELS_OF_ONE)
        wrong = left[_is_wrong(subject, name, positions[left], severities)]
        smallest[wrong] = level / _LEVELS_OF_ONE
        yield WorkProgress(f"flipping by {name}", level, total)
    flipped = np.flatnonzero(~np.isnan(smallest))
    high = smallest[flipped]
    low = high - 1 / _LEVELS_OF_ONE
    for halving in range(1, _HALVINGS + 1):
        middle = (low + high) / 2
        enough = _is_wrong(subject, name, positions[flipped], middle)
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        yield WorkProgress(f"flipping by {name}", levels + halving, total)
    smallest[flipped] = high
    easiest = flipped[np.argsort(high, kind="stable")[:EXAMPLES]]
    examples = []
    for place in easiest:
        position, severity = int(positions[place]), float(smallest[place])
        number = [int(subject.numbers[position])]
        changed = corrupt(subject.images[position][None], name, smallest[place][None], number, subject.seed)[0]
        examples.append(subject.fooled(f"flip-{name}", position, changed, severity))
    return FlipSearch(
        name,
        tuple(None if np.isnan(value) else float(value) for value in smallest),
        tuple(subject.numbers[positions].tolist()),
        tuple(examples),
    )


def _is_wrong(
    subject: Subject, name: CorruptionName, positions: NDArray[np.int64], severities: Amounts
) -> NDArray[np.bool_]:
    """Tell which images, each corrupted by its severity, are answered wrongly; bool [N]."""
    parts = [np.zeros(0, bool)]
    for batch in subject.batches(np.arange(len(positions))):
        at = positions[batch]
        numbers = subject.numbers[at].tolist()
        pixels = corrupt(subject.images[at], name, severities[batch], numbers, subject.seed)
        parts.append(subject.answers(pixels)[0] != subject.targets[at])
    return np.concatenate(parts)
