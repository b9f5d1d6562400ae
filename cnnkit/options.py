"""An option of the command line, written once: at the field of the dataclass or of the recipe that it fills."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

from cnnkit.words import listed

_BOUNDS = ("ge", "gt", "le", "lt")


@dataclass(frozen=True)
class Option:
    """How a field is offered on the command line, as metadata of its type: `Annotated[int, Option("…", ge=1)]`.

    Attributes:
        help: sentences; `{choices}` stands for the names that can be given.
        panel: of the help that shows it; the first one where it is empty.
        note: more of it, for the table in the documentation alone.
        flag: where the option is not named like the field, as `--input`.
        also: further names, as `--lr`.
        metavar: what stands for the value in the help; the type where it is empty.
        choices: returns the names that can be given, where the type is no `Literal`.
        suggest: what Tab offers where anything can be given: `data` or `model`.
        parse: makes the value from a text, where the type is not simple; raises ValueError with the reason.
        default: as the help shows it, where it is not that of the field.
        ge, gt, le, lt: bounds of a number, as pydantic names them.
    """

    help: str
    panel: str = ""
    note: str = ""
    flag: str = ""
    also: tuple[str, ...] = ()
    metavar: str = ""
    choices: Callable[[], Iterable[str]] | None = None
    suggest: Literal["", "data", "model"] = ""
    parse: Callable[[str], object] | None = None
    default: str = ""
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None


@dataclass(frozen=True)
class Parameter:
    """A field with its option.

    Attributes:
        name: of the field.
        kind: its type, without None.
        default: of the field; None where it can be left out.
        option: how it is offered.
    """

    name: str
    kind: object
    default: object
    option: Option

    @property
    def flag(self) -> str:
        """The option's first name, as `--learning-rate`."""
        return self.option.flag or flag(self.name)

    @property
    def choices(self) -> tuple[str, ...]:
        """The names that can be given; none where anything can be."""
        return choices_of([self.option]) or (get_args(self.kind) if get_origin(self.kind) is Literal else ())

    @property
    def help(self) -> str:
        """The help with its choices."""
        names = listed(self.choices, most=99)
        return self.option.help.replace("{choices}", " or ".join(names.rsplit(" and ", 1)))

    @property
    def expected(self) -> str:
        """A number in its bounds, in words: `a whole number of at least 1`."""
        kind = "a whole number" if self.kind is int else "a number"
        least, above, most, below = (getattr(self.option, bound) for bound in _BOUNDS)
        lower = "" if least is None else f"from {least:,}"
        upper = "" if most is None else f"to {most:,}"
        if above is not None:
            lower, upper = f"above {above:,}", upper and f"and up {upper}"
        if below is not None:
            upper = f"to less than {below:,}" if least is not None else f"and below {below:,}"
        if lower and not upper:
            lower = lower.replace("from", "of at least")
        return " ".join(filter(None, (kind, lower, upper)))

    def checked(self, value: object) -> object:
        """Return what a value of the command line stands for.

        Raises:
            ValueError: it is none of the choices, out of range, or not what the option parses.
        """
        if isinstance(value, str) and self.choices and value not in self.choices:
            raise ValueError(f"{value!r} is not one of {', '.join(self.choices)}.")
        if isinstance(value, str) and self.option.parse is not None:
            return self.option.parse(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            least, above, most, below = (getattr(self.option, bound) for bound in _BOUNDS)
            too_small = (least is not None and value < least) or (above is not None and value <= above)
            too_large = (most is not None and value > most) or (below is not None and value >= below)
            if too_small or too_large or not math.isfinite(value):
                raise ValueError(f"{value} is not {self.expected}.")
        return value


def flag(field: str) -> str:
    """Return the option of a field that names no other: `--learning-rate` for `learning_rate`."""
    return f"--{field.replace('_', '-')}"


def choices_of(metadata: Iterable[object]) -> tuple[str, ...]:
    """Return the names that the option among the metadata of a field looks up; none where it looks up none."""
    return tuple(name for each in metadata if isinstance(each, Option) and each.choices for name in each.choices())


def parameters(kind: type) -> Iterator[Parameter]:
    """Yield the fields of a dataclass or pydantic model that have an option, in their order."""
    fields = getattr(kind, "model_fields", None) or getattr(kind, "__dataclass_fields__", {})
    for name, hint in get_type_hints(kind, include_extras=True).items():
        declared, *more = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        option = next((each for each in more if isinstance(each, Option)), None)
        if option is None or name not in fields:
            continue
        # A pydantic model has its bounds beside the option.
        limits = [limit for limit in fields[name].metadata if not isinstance(limit, Option | str)]
        bounds = {each: getattr(limit, each) for limit in limits for each in _BOUNDS if hasattr(limit, each)}
        kinds = [each for each in get_args(declared) if each is not type(None)]
        is_optional = get_origin(declared) is not Literal and len(kinds) < len(get_args(declared))
        taken = kinds[0] if is_optional and len(kinds) == 1 else declared
        yield Parameter(name, taken, fields[name].default, replace(option, **bounds))


def parse_shape(text: str) -> tuple[int, int, int]:
    """Parse `3x32x32`, channels × height × width.

    Raises:
        ValueError: it is no such shape.
    """
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 3 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(f"{text!r} is not channels × height × width, as in 3x32x32")
    channels, height, width = map(int, parts)
    return channels, height, width
