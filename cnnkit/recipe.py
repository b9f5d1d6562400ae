"""A training recipe as data: everything that decides what a run does."""

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cnnkit.errors import UsageError, close_matches
from cnnkit.files import write_atomic
from cnnkit.words import counted

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Shape = tuple[
    Annotated[int, Field(ge=1, le=3)], Annotated[int, Field(ge=1, le=4096)], Annotated[int, Field(ge=1, le=4096)]
]


class Recipe(BaseModel):
    """How to train one network on one data set.

    A registered model carries the recipe of the course it comes from; every field can be overridden, and each run
    writes the resolved recipe to `run.toml`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: str = Field("", description="the network, as `cnnkit train` takes it")
    data: str = Field("mnist", description="data set or image folder")
    input_shape: Shape | None = Field(None, description="channels, height, width; None: the model's own")
    weights: str = Field("", description="model reference to start from; the head is new where the classes differ")
    freeze: bool = Field(False, description="train the head only")

    epochs: int = Field(10, ge=1, le=100_000, description="passes over the training images")
    batch_size: int = Field(64, ge=1, le=1_000_000, description="images in a step, over all processes together")
    max_seconds: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="of training, resumed parts included; 0: no limit"
    )
    patience: int = Field(0, ge=0, description="epochs without a better one that end it; 0: none do")
    limit_batches: int = Field(0, ge=0, description="of each split, for a dry run; 0: all")

    optimizer: Literal["sgd", "adam", "adamw", "rmsprop"] = Field("adam", description="torch's own, fused")
    learning_rate: float = Field(1e-3, gt=0, allow_inf_nan=False, description="the highest one")
    schedule: Literal["constant", "cosine", "one-cycle", "step"] = Field(
        "constant", description="of the learning rate over all steps (one-cycle: Smith, 2018)"
    )
    warmup_epochs: float = Field(0.0, ge=0, allow_inf_nan=False, description="linear rise before the schedule")
    decay_epochs: int = Field(30, ge=1, description="for the step schedule: between two falls")
    decay_factor: float = Field(0.1, gt=0, lt=1, description="for the step schedule: of each fall")
    momentum: float = Field(0.0, ge=0, lt=1, description="for sgd and rmsprop")
    nesterov: bool = Field(False, description="for sgd (Nesterov, 1983)")
    weight_decay: float = Field(0.0, ge=0, allow_inf_nan=False, description="L2 penalty; decoupled with adamw")
    clip_norm: float = Field(0.0, ge=0, allow_inf_nan=False, description="largest norm of the gradients; 0: any")
    ema: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="highest decay of the averaged weights that are kept; it warms up, as in timm; 0: none",
    )

    loss: Literal["cross-entropy"] = Field("cross-entropy", description="mean over the images of a batch")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of each label for all classes (Szegedy, 2016)")
    class_weights: Literal["none", "balanced"] = Field(
        "none",
        description="balanced: rare classes count as much as others; an image has the weight of its own class",
    )
    mixup: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="alpha of its Beta distribution (Zhang, 2018); 0: none"
    )
    adversarial_training: float = Field(
        0.0, ge=0, lt=1, description="L∞ radius, of pixels in [0, 1], of PGD on each batch (Madry, 2018); 0: none"
    )
    adversarial_steps: int = Field(7, ge=1, le=1000, description="of PGD")
    adversarial_step_size: float = Field(
        0.0, ge=0, lt=1, description="of PGD; 0: 2.5 radii over the steps, 1.25 for a single one (Wong, 2020)"
    )

    initialisation: Literal["default", "xavier"] = Field(
        "default", description="default: PyTorch's; xavier: Glorot and Bengio, 2010"
    )
    normalisation: Literal["unit", "standard"] = Field(
        "unit", description="unit: pixels in [0, 1]; standard: then zero mean and unit variance of the training split"
    )
    augmentation: Literal["none", "affine", "digits", "drawings", "crops"] = Field(
        "none", description="how the training images are varied in each epoch"
    )
    fit: Literal["auto", "contain", "cover", "stretch"] = Field(
        "auto",
        description="how an image gets another shape: contain adds a border, cover cuts off what is too long, stretch "
        "distorts; auto: cover for photos, otherwise contain",
    )
    crop_fraction: float | None = Field(
        None, gt=0, le=1, description="for cover: share of each side that is kept; None: 1, or that of the weights"
    )
    interpolation: Literal["auto", "nearest", "bilinear", "bicubic", "lanczos", "box"] = Field(
        "auto", description="how pixels are resampled; auto: bilinear, or that of the weights"
    )
    validation_fraction: float = Field(0.2, gt=0, lt=1, description="of the images that are not tested on")
    test_fraction: float = Field(
        0.2, ge=0, lt=1, description="of an image folder without a test folder; 0: there is no test set"
    )
    split_seed: int = Field(0, ge=0, lt=2**32, description="of the split; which images it holds out")
    split_by: Literal["content", "path"] = Field(
        "content", description="what decides with the split seed; path: as versions before 0.2 did"
    )
    skip_damaged: bool = Field(False, description="leave out files that cannot be decoded, instead of stopping")
    allow_overlap: bool = Field(
        False, description="go on where the starting weights were trained on images that are held out here"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="of weights, order, augmentation, mixup and dropout")

    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="of the network's arithmetic (autocast)")
    compile: bool = Field(False, description="run the network through torch.compile")
    tensorboard: bool = Field(False, description="write the curves for TensorBoard too")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.nesterov and not (self.optimizer == "sgd" and self.momentum):
            raise ValueError("nesterov needs sgd with a momentum")
        if self.schedule == "one-cycle" and self.warmup_epochs:
            raise ValueError("one-cycle has a rise of its own; warmup_epochs goes with the other schedules")
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs {self.warmup_epochs:g} leaves nothing of {counted(self.epochs, 'epoch')}")
        if self.freeze and not self.weights:
            raise ValueError("freeze keeps weights as they are; name the ones to start from with weights")
        return self

    @property
    def adversarial_step(self) -> float:
        """Length of a step of PGD in pixels of [0, 1], the default resolved."""
        longest = self.adversarial_training * (1.25 if self.adversarial_steps == 1 else 2.5)
        return self.adversarial_step_size or longest / self.adversarial_steps

    def override(self, changes: dict[str, Any]) -> Self:
        """Return a copy with `changes` applied and checked; a `None` changes nothing.

        Raises:
            UsageError: a field that does not exist, or a value outside its range.
        """
        given = {name: value for name, value in changes.items() if value is not None}
        return self._checked({**self.model_dump(), **given})

    @classmethod
    def _checked(cls, fields: dict[str, Any]) -> Self:
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            problems = "; ".join(map(_said, error.errors()))
            raise UsageError(f"the recipe is not valid: {problems}.") from error

    @classmethod
    def recorded(cls, fields: dict[str, Any]) -> Self:
        """Return the recipe that a card, a state or a run folder holds, which may be of an earlier version.

        Before 0.2 there was no split seed: the seed of the training decided by the paths of the files.

        Raises:
            UsageError: a field that does not exist, or a value outside its range.
        """
        given = {name: value for name, value in fields.items() if value is not None}
        if given and "split_by" not in given:
            given |= {"split_by": "path", "split_seed": given.get("seed", 0)}
        return cls._checked({**cls().model_dump(), **given})

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Read a recipe from the `[recipe]` table of a TOML file such as a run's `run.toml`.

        Raises:
            UsageError: no such file, not TOML, no such table, or an invalid field.
        """
        return cls._checked(read_recipe_table(path))

    def to_toml(self) -> str:
        """Return the recipe as TOML, the fields that are unset left out."""
        return tomli_w.dumps({"recipe": self.model_dump(mode="json", exclude_none=True)})

    def write(self, path: Path) -> None:
        """Write `to_toml()` to `path` atomically."""
        write_atomic(path, self.to_toml().encode())


def read_recipe_table(path: Path) -> dict[str, Any]:
    """Return the fields that the `[recipe]` table of a TOML file gives; they are not yet checked.

    Raises:
        UsageError: no such file, not TOML, or no such table.
    """
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read the recipe {path}: {getattr(error, 'strerror', None) or error}.") from error
    table = document.get("recipe")
    if not isinstance(table, dict):
        raise UsageError(f"{path} has no [recipe] table; a run's run.toml shows the form.")
    return table


def is_of_earlier_version(table: dict[str, Any]) -> bool:
    """Whether a recipe table is a whole one that a version before 0.2 wrote, in which the seed divides the images."""
    return "split_by" not in table and {"seed", "limit_batches", "tensorboard"} <= table.keys()


def _said(problem: "ErrorDetails") -> str:
    """Say what pydantic found wrong: the field, what was expected, and what came."""
    where, came = ": ".join(map(str, problem["loc"])), problem["input"]
    if problem["type"] == "extra_forbidden":
        close = close_matches(where, Recipe.model_fields)
        return f"{where}: there is no such field" + (f" (did you mean {' or '.join(close)}?)" if close else "")
    got = f", got {came!r}" if isinstance(came, str | int | float) else ""
    return ": ".join(filter(None, (where, problem["msg"].removeprefix("Value error, ") + got)))
