"""What the bounds of decoding are made of: the rates of the slowest parts, in seconds, and their sum."""

import math
from typing import NamedTuple

ORDINARY_SECONDS = 0.25
"""Of work that a server does in its own process, where others wait; the rest goes to a process with limits."""
PATIENT_SECONDS = 2.0
"""The same of a command, which waits for its images anyway: photos of 50 million pixels take as long."""

MOST_PARTS = 1000
"""Chunks, segments or entries that are looked at; files of real programs have fewer."""

PART = 8e-6
DEFLATE_BYTE = 1e-7
"""Of blocks that define their codes and hold nothing."""
MEMORY_BYTE = 2e-9
LINE = 2e-7
"""Seconds a row, and a column: of an image of one column they are what costs."""


class Work(NamedTuple):
    """What decoding a file takes at most.

    Attributes:
        seconds: on one core, with all that is done to bring the image to a network's input; infinite without a bound.
        pixels: that the file says it has, 0 where that was not found.
    """

    seconds: float
    pixels: int = 0


UNBOUNDED = Work(math.inf)
