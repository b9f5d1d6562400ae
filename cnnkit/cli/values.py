"""Values of options and arguments as Python's: texts, numbers and paths."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer
from typer.core import TyperCommand

from cnnkit.errors import UsageError
from cnnkit.words import quoted


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
                param.process_value = partial(_process, param, param.process_value, _kind(hints.get(param.name)))
        return params


class Command(SimpleValues, TyperCommand):
    """One command, which says what it cannot use before anything is loaded."""

    allow_extra_args = True  # to say more of them than that there are some

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Parse the command line.

        Raises:
            UsageError: an argument too many.
        """
        rest = super().parse_args(ctx, args)
        if ctx.args and not ctx.resilient_parsing:
            _refuse(ctx.args, ctx)
        return rest

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
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


def _kind(hint: object) -> object:
    """Return the type of an annotation, without None."""
    declared = get_args(hint)[0] if hasattr(hint, "__metadata__") else hint
    kinds = [kind for kind in get_args(declared) if kind is not type(None)]
    is_optional = len(kinds) < len(get_args(declared))
    return kinds[0] if is_optional and len(kinds) == 1 else declared


def _process(param: Any, usual: Callable[[typer.Context, Any], Any], kind: Any, ctx: typer.Context, value: Any) -> Any:
    # Values that are missing, and types that are not simple, are for Typer.
    if value in (None, (), []):
        if param.required:
            return usual(ctx, value)
    elif kind in (int, float, Path):
        # What is no number is refused by the option's own check.
        with suppress(ValueError):
            value = kind(value)
    elif kind not in (str, list[str]) and not isinstance(value, bool):
        return usual(ctx, value)
    return value if param.callback is None else param.callback(ctx, param, value)
