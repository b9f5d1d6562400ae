"""Values of options and arguments as Python's: texts, numbers and paths, and what is wrong with one in plain words."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand

from cnnkit.errors import UsageError
from cnnkit.words import quoted

_NUMBERS: dict[type, str] = {int: "a whole number", float: "a number"}


class SimpleValues:
    """Converts simple values itself, in a command or a group of commands.

    From 0.28 on, typer builds a pydantic validator for each option, even for one that nobody gave: importing pydantic
    takes a third of the time of a whole `predict`.
    """

    callback: Callable[..., Any] | None

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options and arguments, `--help` among them."""
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        hints = get_type_hints(self.callback, include_extras=True) if self.callback else {}
        for param in params:
            # Click asks more than once.
            if not isinstance(param.process_value, partial):
                param.process_value = partial(_process, param, param.process_value, *_kind(hints.get(param.name)))
        return params


class Command(SimpleValues, TyperCommand):
    """One command, which says what it cannot use before anything is loaded."""

    allow_extra_args = True  # to say more of them than that there are some

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line.

        Raises:
            UsageError: an argument too many.
        """
        rest = super().parse_args(ctx, args)
        if ctx.args and not ctx.resilient_parsing:
            _refuse(ctx.args, ctx)
        return rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command.

        Raises:
            UnknownNameError, DataError: there is no such data set or image folder.
        """
        # A run that is resumed says more of data that are gone.
        if (data := ctx.params.get("data")) is not None and not ctx.params.get("resume"):
            from cnnkit.data.sets import find

            find(data)
        return super().invoke(ctx)


def _refuse(extra: list[str], ctx: Any) -> None:
    """Say what an argument too many may have been meant for."""
    from cnnkit.cli.common import refuse_model
    from cnnkit.data.sets import named

    given, hint = ctx.params, f"{ctx.command_path} --help shows what it takes."
    first = extra[0]
    if (image := given.get("image")) is not None:
        refuse_model(str(image), f"cnnkit {ctx.info_name}", extra)
        refuse_model(first, f"cnnkit {ctx.info_name}", [str(image), *extra[1:]])
    if "data" in given and named(first):
        hint = f"To use the data set: --data {first}"
    elif "image" in given:
        hint = "It takes one image at a time."
    raise UsageError(f"unexpected extra argument {quoted(first)}. {hint}")


def _kind(hint: Any) -> tuple[Any, Any]:
    """Return the type of an annotation, without None, and the `typer.Option` that it carries."""
    declared, *more = get_args(hint) if hasattr(hint, "__metadata__") else (hint,)
    kinds = [kind for kind in get_args(declared) if kind is not type(None)]
    is_optional = len(kinds) < len(get_args(declared))
    return kinds[0] if is_optional and len(kinds) == 1 else declared, more[0] if more else None


def _process(
    param: Any, usual: Callable[[typer.Context, Any], Any], kind: Any, info: Any, ctx: typer.Context, value: Any
) -> Any:
    # Values that are missing, and types that are not simple, are for Typer.
    if value in (None, (), []):
        if param.required:
            return usual(ctx, value)
    elif kind in _NUMBERS:
        value = _number(kind, value, info.min, info.max, ctx, param)
    elif kind is Path:
        value = Path(value)
    elif get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(get_args(kind))}.", ctx=ctx, param=param)
    elif kind not in (str, list[str]) and not isinstance(value, bool):
        return usual(ctx, value)
    return value if param.callback is None else param.callback(ctx, param, value)


def _number(kind: Any, value: Any, least: float | None, most: float | None, ctx: Any, param: Any) -> Any:
    try:
        number = kind(value)
    except ValueError:
        number = None
    if number is None or (least is not None and not number >= least) or (most is not None and not number <= most):
        bounds = "" if least is None else f" of at least {least}" if most is None else f" from {least} to {most}"
        shown = repr(value) if number is None else number
        raise typer.BadParameter(f"{shown} is not {_NUMBERS[kind]}{bounds}.", ctx=ctx, param=param)
    return number
