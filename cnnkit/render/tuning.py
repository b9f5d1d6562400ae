"""What trying the options of a provider found, on standard output."""

from rich.text import Text

from cnnkit.render import console
from cnnkit.runtime.results import TriedOptions, TuningResult

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
        again = any(row.verdict == "faster" for row in result.tried)
        why = "What was fastest did not win again, alone against the" if again else "Nothing beats the"
        removed = ", and the options that the card held are taken out" if result.removed else ""
        out.print(f"{why} default options beyond the noise: nothing is stored{removed}.")
        return
    gained = _interval(result.speed_up)
    out.print(Text(f"Winner: {result.winner}. Alone against the default: {gained} times as fast.", "bold green"))
    if result.stored_in is not None:
        console.say(out, Text(f"Stored in the card of {result.stored_in}, for this hardware alone."))


def _interval(speed_up: tuple[float, float, float] | None) -> str:
    return "–" if speed_up is None else f"{speed_up[0]:.2f} ({speed_up[1]:.2f} to {speed_up[2]:.2f})"


def _verdict(row: TriedOptions) -> Text:
    said = f"{row.verdict}: {row.reason}" if row.reason else "" if row.verdict == "default" else row.verdict
    return Text(said, _STYLES.get(row.verdict, "dim"))
