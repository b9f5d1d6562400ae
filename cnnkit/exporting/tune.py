"""`cnnkit.tune`: the options of a provider that make an exported file fastest, kept in its card."""

from dataclasses import replace

from cnnkit.errors import UsageError
from cnnkit.exporting.carding import replace_card
from cnnkit.files import require_writable
from cnnkit.runtime import guard
from cnnkit.runtime.providers import ProviderOptions, as_stored
from cnnkit.runtime.results import TuningResult
from cnnkit.runtime.tuning import race_options
from cnnkit.sources import Ref, find


def tune(ref: Ref, *, device: str = "auto", batch: int = 32, seconds: float = 1.0) -> TuningResult:
    """Try provider options on an exported file, and store the winner in its card.

    Later sessions on the same hardware use it. Where nothing beats the default options beyond the noise nothing is
    stored, and what the card held for this hardware is taken out.

    Args:
        ref: an ONNX file with a card.
        device: as in `load`, and `tensorrt` or `tensorrt:N`.
        batch: images in each run.
        seconds: spent on each set of options.

    Raises:
        UsageError: a file of the zoo.
        CheckpointError: not an exported file.
        OnnxError: it has no card, or gives other logits on this device.
        DeviceError: the device is unavailable.
        OutputError: the file cannot be written; it is untouched.
    """
    source = find(ref)
    file = source.require_exported()
    path = file.path
    if path is None or file.is_of_zoo:  # known by their hashes
        copied = f" Tune a copy: cnnkit export {source.text} --onnx" if path is None else ""
        raise UsageError(f"{source.text} belongs to the zoo, whose files stay as they are.{copied}")
    require_writable(path.parent)
    checked, _ = guard.check_with_card(path, file.name)
    result, card = race_options(checked.source, file.name, device=device, batch=batch, seconds=seconds)
    stored = {key: entry for key, entry in (card.tuning or {}).items() if key != result.hardware}
    removed = len(stored) < len(card.tuning or {})
    if result.winner is not None and result.speed_up is not None:
        options = ProviderOptions.from_stored(result.options)
        stored[result.hardware] = as_stored(options, batch=batch, speed_up=result.speed_up[0])
    elif not removed:
        return result
    replace_card(path, replace(card, tuning=stored or None))
    won = result.winner is not None
    return replace(result, stored_in=path if won else None, removed=removed and not won)
