"""The images that PyTorch and onnxruntime are compared on before an ONNX file is written."""

import contextlib
import math
from pathlib import Path

import numpy as np
import torch

from cnnkit import datasets
from cnnkit.card import ModelCard
from cnnkit.errors import CnnkitError, DataError, ImageError
from cnnkit.evaluation.images import load_for
from cnnkit.images import prepare, prepare_arrays
from cnnkit.operation import result_of
from cnnkit.pictures import Pixels
from cnnkit.recipe import Recipe
from cnnkit.training import opening, shapes
from cnnkit.words import counted

_COMPARED = 10


def comparison_images(card: ModelCard, data_dir: Path | None) -> tuple[Pixels, str]:
    """Return uint8 images [N, H, W, C] for the comparison: of the network's own data if at hand, else drawn ones."""
    spec = datasets.DATASETS.get(card.recipe["data"]) if card.recipe else None
    if card.recipe and (spec is None or datasets.locate(spec, data_dir).present):
        with contextlib.suppress(CnnkitError):
            if spec is None:
                own = datasets.find_own(card.recipe["data"], card.labels, data_dir)
                return _folder_images(card, Recipe.recorded({**card.recipe, "data": own}))
            data, used = result_of(load_for(card, data=None, split=None, data_dir=data_dir))
            images = data.filled(used).take(torch.arange(min(_COMPARED, len(data.split(used)))))
            return images.numpy(), f"{counted(len(images), 'image')} of {data.name}"
    drawn, _ = shapes.draw_shapes(4, seed=2)
    return prepare_arrays(drawn[:_COMPARED], card.preprocessing), f"{_COMPARED} drawn shapes"


def _folder_images(card: ModelCard, recipe: Recipe) -> tuple[Pixels, str]:
    """Decode some images of a folder, of all its classes, which need not be cached for them."""
    found = opening.read(recipe)
    names, step = list(found.files), math.ceil(len(found.files) / _COMPARED)
    images: list[Pixels] = []
    # Spread over the folder; where one of them is damaged, the next ones do.
    for name in (name for start in range(step) for name in names[start::step]):
        with contextlib.suppress(ImageError):
            images.append(prepare(found.folder / name, card.preprocessing).pixels)
        if len(images) == _COMPARED:
            break
    if not images:
        raise DataError(f"no file of {found.folder} can be decoded.")
    return np.stack(images), f"{counted(len(images), 'image')} of {found.folder.resolve().name}"
