"""A network whose every answer can be worked out by hand, and images to ask it about."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cnnkit.card import ModelCard
from cnnkit.images import Preprocessing
from cnnkit.pictures import Pixels
from cnnkit.robustness.subject import Subject

CARD = ModelCard(model="own:net", labels=("dark", "light"), preprocessing=Preprocessing(1, 6, 6, (0.0,), (1.0,)))


class Bands:
    """Calls an image light where its mean grey value is in one of some bands."""

    card, engine = CARD, "numpy"

    def __init__(self, *bands: tuple[float, float]) -> None:
        self.bands = bands

    def logits(self, pixels: Pixels) -> NDArray[np.float32]:
        mean = pixels.mean((1, 2, 3))
        light = np.any([(mean >= low) & (mean < high) for low, high in self.bands], 0)
        return np.stack([~light, light], 1).astype(np.float32) * 5


@pytest.fixture
def make_subject() -> Callable[..., Subject]:
    """Make a subject of grey images of some levels: `make_subject([(150, 256)], 100, 120)`."""

    def make(
        light: Sequence[tuple[float, float]], *levels: int, folder: Path | None = None, batch_size: int = 3
    ) -> Subject:
        network = Bands(*light)
        images = np.stack([np.full((6, 6, 1), level, np.uint8) for level in levels])
        targets = np.zeros(len(levels), np.int64)
        right = network.logits(images).argmax(1) == targets
        numbers = np.arange(len(levels)) + 10
        return Subject(network, CARD.labels, images, targets, numbers, right, batch_size, 0, folder)

    return make
