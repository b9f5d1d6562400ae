"""Options from the fields of dataclasses: a parameter of a command that is a dataclass becomes an option a field."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, is_dataclass
from functools import wraps
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from cnnkit.options import Parameter, parameters


@dataclass(frozen=True)
class Overrides:
    """Marks a parameter, a mapping, that gets the fields of a model that were given on the command line.

    `Annotated[dict[str, object], Overrides(Recipe)]`
    """

    of: type


def with_options(function: Callable[..., None]) -> Callable[..., None]:
    """Return a command with an option for each field of its parameters that are dataclasses or `Overrides`."""
    signature, groups = inspect.signature(function), dict[str, type]()
    shown: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        declared, *more = get_args(parameter.annotation) if _is_annotated(parameter) else (parameter.annotation,)
        overrides = next((each for each in more if isinstance(each, Overrides)), None)
        if overrides is None and not is_dataclass(declared):
            shown.append(parameter)
            continue
        groups[name] = overrides.of if overrides else declared
        shown += [_shown(field, optional=overrides is not None) for field in parameters(groups[name])]
    if not groups:
        return function

    @wraps(function)
    def command(**given: object) -> None:
        for name, kind in groups.items():
            values = {field.name: given.pop(field.name) for field in parameters(kind)}
            said = {field: value for field, value in values.items() if value is not None}
            given[name] = kind(**said) if is_dataclass(kind) else said
        function(**given)

    vars(command)["__signature__"] = signature.replace(parameters=shown)
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    return command


def _is_annotated(parameter: inspect.Parameter) -> bool:
    return get_origin(parameter.annotation) is Annotated


def _shown(field: Parameter, *, optional: bool) -> inspect.Parameter:
    """Return the parameter of a command for a field; an `optional` one is None where nobody gave it."""
    option, default = field.option, None if optional else field.default
    kind: Any = field.kind
    names = [field.flag, *option.also]
    if kind is bool and (optional or default is True):
        names = [f"{field.flag}/--no-{field.flag.removeprefix('--')}"]
    if option.parse is not None or get_origin(kind) is Literal:
        kind = str

    def check(value: object) -> object:
        try:
            return field.checked(value)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error

    offered = typer.Option(
        *names,
        help=field.help,
        rich_help_panel=option.panel or None,
        metavar=option.metavar or None,
        show_default=option.default or True,
        callback=check,
        autocompletion=_completion(field),
    )
    taken = kind | None if default is None else kind
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[taken, offered]
    )


def _completion(field: Parameter) -> Callable[[str], Iterable[str]] | None:
    from cnnkit.cli import common

    if field.choices:
        return common.offer(*field.choices)
    return {"data": common.complete_data, "model": common.complete_model, "": None}[field.option.suggest]
