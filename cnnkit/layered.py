"""Settings that are put together from several layers, of which the later ones win: defaults, a file, options."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

import tomli_w
from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator, model_validator

from cnnkit.errors import UsageError, close_matches
from cnnkit.files import write_atomic
from cnnkit.options import choices_of, flag
from cnnkit.runfile import is_whole, read_recipe_table

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

T = TypeVar("T")

RECORDED = "recorded"
"""The context of settings that say how something was made: what they name need not be installed here."""


@dataclass(frozen=True)
class Effect(Generic[T]):
    """When a field has an effect beside the others, as metadata of its type.

    Attributes:
        given: whether it has one.
        none: when it has none, in words: `without --weights`.
    """

    given: Callable[[T], bool]
    none: str


class Layered(BaseModel):
    """Frozen settings, some of which have an effect beside certain others only."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @field_validator("*")
    @classmethod
    def _is_a_choice(cls, value: object, info: ValidationInfo) -> object:
        if info.context != RECORDED and not cls._is_known(str(info.field_name), value):
            names = choices_of(cls.model_fields[str(info.field_name)].metadata)
            raise ValueError(f"expected {', '.join(names[:-1])} or {names[-1]}")
        return value

    @model_validator(mode="after")
    def _has_effect(self, info: ValidationInfo) -> Self:
        if info.context == RECORDED:
            return self
        for name, effect in self._effects():
            if getattr(self, name) != self.idle(name) and not effect.given(self):
                raise ValueError(_without_effect(name, getattr(self, name), effect))
        return self

    @classmethod
    def _effects(cls) -> "list[tuple[str, Effect[Any]]]":
        found = cls.model_fields.items()
        return [(name, each) for name, field in found for each in field.metadata if isinstance(each, Effect)]

    @classmethod
    def _is_known(cls, name: str, value: object) -> bool:
        """Whether a value is among the names that its field looks up, if it looks up any."""
        field = cls.model_fields[name]
        # Looking for those of other packages takes time, and the default is always known.
        return value == field.default or value in (choices_of(field.metadata) or [value])

    def idle(self, name: str) -> object:
        """Return the value that a field has where it has no effect."""
        return type(self).model_fields[name].default

    def override(self, changes: Mapping[str, object]) -> Self:
        """Return a copy with `changes` applied and checked; a `None` changes nothing.

        Fields that lose their effect by the changes, as `momentum` does with another optimizer, get their default. The
        `model_fields_set` of the copy are the changes.

        Raises:
            UsageError: a field that does not exist, or a value outside its range or without effect.
        """
        given = {name: value for name, value in changes.items() if value is not None}
        return self.layered(self.model_dump(), given, strict=given)

    @classmethod
    def layered(cls, *layers: Mapping[str, object], strict: Collection[str] = (), context: object = None) -> Self:
        """Return what several sets of fields give together, over the defaults.

        Fields that have no effect beside the others get their defaults; those that `strict` names must have one. They
        are the `model_fields_set` of the result. The names in `RECORDED` settings need not be known here.

        Raises:
            UsageError: a field that does not exist, or a value outside its range or without effect.
        """
        fields: dict[str, Any] = {name: field.default for name, field in cls.model_fields.items()}
        for layer in layers:
            fields |= {name: value for name, value in layer.items() if value is not None}
        # An invalid value decides nothing about the others; it is told when everything is checked.
        known = cls.model_construct(
            **{name: fields[name] for name in cls.model_fields if cls._is_known(name, fields[name])}
        )
        for name, effect in cls._effects():
            if name not in strict and not effect.given(known):
                fields[name] = known.idle(name)
        checked = cls._checked(fields, context)
        for name, effect in cls._effects():
            if name in strict and asks(getattr(checked, name)) and not effect.given(checked):
                raise UsageError(f"the recipe is not valid: {_without_effect(name, getattr(checked, name), effect)}.")
        return cast("Self", cls.model_construct(set(strict), **dict(checked)))

    @classmethod
    def _checked(cls, fields: Mapping[str, object], context: object) -> Self:
        try:
            return cls.model_validate(fields, context=context)
        except ValidationError as error:
            problems = "; ".join(_said(each, cls.model_fields) for each in error.errors())
            raise UsageError(f"the recipe is not valid: {problems}.") from error

    @classmethod
    def from_toml(cls, path: Path) -> Self:
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


def asks(value: object) -> bool:
    """Whether a value that was given asks for something; 0, no and the name of a default ask for nothing."""
    return bool(value) and value not in ("default", "weights")


def _without_effect(name: str, value: object, effect: Effect[T]) -> str:
    given = flag(name) if value is True else f"{flag(name)} {value}"
    return f"{given} has no effect {effect.none}"


def _said(problem: "ErrorDetails", fields: Collection[str]) -> str:
    """Say what pydantic found wrong: the field, what was expected, and what was found."""
    where, came = ": ".join(map(str, problem["loc"])), problem["input"]
    if problem["type"] == "extra_forbidden":
        close = close_matches(where, fields)
        return f"{where}: there is no such field" + (f" (did you mean {' or '.join(close)}?)" if close else "")
    got = f", got {came!r}" if isinstance(came, str | int | float) else ""
    return ": ".join(filter(None, (where, problem["msg"].removeprefix("Value error, ") + got)))
