"""Where predictions were written; apart from them, because one image needs no file."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PredictionFile:
    """A file of predictions: how many images it has a class for, and how many an error."""

    path: Path
    images: int
    errors: int
