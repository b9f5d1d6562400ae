"""What a model file passes before onnxruntime opens it: it is read once, checked, tried, and opened as it was tried.

onnxruntime is native code, and a file can be made to crash it, to exhaust memory, to run for ever or to read others.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cnnkit.card import CARD_KEY, ModelCard
from cnnkit.errors import CheckpointError, OnnxError, UsageError
from cnnkit.runtime.foreign.beside import NOTHING, Beside, read_beside
from cnnkit.runtime.foreign.signature import OpenSizeError, signature_of, sizes_of
from cnnkit.runtime.guard import known, trial
from cnnkit.runtime.guard.operators import check_operators
from cnnkit.runtime.guard.reading import fix_sizes, graph_sha256, parse, read_bytes, simplify

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import ModelProto

    from cnnkit.runtime.foreign.signature import Signature


@dataclass(frozen=True)
class Checked:
    """A file that passed.

    Attributes:
        model: what runs of it.
        content: the same as bytes.
        name: what to call it in errors.
        sizes: of its inputs, with which it was tried.
        graph_sha256: of the file as it was read, where it carries a card.
        signature: of the images that it takes; None where it takes none.
        obstacle: why it takes no pictures; empty where it does.
        beside: what further files in its folder say.
        most: images that it may run at a time.
        failure: why onnxruntime cannot run it; it can be looked at all the same.
    """

    model: "ModelProto"
    content: bytes
    name: str
    sizes: "Mapping[str, tuple[int, ...]]"
    graph_sha256: str = ""
    signature: "Signature | None" = None
    obstacle: str = ""
    beside: Beside = NOTHING
    most: int = known.ANY
    failure: str = ""

    @property
    def source(self) -> bytes:
        """What to open.

        Raises:
            OnnxError: it did not run where it was tried.
        """
        if self.failure:
            from cnnkit.runtime.session import not_runnable

            raise not_runnable(self.name, self.failure)
        return self.content

    @property
    def notes(self) -> tuple[str, ...]:
        """What was not certain of its input, and whether it is none of a classifier's, in words."""
        refused = (f"predict and serve refuse it: {self.obstacle.rstrip('.')}",) if self.obstacle else ()
        return (*(self.signature.guesses if self.signature else ()), *refused)

    @property
    def metadata(self) -> dict[str, str]:
        """What the file says about itself, the model card among it."""
        return {entry.key: entry.value for entry in self.model.metadata_props}


def check(
    file: Path | bytes,
    name: str,
    *,
    shape: tuple[int, int, int] | None = None,
    around: Beside | None = None,
    run: bool = True,
) -> Checked:
    """Read an ONNX file, check it, and try it in a process of its own unless it is known.

    Args:
        file: its path, or its content.
        name: what to call it in errors.
        shape: channels, height and width of an image, where the file leaves them open.
        around: what further files in its folder say; None to read them where there is a path.
        run: try it; without that, it may be looked at, but not opened.

    Raises:
        OnnxError: it is damaged, reaches for other files, is not one of a classifier, crashes, or takes more memory or
            time than it may.
        UsageError: it does not take images of this shape.
    """
    path = file if isinstance(file, Path) else None
    try:
        model = parse(read_bytes(file), path)
        digest = graph_sha256(model) if any(entry.key == CARD_KEY for entry in model.metadata_props) else ""
        model = simplify(model)
        by_sizes = check_operators(model)
        around = around or (read_beside(path) if path is not None else NOTHING)
        signature, obstacle = None, ""
        try:
            signature = signature_of(model, shape, around.sides)
            obstacle = signature.obstacle
        except OnnxError as error:  # a graph of another kind can be looked at all the same
            if shape is not None or isinstance(error, OpenSizeError):
                raise
            obstacle = str(error)
        sizes = sizes_of(model, signature)
        if by_sizes and signature is not None and signature.batch is None:
            said = "images go through it one by one: their number decides about sizes or divisors"
            signature = replace(signature, batch=1, guesses=(*signature.guesses, said))
        batched = signature.name if signature is not None and signature.batch is None else ""
        if by_sizes or (run and signature is not None):  # no other sizes may come than those that are tried
            fix_sizes(model, sizes, batched)
        content = bytes(model.SerializeToString(deterministic=True))
        failure, most = ("", known.passed(content, sizes)) if run else ("it was not tried", 1)
        if not most:
            failure, most = trial.run(content, sizes, batched)
            if not failure:
                known.remember(content, sizes, most)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error
    except OnnxError as error:
        raise type(error)(f"{name} was not opened: {error}") from error
    except (ArithmeticError, LookupError, ValueError) as error:  # numbers, types and names that are none
        raise OnnxError(f"{name} was not opened: it is damaged ({type(error).__name__}: {error}).") from error
    return Checked(model, content, name, sizes, digest, signature, obstacle, around, most, failure)


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
