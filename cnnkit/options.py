"""An option of the command line, written once: where its value is used.

That is a parameter of an operation, or a field of a dataclass or of the recipe:
`top_k: Annotated[int, Option("Classes that …", ge=1)] = 5`.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, ForwardRef, Literal, Union, Unpack, get_args, get_origin, get_type_hints

from cnnkit.errors import UsageError
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
        suggest: what Tab offers where anything can be given.
        parse: makes the value from a text, where the type is not simple; raises ValueError with the reason.
        repeated: it may be given again, and the value is a list.
        several: it takes some names or numbers, separated by commas, each of which is parsed.
        expects: what several are, for an error.
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
    suggest: Literal["", "data", "model", "device", "devices", "torch-device", "run"] = ""
    parse: Callable[[str], object] | None = None
    repeated: bool = False
    several: bool = False
    expects: str = ""
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
        lower = "" if least is None else f"from {least}"
        upper = "" if most is None else f"to {most}"
        if above is not None:
            lower, upper = f"above {above}", upper and f"and up {upper}"
        if below is not None:
            upper = f"to less than {below}" if least is not None else f"and below {below}"
        if lower and not upper:
            lower = lower.replace("from", "of at least")
        return " ".join(filter(None, (kind, lower, upper)))

    def checked(self, value: object) -> object:
        """Return what a value of the command line stands for.

        Raises:
            ValueError: it is none of the choices, out of range, or not what the option parses.
        """
        if isinstance(value, list | tuple):
            return tuple(self.checked(each) for each in value) or None
        if isinstance(value, str) and self.option.several:
            return self._split(value)
        if isinstance(value, str) and self.choices and value not in self.choices:
            raise ValueError(f"{value!r} is not one of {', '.join(self.choices)}.")
        if isinstance(value, str) and self.option.parse is not None:
            return self.option.parse(value)
        if isinstance(value, str) and self.kind in (int, float):
            raise ValueError(f"{value!r} is not {self.expected}.")
        if isinstance(value, int | float) and not isinstance(value, bool):
            least, above, most, below = (getattr(self.option, bound) for bound in _BOUNDS)
            too_small = (least is not None and value < least) or (above is not None and value <= above)
            too_large = (most is not None and value > most) or (below is not None and value >= below)
            if too_small or too_large or not math.isfinite(value):
                raise ValueError(f"{value} is not {self.expected}.")
        return value

    def _split(self, value: str) -> tuple[object, ...]:
        parts = [part.strip() for part in value.split(",")]
        if self.option.parse is None:
            return tuple(dict.fromkeys(parts))  # whether there are such names is for the operation
        try:
            return tuple(map(self.option.parse, parts))
        except (ValueError, ArithmeticError):
            raise UsageError(f"{self.flag} {value!r}: expected {self.option.expects}.") from None


def flag(field: str) -> str:
    """Return the option of a field that names no other: `--learning-rate` for `learning_rate`."""
    return f"--{field.replace('_', '-')}"


def choices_of(metadata: Iterable[object]) -> tuple[str, ...]:
    """Return the names that the option among the metadata of a field looks up; none where it looks up none."""
    return tuple(name for each in metadata if isinstance(each, Option) and each.choices for name in each.choices())


def parameters(of: Callable[..., object]) -> Iterator[Parameter]:
    """Yield what has an option, in order: fields of a dataclass or pydantic model, or parameters of a function."""
    fields = getattr(of, "model_fields", None) or getattr(of, "__dataclass_fields__", {})
    hints = get_type_hints(of, include_extras=True) if isinstance(of, type) else {}
    # A pydantic model has its bounds beside the option.
    found = [as_parameter(n, hints[n], field.default, field.metadata) for n, field in fields.items()]
    for name, parameter in inspect.signature(of).parameters.items() if not isinstance(of, type) else ():
        described = get_args(parameter.annotation) if get_origin(parameter.annotation) is Unpack else ()
        for kind in described:
            found += [as_parameter(each, hint, None) for each, hint in kind.__annotations__.items()]
        found.append(as_parameter(name, parameter.annotation, parameter.default))
    yield from filter(None, found)


def as_parameter(name: str, hint: object, default: object, limits: Iterable[object] = ()) -> Parameter | None:
    """Return a parameter or field by its annotation, if that has an option; `limits` are bounds beside it."""
    declared, *more = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    if isinstance(declared, ForwardRef):  # what Python takes, of a type that only checkers know: a text names it
        declared = str | None
    option = next((each for each in more if isinstance(each, Option)), None)
    if option is None:
        return None
    beside = [limit for limit in limits if not isinstance(limit, Option | str)]
    bounds = {each: getattr(limit, each) for limit in beside for each in _BOUNDS if hasattr(limit, each)}
    kinds = [each for each in get_args(declared) if each is not type(None)]
    is_optional = get_origin(declared) is not Literal and len(kinds) < len(get_args(declared))
    kind = declared if not is_optional else kinds[0] if len(kinds) == 1 else Union[tuple(kinds)]  # noqa: UP007
    return Parameter(name, kind, default, replace(option, **bounds))


COUNTS = "whole numbers from 1, separated by commas, as in 1,8,32"


def as_count(text: str) -> int:
    """Parse a whole number from 1."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ValueError(text)
    return int(text)


def as_fraction(text: str) -> float:
    """Parse a number, which may be a fraction such as 8/255."""
    above, line, below = text.partition("/")
    return float(above) / float(below) if line else float(above)


def parse_sides(text: str) -> tuple[int, ...]:
    """Parse `3x32x32`, or as many dimensions as an input has.

    Raises:
        ValueError: it is no such shape.
    """
    parts = text.lower().replace("×", "x").split("x")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(f"{text!r} is not channels × height × width, as in 3x32x32")
    return tuple(map(int, parts))


def parse_shape(text: str) -> tuple[int, int, int]:
    """Parse `3x32x32`, channels × height × width.

    Raises:
        ValueError: it is no such shape.
    """
    match parse_sides(text):
        case channels, height, width:
            return channels, height, width
    raise ValueError(f"{text!r} is not channels × height × width, as in 3x32x32")
