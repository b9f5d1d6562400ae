"""Options: one definition becomes the help, the check and the value."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from typer.testing import CliRunner

from cnnkit.cli.fields import OptionsOf, changed, with_options
from cnnkit.cli.values import Command
from cnnkit.errors import UsageError
from cnnkit.options import Option, parameters


def probe(
    ref: str,
    *,
    depth: Annotated[int, Option("How deep.", ge=1, le=9)] = 3,
    rate: Annotated[float | None, Option("How fast.", gt=0, lt=1)] = None,
    kind: Annotated[Literal["thin", "thick"], Option("Its kind: {choices}.", also=("-k",))] = "thin",
    radii: Annotated[
        Sequence[float] | None, Option("Radii.", flag="--radius", several=True, parse=float, expects="numbers")
    ] = None,
    folder: Annotated[str | Path | None, Option("Where.")] = None,
    watch: Annotated[bool, Option("Go on.")] = True,
    internal: int = 7,
) -> tuple[object, ...]:
    return ref, depth, rate, kind, radii, folder, watch, internal


@dataclass(frozen=True)
class Place:
    host: Annotated[str, Option("Host.", "Network")] = "here"
    secret: str = "none"


def run(*arguments: str) -> tuple[int, str]:
    def command(
        ref: str,
        *,
        probed: Annotated[partial[tuple[object, ...]], OptionsOf(probe)],
        place: Annotated[Place, OptionsOf(Place)],
        top: Annotated[int, Option("Most.", ge=1)] = 5,
    ) -> None:
        typer.echo(f"{probed(ref)} {place} {top} {changed(probed)}")

    app = typer.Typer()
    app.command("probe", cls=Command)(with_options(command))
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, " ".join(result.output.replace("│", "").split())


def test_an_operation_gets_its_defaults_and_what_is_given() -> None:
    code, out = run("net")
    assert (code, out) == (0, f"{probe('net')} {Place()} 5 []")
    code, out = run(
        "net", "--depth", "4", "-k", "thick", "--radius", "1,2", "--no-watch", "--host", "there", "--top", "2"
    )
    expected = probe("net", depth=4, kind="thick", radii=(1.0, 2.0), watch=False)
    assert (code, out) == (0, f"{expected} {Place('there')} 2 ['depth', 'kind', 'radii', 'watch']")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--depth", "0"), "'--depth': 0 is not a whole number from 1 to 9."),
        (("--depth", "1.5"), "'--depth': '1.5' is not a whole number from 1 to 9."),
        (("--rate", "1"), "'--rate': 1.0 is not a number above 0 and below 1."),
        (("--rate", "nan"), "'--rate': nan is not"),
        (("--kind", "round"), "'--kind' / '-k': 'round' is not one of thin, thick."),
        (("--top", "0"), "'--top': 0 is not a whole number of at least 1."),
        (("--internal", "3"), "No such option"),
        (("--secret", "3"), "No such option"),
    ],
    ids=str,
)
def test_what_an_option_does_not_take_is_refused_by_its_name(arguments: tuple[str, ...], said: str) -> None:
    code, out = run("net", *arguments)
    assert code == 2
    assert said in out


def test_a_list_that_cannot_be_parsed_is_refused_whole() -> None:
    (radii,) = (field for field in parameters(probe) if field.name == "radii")
    assert radii.checked("1, 2.5") == (1.0, 2.5)
    with pytest.raises(UsageError, match="--radius '1,b': expected numbers"):
        radii.checked("1,b")


def test_the_help_has_choices_ranges_and_panels() -> None:
    code, out = run("--help")
    assert code == 0
    assert all(
        text in out for text in ("How deep. From 1 to 9.", "Its kind: thin or thick.", "─ Network ─", "--no-watch")
    )
    assert "--internal" not in out
