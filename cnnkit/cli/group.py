"""The one place where errors are caught: messages, exit codes, and the JSON envelope of a failure."""

import os
import shlex
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from signal import SIGINT
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from cnnkit.cli.loading import load, summaries
from cnnkit.cli.signals import Terminated, name_of
from cnnkit.cli.values import SimpleValues
from cnnkit.errors import CnnkitError, DeviceWarning, LostProcessError, MissingDependencyError, StoppedError, UsageError
from cnnkit.render import notices

# What an installation for prediction only does without.
_TRAINING_LIBRARIES = {"torch", "torchvision", "torchmetrics", "onnxscript", "matplotlib"}


CRASHED = 70
"""The exit code of an error of cnnkit itself, EX_SOFTWARE of sysexits.h."""

# What may go wrong in one of several processes alone.
_OF_ONE = {"out-of-memory", "os", "internal"}


class Group(SimpleValues, TyperGroup):
    """All commands; turns errors into messages and exit codes."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # The help needs no more of a command than this.
        self.commands = {name: TyperCommand(name, help=summary) for name, summary in summaries().items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Load the command; where another word is in its place, say how the line is meant to be."""
        if args and args[0] in summaries():
            self.commands[args[0]] = load(args[0])
        elif args and (hint := self._hint(args)):
            raise UsageError(f"{args[0]} is no command. {hint}")
        return super().resolve_command(ctx, args)

    def _hint(self, args: list[str]) -> str:
        from cnnkit.formats import SUFFIXES
        from cnnkit.sources import is_model

        first, *rest = args
        named = [word for word in rest if word in summaries()]
        if first == "help":
            about = f"cnnkit {named[0]} --help shows the options of {named[0]}." if named else ""
            return about or "cnnkit --help shows the commands, and cnnkit COMMAND --help the options of one."
        if named:
            others = [first, *rest]
            others.remove(named[0])
            return f"The command comes first: {shlex.join(['cnnkit', named[0], *others])}"
        if is_model(first):
            return f"It is a model; the command comes first, as in cnnkit summary {first} (cnnkit --help has all)."
        if Path(first).is_file() and first.lower().endswith(tuple(SUFFIXES)):
            return f"To classify the image: cnnkit predict {shlex.quote(first)}"
        return ""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        """Run the command; see `cnnkit.errors` for the exit codes."""
        # Wrong usage may be found before `--json` itself is looked at.
        ctx.obj = {"json": "--json" in ctx.args, "debug": False, "arguments": list(ctx.args)}
        try:
            notices.clear()
            with warnings.catch_warnings():
                warnings.showwarning = partial(_show_warning, warnings.showwarning)
                return super().invoke(ctx)
        except (KeyboardInterrupt, Terminated) as stop:
            if ctx.obj["json"]:
                number = int(str(stop.code)) - 128 if isinstance(stop, Terminated) else SIGINT
                _report(ctx, StoppedError.code, f"stopped by {name_of(number)}")
            raise
        except CnnkitError as error:
            _trace(ctx)
            # A process that is lost is started again, and an envelope would be one too many.
            if not (isinstance(error, LostProcessError) and ctx.obj["json"]):
                _report(ctx, error.code, str(error), getattr(error, "result", None), failed=error.exit_code == 3)
            raise typer.Exit(error.exit_code) from None
        except Exception as error:
            if isinstance(error, typer.Exit | typer.Abort | BrokenPipeError):
                raise
            usage = getattr(error, "format_message", None)
            if usage and not ctx.obj["json"]:
                raise  # Typer shows wrong usage better, with the usage line
            if usage:
                _report(ctx, UsageError.code, usage())
                raise typer.Exit(UsageError.exit_code) from None
            _trace(ctx)
            if isinstance(error, ModuleNotFoundError) and error.name in _TRAINING_LIBRARIES:
                message = (
                    f"this command needs PyTorch and all else that cnnkit builds on; this installation lacks "
                    f"{error.name}. Run: pip install torch torchvision torchmetrics onnx onnxscript matplotlib"
                )
                _report(ctx, MissingDependencyError.code, message)
            elif isinstance(error, ModuleNotFoundError) and error.name == "onnx":
                message = "ONNX files other than the zoo's are checked by the library onnx. Run: pip install onnx"
                _report(ctx, MissingDependencyError.code, message)
            elif isinstance(error, OSError):
                _report(ctx, "os", f"{error.strerror or error}: {error.filename or 'a file'}.")
            else:
                message = (
                    f"internal error: {type(error).__name__}: {error}. This is a bug; cnnkit --debug … shows where."
                )
                _report(ctx, "internal", message)
                raise typer.Exit(CRASHED) from None
            raise typer.Exit(1) from None


def _show_warning(usual: Callable[..., None], message: Warning | str, category: type[Warning], *rest: Any) -> None:
    """Show what the user should know of a device as all that cnnkit says; other libraries' warnings as usual."""
    if issubclass(category, DeviceWarning):
        from cnnkit.render import console

        console.warning(str(message))
    else:
        usual(message, category, *rest)


def _trace(ctx: typer.Context) -> None:
    if ctx.obj["debug"]:
        traceback.print_exc()


def _report(ctx: typer.Context, code: str, message: str, result: Any = None, *, failed: bool = False) -> None:
    rank = os.environ.get("LOCAL_RANK", "0")
    if rank != "0":
        # Of the processes that train together on a machine, one speaks; but an error of one's own is no other's.
        if code not in _OF_ONE:
            return
        message = f"process {rank}: {message}"
    if ctx.obj["json"]:
        from cnnkit.render import envelope

        envelope.write(
            ctx.invoked_subcommand or "", result, errors=[(code, message)], status="failed" if failed else "error"
        )
    else:
        from rich.text import Text

        from cnnkit.render import console

        if code == StoppedError.code:
            console.say(console.err(), Text(console.printable(message), "yellow"))
        else:
            console.error(message)
