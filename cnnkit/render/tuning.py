"""What trying the options of a provider found, on standard output."""

from rich.text import Text

from cnnkit.render import console
from cnnkit.results import TriedOptions, TuningResult

_STYLES = {"faster": "green", "slower": "red", "refused": "yellow", "failed": "yellow"}


def tuning(result: TuningResult) -> None:
    """Draw the option sets that were tried, and what became of the winner."""
    table = console.table()
    table.add_column("options", style="bold", overflow="fold")
    table.add_column("ms a batch", justify="right", no_wrap=True)
    table.add_column("speed-up, 95% interval", justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for row in result.tried:
        mean = "–" if row.mean_ms is None else f"{row.mean_ms:.3f}"
        table.add_row(row.name, mean, _interval(row.speed_up), _verdict(row))
    out = console.out()
    console.titled(out, f"{result.model} in batches of {result.batch}, {result.hardware}", table)
    if result.winner is None:
        out.print("Nothing beats the default options beyond the noise, so nothing is stored.")
        return
    out.print(
        Text(f"Winner: {result.winner}, {_interval(result.speed_up)} times as fast when run again.", "bold green")
    )
    if result.stored_in is not None:
        console.say(out, Text(f"Stored in the card of {result.stored_in}, for this hardware alone."))


def _interval(speed_up: tuple[float, float, float] | None) -> str:
    return "–" if speed_up is None else f"{speed_up[0]:.2f} ({speed_up[1]:.2f} to {speed_up[2]:.2f})"


def _verdict(row: TriedOptions) -> Text:
    said = f"{row.verdict}: {row.reason}" if row.reason else "" if row.verdict == "default" else row.verdict
    return Text(said, _STYLES.get(row.verdict, "dim"))
