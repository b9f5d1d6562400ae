"""Options from the operations: a command names the operation, and gets it with what was given on the command line."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, is_dataclass
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import typer

from cnnkit.cli import completion
from cnnkit.options import Parameter, as_parameter, parameters

T = TypeVar("T")


@dataclass(frozen=True)
class OptionsOf:
    """Marks a parameter of a command in whose place its options stand.

    For a function, as in `Annotated[partial[Steps[Evaluation]], OptionsOf(evaluate.steps)]`, it gets that function with
    the options filled in. For a dataclass it gets an instance, for a pydantic model a dictionary of what was given.
    """

    of: Callable[..., object]

    def filled(self, given: dict[str, object]) -> object:
        """Return what the command gets."""
        said = {name: value for name, value in given.items() if value is not None}
        if not isinstance(self.of, type):
            return partial(self.of, **said)
        return self.of(**said) if is_dataclass(self.of) else said


def with_options(function: Callable[..., None]) -> Callable[..., None]:
    """Return a command with options in place of its parameters with `OptionsOf`."""
    signature, groups = inspect.signature(function), dict[str, OptionsOf]()
    shown: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        marks = get_args(parameter.annotation) if get_origin(parameter.annotation) is Annotated else ()
        group = next((mark for mark in marks if isinstance(mark, OptionsOf)), None)
        if group is None:
            field = as_parameter(name, parameter.annotation, parameter.default)
            shown.append(parameter if field is None else _shown(field, optional=False))
        else:
            groups[name] = group
            # Each field of a recipe has a default that depends on the others.
            optional = isinstance(group.of, type) and not is_dataclass(group.of)
            shown += [_shown(field, optional=optional) for field in parameters(group.of)]

    @wraps(function)
    def command(**given: object) -> None:
        for name, group in groups.items():
            given[name] = group.filled({field.name: given.pop(field.name) for field in parameters(group.of)})
        function(**given)

    vars(command)["__signature__"] = signature.replace(parameters=shown)
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    return command


def changed(operation: partial[T]) -> list[str]:
    """Return the names of the options that differ from their defaults."""
    return [field.name for field in parameters(operation.func) if operation.keywords.get(field.name) != field.default]


def _shown(field: Parameter, *, optional: bool) -> inspect.Parameter:
    """Return the parameter of a command for a field; an `optional` one is None where nobody gave it."""
    option, default = field.option, None if optional else field.default
    names = [field.flag, *option.also]
    if field.kind is bool and (optional or default is True):
        names = [f"{field.flag}/--no-{field.flag.removeprefix('--')}"]
    if isinstance(default, tuple):
        default = ",".join(default) or None
    kind = _kind(field)

    def check(value: object) -> object:
        try:
            return field.checked(value)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error

    is_between = option.ge is not None and option.le is not None and not optional
    offered = typer.Option(
        *names,
        help=f"{field.help} From {option.ge} to {option.le}." if is_between else field.help,
        rich_help_panel=option.panel or None,
        metavar=option.metavar or None,
        show_default=option.default or True,
        callback=completion.known_device if option.suggest.endswith("device") else check,
        autocompletion=_completion(field),
    )
    taken = kind | None if default is None else kind
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[taken, offered]
    )


def _kind(field: Parameter) -> Any:
    """Return the type that a value has on the command line."""
    kinds = get_args(field.kind)
    if get_origin(field.kind) is not Literal and Path in kinds:
        return str if field.option.suggest == "model" else Path
    if field.option.repeated:
        return list[str]
    is_text = field.option.parse or field.option.several or get_origin(field.kind) is Literal
    return str if is_text else field.kind


def _completion(field: Parameter) -> Callable[[str], Iterable[str]] | None:
    if field.choices:
        return (completion.offer_several if field.option.several else completion.offer)(*field.choices)
    return completion.SUGGESTIONS.get(field.option.suggest)
