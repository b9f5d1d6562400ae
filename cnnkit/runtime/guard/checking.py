"""What a model file passes before onnxruntime opens it: it is read once, checked, tried, and opened as it was tried.

onnxruntime is native code, and a file can be made to crash it, to exhaust memory, to run for ever or to read others.
"""

from dataclasses import replace
from pathlib import Path

from cnnkit.card import ModelCard
from cnnkit.errors import CheckpointError, OnnxError, UsageError
from cnnkit.files import sha256
from cnnkit.runtime.foreign.beside import NOTHING, Beside, read_beside
from cnnkit.runtime.guard import known, trial
from cnnkit.runtime.guard.preparing import Checked, Wanted, prepare
from cnnkit.runtime.guard.reading import parse, read_bytes


def check(
    file: Path | bytes,
    name: str,
    *,
    shape: tuple[int, int, int] | None = None,
    around: Beside | None = None,
    run: bool = True,
    batch: int = 0,
) -> Checked:
    """Read an ONNX file and check it; one that is not known is checked and tried in a process of its own first.

    Args:
        file: its path, or its content.
        name: what to call it in errors.
        shape: channels, height and width of an image, where the file leaves them open.
        around: what further files in its folder say; None to read them where there is a path.
        run: try it; without that, it may be looked at, but not opened.
        batch: images for which all shapes are inferred, where that is not fixed; 0 for none.

    Raises:
        OnnxError: it is damaged, reaches for other files, is not one of a classifier, crashes, or takes more memory or
            time than it may.
        UsageError: it does not take images of this shape.
    """
    path = file if isinstance(file, Path) else None
    try:
        content = read_bytes(file)
        around = around or (read_beside(path) if path is not None else NOTHING)
        wanted: Wanted = {"shape": shape, "sides": around.sides, "run": run, "batch": batch}
        failure, most, checked = "", 0, None
        if known.was_read(sha256(content), wanted):
            model, digest = parse(content, path)
            if known.was_read(digest, wanted):
                checked = prepare(model, **wanted)
                most = known.passed(checked.content, checked.sizes) if run else 1
        if checked is None or not most:
            found = trial.run(content, path, wanted)
            model, digest = parse(content, path)
            checked, failure, most = prepare(model, **wanted), found.failure, found.most
            if sha256(checked.content) != found.sha256:
                raise OnnxError("it, or the data beside it, changed while it was read.")
            known.remember_read({sha256(content), digest}, wanted)
            if run and not failure:
                known.remember(checked.content, checked.sizes, most)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error
    except OnnxError as error:
        raise type(error)(f"{name} was not opened: {error}") from error
    return replace(checked, name=name, beside=around, most=most, failure=failure or ("" if run else "it was not tried"))


def check_with_card(
    file: Path | bytes, name: str, *, shape: tuple[int, int, int] | None = None, around: Beside | None = None
) -> tuple[Checked, ModelCard | None]:
    """Check an ONNX file, and that the card in it, if there is one, was written for this graph and these weights.

    Raises:
        OnnxError: see `check`.
        CheckpointError: a card that is damaged, or of another graph.
    """
    checked = check(file, name, shape=shape, around=around)
    card = ModelCard.from_metadata(checked.metadata, name)
    if card is not None:
        if card.graph_sha256 and checked.graph_sha256 != card.graph_sha256:
            raise CheckpointError(
                f"{name} does not match its model card: its graph or weights were changed after the card was written, "
                "so that nothing the card says is proven. Export it again."
            )
        if not checked.failure:
            known.remember(checked.content, checked.sizes, checked.most, card=True)
    return checked, card


def proven_content(file: Path | bytes) -> tuple[bytes, int] | None:
    """Return the content of a file that passed `check_with_card` before, card and all, and how many images it may run.

    None for any other file.
    """
    try:
        content = read_bytes(file)
    except OnnxError:  # which `check` will raise with the file's name
        return None
    most = known.passed(content, None)
    return (content, most) if most else None
