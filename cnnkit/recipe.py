"""A training recipe as data: everything that decides what a run does, and the options of `cnnkit train`."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from cnnkit.data import augmentations
from cnnkit.data.options import DataOptions
from cnnkit.layered import RECORDED, Effect, Layered
from cnnkit.optimizers import OPTIMIZERS, optimizer, optimizers, schedule, schedules
from cnnkit.options import Option, parse_shape
from cnnkit.words import counted, listed

DATA, START, LENGTH, OPTIMIZER = "Data", "Fine-tuning", "Length", "Optimizer"
LOSS, CHECKS, MACHINE = "Loss and regularisation", "Checks", "Machine"

WITH_MOMENTUM = listed(name for name, each in OPTIMIZERS.items() if each.momentum)
WITH_NESTEROV = listed(name for name, each in OPTIMIZERS.items() if each.nesterov)


def _on_its_data(field: str, none: str) -> "Effect[Recipe]":
    """Return the effect of a field that some data sets leave without one."""

    def given(recipe: "Recipe") -> bool:
        from cnnkit.data.sets import without_effect  # takes numpy, which the help does without

        return field not in without_effect(str(recipe.data))  # whatever a card has there

    return Effect(given, none)


# When certain fields have an effect.
FROM_WEIGHTS = Effect["Recipe"](lambda recipe: bool(recipe.weights), "without --weights to start from")
FROM_RANDOM = Effect["Recipe"](lambda recipe: not recipe.weights, "with --weights; a new head gets PyTorch's own")
SCALED = Effect["Recipe"](
    lambda recipe: not recipe.weights and recipe.normalisation != "weights",
    "with --weights, whose images are scaled as they were trained",
)
IN_STEPS = Effect["Recipe"](
    lambda recipe: "decay_factor" in schedule(recipe.schedule).uses, "without the step schedule"
)
RISING = Effect["Recipe"](
    lambda recipe: not schedule(recipe.schedule).warms_up, "with this schedule, which has its own rise"
)
MOVING = Effect["Recipe"](
    lambda recipe: optimizer(recipe.optimizer).momentum, f"with this optimizer; it is for {WITH_MOMENTUM}"
)
LOOKING_AHEAD = Effect["Recipe"](
    lambda recipe: optimizer(recipe.optimizer).nesterov and bool(recipe.momentum),
    f"without {WITH_NESTEROV} and --momentum",
)
UNDER_ATTACK = Effect["Recipe"](lambda recipe: bool(recipe.adversarial_training), "without --adversarial-training")
OF_MNIST = _on_its_data("drawn_digits", "on another data set than mnist")
OF_FOLDERS = _on_its_data("skip_damaged", "on a data set whose images are no files")
WITHOUT_TEST = _on_its_data("test_fraction", "on a data set that has a test set of its own")

Shape = tuple[
    Annotated[int, Field(ge=1, le=3)], Annotated[int, Field(ge=1, le=4096)], Annotated[int, Field(ge=1, le=4096)]
]


def _input(text: str) -> tuple[int, int, int]:
    channels, height, width = parse_shape(text)
    if channels > 3 or max(height, width) > 4096:
        raise ValueError(f"{text!r} has more than 3 channels, or a side of more than 4096 pixels.")
    return channels, height, width


class Recipe(Layered):
    """How to train one network on one data set.

    A field with an `Option` is an option of `cnnkit train` and a row of the table in docs/training.md; nothing else
    has to know of it. A registered model carries the recipe of the course it comes from; every field can be
    overridden, and each run writes the resolved recipe to `run.toml`.
    """

    model: str = ""
    data: Annotated[str, Option("Data set or image folder. Default: the recipe's.", DATA, suggest="data")] = "mnist"
    input_shape: Annotated[
        Shape | None,
        Option(
            "Input shape, as in 3x32x32. Default: that of small images, else the network's own.",
            DATA,
            "The run.toml of a run says which was used.",
            flag="--input",
            metavar="CxHxW",
            parse=_input,
        ),
    ] = None
    weights: Annotated[
        str,
        Option("Model to start from; the head is new where the classes differ.", START, metavar="REF", suggest="model"),
    ] = ""
    freeze: Annotated[bool, Option("Train the head only.", START), FROM_WEIGHTS] = False

    epochs: Annotated[
        int, Option("Passes over the training images; 0: measure and keep the first weights.", LENGTH)
    ] = Field(10, ge=0, le=100_000)
    batch_size: Annotated[int, Option("Images in a step, over all processes.", OPTIMIZER)] = Field(
        64, ge=1, le=1_000_000
    )
    max_seconds: Annotated[
        float, Option("End after that much training; 0: no limit.", LENGTH, "Resumed parts count.")
    ] = Field(0.0, ge=0, allow_inf_nan=False)
    patience: Annotated[int, Option("End after so many epochs without a better one; 0: never.", LENGTH)] = Field(
        0, ge=0
    )
    limit_batches: Annotated[int, Option("BatchLoader of each split, for a dry run; 0: all.", LENGTH)] = Field(0, ge=0)

    optimizer: Annotated[
        str, Option("Optimizer: {choices}.", OPTIMIZER, "PyTorch's own, fused where it can be.", choices=optimizers)
    ] = "adam"
    learning_rate: Annotated[float, Option("Learning rate at its highest.", OPTIMIZER, also=("--lr",))] = Field(
        1e-3, gt=0, allow_inf_nan=False
    )
    schedule: Annotated[
        str,
        Option(
            "Schedule of the learning rate: {choices}.",
            OPTIMIZER,
            "It goes over all steps of the run; for one-cycle see Smith (2018).",
            choices=schedules,
        ),
    ] = "constant"
    warmup_epochs: Annotated[float, Option("Epochs of linear rise before the schedule.", OPTIMIZER), RISING] = Field(
        0.0, ge=0, allow_inf_nan=False
    )
    decay_epochs: Annotated[int, Option("Epochs between two falls of the step schedule.", OPTIMIZER), IN_STEPS] = Field(
        30, ge=1
    )
    decay_factor: Annotated[float, Option("Factor of each fall of the step schedule.", OPTIMIZER), IN_STEPS] = Field(
        0.1, gt=0, lt=1
    )
    momentum: Annotated[float, Option(f"Momentum of {WITH_MOMENTUM}.", OPTIMIZER), MOVING] = Field(0.0, ge=0, lt=1)
    nesterov: Annotated[
        bool, Option(f"Let {WITH_NESTEROV} use Nesterov's momentum.", OPTIMIZER, "See Nesterov (1983)."), LOOKING_AHEAD
    ] = False
    weight_decay: Annotated[float, Option("L2 penalty; decoupled with adamw.", LOSS)] = Field(
        0.0, ge=0, allow_inf_nan=False
    )
    clip_norm: Annotated[float, Option("Largest norm of the gradients; 0: any.", OPTIMIZER)] = Field(
        0.0, ge=0, allow_inf_nan=False
    )
    ema: Annotated[
        float,
        Option(
            "Keep averaged weights; their decay warms up to this; 0: don't.", OPTIMIZER, "The warm-up is that of timm."
        ),
    ] = Field(0.0, ge=0, lt=1)

    loss: Annotated[
        Literal["cross-entropy"],
        Option("Loss to minimise: {choices}.", LOSS, "The loss of a batch is the mean over its images."),
    ] = "cross-entropy"
    label_smoothing: Annotated[
        float, Option("Share of each label that all classes get.", LOSS, "See Szegedy (2016).")
    ] = Field(0.0, ge=0, lt=1)
    class_weights: Annotated[
        Literal["none", "balanced"],
        Option(
            "Weights of classes: none, or balanced, so that rare ones count as much.",
            LOSS,
            "An image has the weight of its own class.",
        ),
    ] = "none"
    mixup: Annotated[
        float, Option("Alpha of mixup; 0: none.", LOSS, "It is that of the Beta distribution of Zhang (2018).")
    ] = Field(0.0, ge=0, allow_inf_nan=False)
    adversarial_training: Annotated[
        float,
        Option(
            "Train on PGD's images within this L∞ radius, as in 0.1; 0: don't.",
            LOSS,
            "Pixels count as 0 to 1; see Madry (2018).",
        ),
    ] = Field(0.0, ge=0, lt=1)
    adversarial_steps: Annotated[int, Option("Steps of PGD.", LOSS), UNDER_ATTACK] = Field(7, ge=1, le=1000)
    adversarial_step_size: Annotated[
        float,
        Option(
            "Length of a step of PGD; 0: 2.5 radii over the steps.", LOSS, "For a single step, 1.25 radii (Wong, 2020)."
        ),
        UNDER_ATTACK,
    ] = Field(0.0, ge=0, lt=1)

    initialisation: Annotated[
        Literal["default", "xavier"],
        Option(
            "First weights: {choices}.", LOSS, "default is PyTorch's own; xavier is that of Glorot and Bengio (2010)."
        ),
        FROM_RANDOM,
    ] = "default"
    normalisation: Annotated[
        Literal["unit", "standard", "weights"],
        Option(
            "Scale of pixels: unit ([0, 1]) or standard (mean 0, variance 1).",
            DATA,
            "Mean and variance are those of the training split. With --weights, it is always the scale of the weights.",
        ),
        SCALED,
    ] = "unit"
    augmentation: Annotated[
        str,
        Option(
            "Changes to training images: {choices}.",
            DATA,
            "Each epoch changes them anew.",
            choices=augmentations.names,
        ),
    ] = "none"
    drawn_digits: Annotated[
        float, Option("Of mnist, share of the images replaced by drawn European digits; 0: none.", DATA), OF_MNIST
    ] = Field(0.0, ge=0, lt=1)
    fit: Annotated[
        Literal["auto", "contain", "cover", "stretch"],
        Option(
            "How images get their size: {choices}.",
            DATA,
            "contain adds a border, cover cuts off what is too long, stretch distorts. auto is cover for photos, "
            "otherwise contain.",
        ),
    ] = "auto"
    crop_fraction: Annotated[
        float | None,
        Option("Share of each side that cover keeps, as in 0.875.", DATA, "Default: 1, or that of the weights."),
    ] = Field(None, gt=0, le=1)
    interpolation: Annotated[
        Literal["auto", "nearest", "bilinear", "bicubic", "lanczos", "box"],
        Option("Resampling: {choices}.", DATA, "auto is bilinear, or that of the weights."),
    ] = "auto"
    validation_fraction: Annotated[float, Option("Share of the training images to validate on.", DATA)] = Field(
        0.2, gt=0, lt=1
    )
    test_fraction: Annotated[
        float, Option("Share to test on, of an image folder without a test folder; 0: no test set.", DATA), WITHOUT_TEST
    ] = Field(0.2, ge=0, lt=1)
    split_seed: Annotated[int, Option("Seed of the split.", DATA, "It decides which images are held out.")] = Field(
        0, ge=0, lt=2**32
    )
    split_by: Annotated[
        Literal["content", "path"], Option("What decides the split: content, or path as before version 0.2.", DATA)
    ] = "content"
    skip_damaged: Annotated[bool, Option("Leave out files that cannot be decoded.", CHECKS), OF_FOLDERS] = False
    allow_overlap: Annotated[
        bool, Option("Train although --weights had seen images held out.", CHECKS), FROM_WEIGHTS
    ] = False
    seed: Annotated[
        int,
        Option(
            "Seed of the weights, the order and the augmentation.",
            DATA,
            "It is that of drawn digits, mixup and dropout too.",
        ),
    ] = Field(0, ge=0, lt=2**32)

    precision: Annotated[
        Literal["fp32", "bf16", "fp16"],
        Option(
            "Numbers to compute in: {choices}.",
            MACHINE,
            "The network runs under autocast; its weights stay in float32.",
        ),
    ] = "fp32"
    compile: Annotated[bool, Option("Run through torch.compile.", MACHINE)] = False
    tensorboard: Annotated[bool, Option("Write the curves for TensorBoard too.", MACHINE)] = False

    @model_validator(mode="before")
    @classmethod
    def _scaled_as_the_weights(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and fields.get("weights") and "normalisation" not in fields:
            return {**fields, "normalisation": "weights"}
        return fields

    @field_validator("normalisation")
    @classmethod
    def _of_the_weights(cls, value: str, info: ValidationInfo) -> str:
        if value == "weights" and not info.data.get("weights"):
            raise ValueError("--normalisation weights is for a run that has --weights; give unit or standard")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.epochs and self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"--warmup-epochs {self.warmup_epochs:g} leaves nothing of {counted(self.epochs, 'epoch')}"
            )
        return self

    def idle(self, name: str) -> object:
        """Return the value that a field has where it has no effect."""
        return "weights" if name == "normalisation" and self.weights else super().idle(name)

    def data_options(self, data_dir: Path | None = None) -> DataOptions:
        """Return what of it concerns the images; `data_dir` is where to look for the files of data sets first."""
        own = {field.name: getattr(self, field.name) for field in fields(DataOptions) if field.name != "data_dir"}
        return DataOptions(**own, data_dir=data_dir)

    @property
    def adversarial_step(self) -> float:
        """Length of a step of PGD in pixels of [0, 1], the default resolved."""
        longest = self.adversarial_training * (1.25 if self.adversarial_steps == 1 else 2.5)
        return self.adversarial_step_size or longest / self.adversarial_steps

    @classmethod
    def recorded(cls, fields: Mapping[str, object]) -> "Recipe":
        """Return the recipe that a card, a state or a run folder holds, which may be of an earlier version.

        Before 0.2 there was no split seed: the seed of the training decided by the paths of the files. Fields without
        effect were kept as they were given; they get their defaults.

        Raises:
            UsageError: a field that does not exist, or a value outside its range.
        """
        old = {"split_by": "path", "split_seed": fields.get("seed", 0)} if fields and "split_by" not in fields else {}
        return cls.layered(fields, old, context=RECORDED)
