"""A training recipe as data: everything that decides what a run does."""

import tomllib
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import tomli_w
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, model_validator

from cnnkit.data import augmentations
from cnnkit.data.options import DataOptions
from cnnkit.data.sets import without_effect
from cnnkit.errors import UsageError, close_matches
from cnnkit.files import write_atomic
from cnnkit.words import counted, listed

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Shape = tuple[
    Annotated[int, Field(ge=1, le=3)], Annotated[int, Field(ge=1, le=4096)], Annotated[int, Field(ge=1, le=4096)]
]

_RECORDED: dict[str, bool] = {"recorded": True}
"""The context of a recipe that says how something was trained: what it names need not be installed here."""


def _augmentation(name: str, info: ValidationInfo) -> str:
    if info.context != _RECORDED and not augmentations.is_known(name):
        raise ValueError(f"there is no such augmentation; expected {listed(augmentations.names(), 20)}")
    return name


class Recipe(BaseModel):
    """How to train one network on one data set.

    A registered model carries the recipe of the course it comes from; every field can be overridden, and each run
    writes the resolved recipe to `run.toml`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: str = Field("", description="the network, as `cnnkit train` takes it")
    data: str = Field("mnist", description="data set or image folder")
    input_shape: Shape | None = Field(
        None, description="channels, height, width; None: from the data and the model; a run's run.toml says which"
    )
    weights: str = Field("", description="model reference to start from; the head is new where the classes differ")
    freeze: bool = Field(False, description="train the head only")

    epochs: int = Field(
        10, ge=0, le=100_000, description="passes over the training images; 0: the first weights are measured and kept"
    )
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
        "default", description="of random weights; default: PyTorch's; xavier: Glorot and Bengio, 2010"
    )
    normalisation: Literal["unit", "standard", "weights"] = Field(
        "unit",
        description="unit: pixels in [0, 1]; standard: then zero mean and unit variance of the training split; "
        "weights: as the starting weights were trained, and nothing else goes with them",
    )
    augmentation: Annotated[str, AfterValidator(_augmentation)] = Field(
        "none",
        description="how the training images are varied in each epoch: `none`, `affine`, `crops`, `digits`, "
        "`drawings`, or the name of an installed package's",
    )
    drawn_digits: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="for mnist: share of each epoch's images that digits drawn as Europeans write them stand in for; "
        "0: none",
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
    seed: int = Field(0, ge=0, lt=2**32, description="of weights, order, augmentation, drawn digits, mixup and dropout")

    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="of the network's arithmetic (autocast)")
    compile: bool = Field(False, description="run the network through torch.compile")
    tensorboard: bool = Field(False, description="write the curves for TensorBoard too")

    @model_validator(mode="before")
    @classmethod
    def _scaled_as_the_weights(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and fields.get("weights") and "normalisation" not in fields:
            return {**fields, "normalisation": "weights"}
        return fields

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.normalisation == "weights" and not self.weights:
            raise ValueError("normalisation weights is for a run that starts from weights; say unit or standard")
        for name, (needs, has_effect) in CONDITIONAL.items():
            if getattr(self, name) != _idle(name, self.weights) and not has_effect(self):
                raise ValueError(_without_effect(name, getattr(self, name), needs))
        if self.epochs and self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs {self.warmup_epochs:g} leaves nothing of {counted(self.epochs, 'epoch')}")
        return self

    def data_options(self, data_dir: Path | None = None) -> DataOptions:
        """Return what of it concerns the images; `data_dir` is where to look for the files of data sets first."""
        own = {field.name: getattr(self, field.name) for field in fields(DataOptions) if field.name != "data_dir"}
        return DataOptions(**own, data_dir=data_dir)

    @property
    def adversarial_step(self) -> float:
        """Length of a step of PGD in pixels of [0, 1], the default resolved."""
        longest = self.adversarial_training * (1.25 if self.adversarial_steps == 1 else 2.5)
        return self.adversarial_step_size or longest / self.adversarial_steps

    def override(self, changes: Mapping[str, Any]) -> "Recipe":
        """Return a copy with `changes` applied and checked; a `None` changes nothing.

        Fields that lose their effect by the changes, as `momentum` does with another optimizer, get their default. The
        `model_fields_set` of the copy are the changes.

        Raises:
            UsageError: a field that does not exist, or a value outside its range or without effect.
        """
        given = {name: value for name, value in changes.items() if value is not None}
        return self.layered(self.model_dump(), given, strict=given)

    @classmethod
    def layered(
        cls, *layers: Mapping[str, Any], strict: Collection[str] = (), context: Mapping[str, bool] | None = None
    ) -> "Recipe":
        """Return the recipe of several sets of fields, of which the later ones win, over the defaults.

        Fields that have no effect beside the others get their defaults; those that `strict` names must have one. They
        are the `model_fields_set` of the recipe.

        Raises:
            UsageError: a field that does not exist, or a value outside its range or without effect.
        """
        fields: dict[str, Any] = {name: field.default for name, field in cls.model_fields.items()}
        for layer in layers:
            fields |= {name: value for name, value in layer.items() if value is not None}
        # An invalid value decides nothing about the others; it is told when everything is checked.
        known = cls.model_construct(**{name: fields[name] for name in cls.model_fields})
        for name, (_, has_effect) in CONDITIONAL.items():
            if name not in strict and not has_effect(known):
                fields[name] = _idle(name, known.weights)
        checked = cls._checked(fields, context)
        for name, (needs, has_effect) in CONDITIONAL.items():
            if name in strict and asks(getattr(checked, name)) and not has_effect(checked):
                problem = _without_effect(name, getattr(checked, name), needs)
                raise UsageError(f"the recipe is not valid: {problem}.")
        return cls.model_construct(set(strict), **dict(checked))

    @classmethod
    def _checked(cls, fields: dict[str, Any], context: Mapping[str, bool] | None) -> Self:
        try:
            return cls.model_validate(fields, context=context)
        except ValidationError as error:
            problems = "; ".join(map(_said, error.errors()))
            raise UsageError(f"the recipe is not valid: {problems}.") from error

    @classmethod
    def recorded(cls, fields: dict[str, Any]) -> "Recipe":
        """Return the recipe that a card, a state or a run folder holds, which may be of an earlier version.

        Before 0.2 there was no split seed: the seed of the training decided by the paths of the files. Fields without
        effect were kept as they were given; they get their defaults.

        Raises:
            UsageError: a field that does not exist, or a value outside its range.
        """
        old = {"split_by": "path", "split_seed": fields.get("seed", 0)} if fields and "split_by" not in fields else {}
        return cls.layered(fields, old, context=_RECORDED)

    @classmethod
    def from_toml(cls, path: Path) -> "Recipe":
        """Read a recipe from the `[recipe]` table of a TOML file such as a run's `run.toml`.

        Raises:
            UsageError: no such file, not TOML, no such table, or an invalid field.
        """
        table = read_recipe_table(path)
        # A whole one of an earlier version may hold fields that have no effect.
        return cls.layered(table, strict=() if is_whole(table) else table)

    def to_toml(self) -> str:
        """Return the recipe as TOML, the fields that are unset left out."""
        return tomli_w.dumps({"recipe": self.model_dump(mode="json", exclude_none=True)})

    def write(self, path: Path) -> None:
        """Write `to_toml()` to `path` atomically."""
        write_atomic(path, self.to_toml().encode())


def asks(value: Any) -> bool:
    """Whether a value that was given asks for something; 0, no and the name of a default ask for nothing."""
    return bool(value) and value not in ("default", "weights")


def _without_effect(name: str, value: Any, needs: str) -> str:
    return f"{name} {value} has no effect {needs}"


def _counts(name: str, recipe: Recipe) -> bool:
    """Whether a field has an effect on the recipe's data set."""
    return name not in without_effect(str(recipe.data))


def _idle(name: str, weights: str) -> Any:
    """Return the value of a field that has no effect."""
    return "weights" if name == "normalisation" and weights else Recipe.model_fields[name].default


CONDITIONAL: dict[str, tuple[str, Callable[[Recipe], bool]]] = {
    "normalisation": (
        "with weights, whose images are scaled as they were trained",
        lambda recipe: not recipe.weights and recipe.normalisation != "weights",
    ),
    "initialisation": ("with weights; a new head gets PyTorch's own", lambda recipe: not recipe.weights),
    "freeze": ("without weights to start from", lambda recipe: bool(recipe.weights)),
    "allow_overlap": ("without weights to start from", lambda recipe: bool(recipe.weights)),
    "momentum": (
        "with this optimizer; it is for sgd and rmsprop",
        lambda recipe: recipe.optimizer in ("sgd", "rmsprop"),
    ),
    "nesterov": ("without sgd and a momentum", lambda recipe: recipe.optimizer == "sgd" and bool(recipe.momentum)),
    "warmup_epochs": (
        "with the one-cycle schedule, which has its own rise",
        lambda recipe: recipe.schedule != "one-cycle",
    ),
    "decay_epochs": ("without the step schedule", lambda recipe: recipe.schedule == "step"),
    "decay_factor": ("without the step schedule", lambda recipe: recipe.schedule == "step"),
    "adversarial_steps": ("without adversarial_training", lambda recipe: bool(recipe.adversarial_training)),
    "adversarial_step_size": ("without adversarial_training", lambda recipe: bool(recipe.adversarial_training)),
    "drawn_digits": ("on another data set than mnist", lambda recipe: _counts("drawn_digits", recipe)),
    "test_fraction": ("on a data set that has a test set of its own", lambda recipe: _counts("test_fraction", recipe)),
    "skip_damaged": ("on a data set whose images are no files", lambda recipe: _counts("skip_damaged", recipe)),
}
"""Fields that have an effect beside certain others only: when they have none, in words, and whether they have one."""


def is_whole(fields: Collection[str]) -> bool:
    """Whether a recipe table has all fields, as the `run.toml` of a run has; then nobody chose each of them."""
    return {"seed", "limit_batches", "tensorboard"} <= set(fields)


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


def resume_command(run: Path) -> str:
    """Return the command that goes on with a run; a network that is code of the user's is named again."""
    model = None
    with suppress(UsageError):
        model = read_recipe_table(run / "run.toml").get("model")
    named = f"{model} " if isinstance(model, str) and ":" in model else ""
    return f"cnnkit train {named}--resume {run}"


def is_of_earlier_version(table: dict[str, Any]) -> bool:
    """Whether a recipe table is a whole one that a version before 0.2 wrote, in which the seed divides the images."""
    return "split_by" not in table and is_whole(table)


def _said(problem: "ErrorDetails") -> str:
    """Say what pydantic found wrong: the field, what was expected, and what was found."""
    where, came = ": ".join(map(str, problem["loc"])), problem["input"]
    if problem["type"] == "extra_forbidden":
        close = close_matches(where, Recipe.model_fields)
        return f"{where}: there is no such field" + (f" (did you mean {' or '.join(close)}?)" if close else "")
    got = f", got {came!r}" if isinstance(came, str | int | float) else ""
    return ": ".join(filter(None, (where, problem["msg"].removeprefix("Value error, ") + got)))
