"""The images that a reduced precision is calibrated and measured on."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from cnnkit.card import ModelCard
from cnnkit.data.loaded import Split, take
from cnnkit.data.options import Choice
from cnnkit.data.splits import PARTS, Part
from cnnkit.errors import DataError, UsageError
from cnnkit.evaluation.images import catalogue_for
from cnnkit.exporting.results import Precision
from cnnkit.operation import result_of

CALIBRATION_IMAGES = 512


@dataclass(frozen=True)
class Samples:
    """What a reduced precision is measured on.

    Attributes:
        data: name of the data set.
        trained_on: whether the network was trained on this data set.
        validation: images that decide whether the file is accepted.
        test: images for the report only; None where the data set has no test split.
        warnings: what a user should know of these images.
        calibration: some of the training split, uint8 [N, H, W, C]; None where nothing is calibrated.
        training_images: in the whole training split; 0 where nothing is calibrated.
    """

    data: str
    trained_on: bool
    validation: Split
    test: Split | None
    calibration: Tensor | None
    warnings: tuple[str, ...] = ()
    training_images: int = 0


def load_samples(
    ref: str,
    card: ModelCard,
    precision: Precision,
    chosen: Choice,
) -> Samples:
    """Load the validation and test images of a network, and for int8 some training images.

    A folder that is chosen is split by the rule of the network's recipe, also where it was not trained on it.

    Raises:
        UsageError: the network is not trained.
        DataError: there are no such images.
    """
    if not card.trained:
        raise UsageError(
            f"{ref} has random weights, and --precision {precision} is judged by accuracy: it needs trained ones. "
            f"Run: cnnkit train {ref}"
        )

    needed: tuple[Part, ...] = ("validation", "test") if precision == "fp16" else PARTS
    try:
        loaded = result_of(take(result_of(catalogue_for(card, chosen)), needed))
        samples = Samples(
            data=loaded.name,
            # A folder of the same name may have had images added since.
            trained_on=loaded.fingerprint == card.fingerprint or loaded.name == card.dataset,
            validation=loaded.filled("validation"),
            test=loaded.test if len(loaded.test) else None,
            calibration=None,
            warnings=loaded.warnings,
        )
        if precision == "fp16":
            return samples
        training = loaded.filled("train")
    except DataError as error:
        needs = "calibrated and measured" if precision == "int8" else "measured"
        raise DataError(
            f"--precision {precision} is {needs} on the data that {ref} was trained on, or that --data names: {error}"
        ) from error
    drawn = np.random.default_rng(0).permutation(len(training))[:CALIBRATION_IMAGES]
    calibration = training.take(torch.from_numpy(np.sort(drawn)))
    return replace(samples, calibration=calibration, training_images=len(training))
