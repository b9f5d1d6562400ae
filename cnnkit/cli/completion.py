"""What Tab offers for the values of options and arguments; nothing here imports PyTorch."""

from collections.abc import Callable
from pathlib import Path

DEVICES = ("auto", "cpu", "cuda", "cuda:0")


def complete_model(incomplete: str) -> list[str]:
    """Offer models, zoo entries, runs and ONNX files."""
    from cnnkit.sources import offered

    return offer(*offered())(incomplete)


def complete_run(incomplete: str) -> list[str]:
    """Offer the run folders that can be resumed."""
    return offer(*sorted(str(path.parent) for path in Path("runs").glob("*/run.toml")))(incomplete)


def complete_data(incomplete: str) -> list[str]:
    """Offer data sets and the folders here."""
    from cnnkit.data.sets import names

    folders = sorted(f"./{path.name}" for path in Path().iterdir() if path.is_dir() and not path.name.startswith("."))
    return offer(*names(), *folders)(incomplete)


def offer(*choices: str) -> Callable[[str], list[str]]:
    """Return what offers these values of an option to the shell."""
    return lambda incomplete: [choice for choice in choices if choice.startswith(incomplete)]


def offer_several(*choices: str) -> Callable[[str], list[str]]:
    """Return what offers these values of an option that takes some of them, separated by commas."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [before + comma + choice for choice in offer(*choices)(last)]

    return complete


def known_device(text: str) -> str:
    """Return a device that the command line names.

    Raises:
        UsageError: there is no such kind of device.
    """
    if text not in DEVICES:
        from cnnkit.runtime.providers import parse_device

        parse_device(text)
    return text


SUGGESTIONS = {
    "data": complete_data,
    "model": complete_model,
    "device": offer(*DEVICES, "tensorrt"),
    "devices": offer_several(*DEVICES, "tensorrt"),
    "run": complete_run,
    "torch-device": offer(*DEVICES),
}
