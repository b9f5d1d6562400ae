"""What `cnnkit doctor` found, on standard output."""

from rich.text import Text

from cnnkit.render import console
from cnnkit.runtime.results import Installation
from cnnkit.words import counted

_STYLES = {"ok": "green", "note": "yellow", "problem": "bold red"}


def doctor(result: Installation) -> None:
    """Draw what was looked at, and under it what to do, with commands on lines of their own to copy."""
    table = console.table()
    table.add_column("looked at", style="bold", no_wrap=True)
    table.add_column("found", overflow="fold")
    table.add_column("", no_wrap=True)
    for check in result.checks:
        table.add_row(check.what, console.printable(check.found), Text(check.verdict, _STYLES[check.verdict]))
    out = console.out()
    out.print(table)
    for check in result.checks:
        if check.advice:
            style = _STYLES[check.verdict]
            console.say(out, Text.assemble(("\n" + check.what, style), ": ", console.printable(check.advice)))
        if check.command:
            out.print(Text(f"  {check.command}"), soft_wrap=True)
    problems = len(result.problems)
    if problems:
        out.print(Text(f"\n{counted(problems, 'problem')}.", "bold red"))
    else:
        noted = any(check.verdict == "note" for check in result.checks)
        out.print(Text(f"\nNo problem{'; what is noted is optional' if noted else ''}.", "bold green"))
