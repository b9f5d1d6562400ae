"""A training recipe as data: everything that decides what a run does."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cnnkit.errors import UsageError
from cnnkit.files import write_atomic

Shape = tuple[
    Annotated[int, Field(ge=1, le=3)], Annotated[int, Field(ge=1, le=4096)], Annotated[int, Field(ge=1, le=4096)]
]


class Recipe(BaseModel):
    """How to train one network on one data set.

    A registered model carries the recipe of the course it comes from; every field can be overridden, and each run
    writes the resolved recipe to `run.toml`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: str = ""
    data: str = "mnist"
    input_shape: Shape | None = Field(None, description="channels, height, width; None: the model's own")
    epochs: int = Field(10, ge=1, le=100_000)
    batch_size: int = Field(64, ge=1, le=1_000_000)
    optimizer: Literal["sgd", "adam", "adamw", "rmsprop"] = "adam"
    learning_rate: float = Field(1e-3, gt=0, allow_inf_nan=False)
    schedule: Literal["constant", "cosine", "one-cycle"] = "constant"
    momentum: float = Field(0.0, ge=0, lt=1, description="for sgd and rmsprop")
    weight_decay: float = Field(0.0, ge=0, allow_inf_nan=False)
    loss: Literal["cross-entropy"] = "cross-entropy"
    initialisation: Literal["default", "xavier"] = "default"
    normalisation: Literal["unit", "standard"] = Field(
        "unit", description="unit: pixels in [0, 1]; standard: then zero mean and unit variance of the training split"
    )
    augmentation: Literal["none", "affine", "digits", "drawings"] = "none"
    validation_fraction: float = Field(0.2, gt=0, lt=1, description="of the training images, chosen by seed")
    test_fraction: float = Field(0.2, gt=0, lt=1, description="of an image folder that has no train and test folders")
    seed: int = Field(0, ge=0, lt=2**32)

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
            problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise UsageError(f"the recipe is not valid: {problems}.") from error

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
        raise UsageError(f"cannot read the recipe {path}: {error}.") from error
    table = document.get("recipe")
    if not isinstance(table, dict):
        raise UsageError(f"{path} has no [recipe] table; a run's run.toml shows the form.")
    return table
