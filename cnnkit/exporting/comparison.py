"""The images that PyTorch and onnxruntime are compared on before an ONNX file is written."""

import contextlib
import math
from pathlib import Path

import numpy as np

from cnnkit.card import ModelCard
from cnnkit.data import sets, shapes
from cnnkit.data.dataset import Images
from cnnkit.errors import CnnkitError, ImageError
from cnnkit.images import prepare, prepare_arrays
from cnnkit.pictures import Pixels
from cnnkit.words import counted

_COMPARED = 10


def comparison_images(card: ModelCard, data_dir: Path | None) -> tuple[Pixels, str]:
    """Return uint8 images [N, H, W, C] for the comparison: of the network's own data if at hand, else drawn ones."""
    if card.recipe:
        with contextlib.suppress(CnnkitError):
            own = sets.find(sets.find_own(card.recipe["data"], card.labels, data_dir))
            images = _some(card, own.open(data_dir)) if own.locate(data_dir).present else []
            if images:
                return np.stack(images), f"{counted(len(images), 'image')} of {own.name}"
    drawn, _ = shapes.draw_shapes(4, seed=2)
    return prepare_arrays(drawn[:_COMPARED], card.preprocessing), f"{_COMPARED} drawn shapes"


def _some(card: ModelCard, found: Images) -> list[Pixels]:
    """Return some images of all classes, which need not be cached for it."""
    images: list[Pixels] = []
    step = math.ceil(len(found) / _COMPARED)
    # Spread over the data set; where one of them is damaged, the next ones do.
    for place in (place for start in range(step) for place in range(start, len(found), step)):
        with contextlib.suppress(ImageError):
            images.append(prepare(found[place][0], card.preprocessing).pixels)
        if len(images) == _COMPARED:
            break
    return images
