"""What becomes of a file before it runs: it is parsed, checked, and written anew, with the sizes that it is tried with.

A file that is not known goes through this in the process of its trial first: it may be made to take all memory or time.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from cnnkit.card import CARD_KEY
from cnnkit.errors import OnnxError
from cnnkit.runtime import graphs, shapes
from cnnkit.runtime.classifier import ANY
from cnnkit.runtime.foreign.beside import NOTHING, Beside
from cnnkit.runtime.foreign.signature import OpenSizeError, signature_of, sizes_of
from cnnkit.runtime.guard.operators import check_operators
from cnnkit.runtime.guard.reading import fix_sizes, graph_sha256, simplify

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
        sizes: of its inputs, with which it is tried.
        batched: its input that takes several images; empty where there is none.
        graph_sha256: of the file as it was read, where it carries a card.
        signature: of the images that it takes; None where it takes none.
        obstacle: why it takes no pictures; empty where it does.
        shapes: of all that it computes, by name, for the batch that was asked for, and for one of one image more.
        name: what to call it in errors.
        beside: what further files in its folder say.
        most: images that it may run at a time: one, or two, four and so on up to this.
        failure: why onnxruntime cannot run it; it can be looked at all the same.
    """

    model: "ModelProto"
    content: bytes
    sizes: "Mapping[str, tuple[int, ...]]"
    batched: str = ""
    graph_sha256: str = ""
    signature: "Signature | None" = None
    obstacle: str = ""
    shapes: "tuple[Mapping[str, tuple[int, ...]], ...]" = ()
    name: str = ""
    beside: Beside = NOTHING
    most: int = ANY
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


class Wanted(TypedDict):
    """How a file will be used: see `prepare`."""

    shape: tuple[int, int, int] | None
    sides: tuple[int, int] | None
    run: bool
    batch: int


def prepare(
    model: "ModelProto",
    *,
    shape: tuple[int, int, int] | None,
    sides: tuple[int, int] | None,
    run: bool,
    batch: int,
) -> Checked:
    """Return what runs of a file.

    Args:
        model: that it holds; it is changed.
        shape: channels, height and width of an image, where the file leaves them open.
        sides: height and width that is said beside the file.
        run: it will run; without that, it is looked at.
        batch: images for which all shapes are inferred; 0 for none.

    Raises:
        OnnxError: it is damaged, or has what is not allowed.
        UsageError: it does not take images of this shape.
    """
    digest = graph_sha256(model) if any(entry.key == CARD_KEY for entry in model.metadata_props) else ""
    model = simplify(model)
    check_operators(model)
    signature, obstacle = None, ""
    try:
        signature = signature_of(model, shape, sides)
        obstacle = signature.obstacle
    except OnnxError as error:  # a graph of another kind can be looked at all the same
        if shape is not None or isinstance(error, OpenSizeError):
            raise
        obstacle = str(error)
    taken, batched = sizes_of(model, signature), ""
    given = graphs.real_inputs(model.graph)
    if len(given) == 1 and taken and isinstance((*graphs.dimensions(given[0]), 0)[0], str):
        batched = given[0].name
    # No other sizes may come than those that are tried; those that nothing says stay open, and are asked for.
    if run and signature is not None:
        fix_sizes(model, taken, batched)
    found = [shapes.infer(model, grown).shapes for grown in _growing(model, taken, batch)]
    runs = bytes(model.SerializeToString(deterministic=True))
    return Checked(model, runs, taken, batched, digest, signature, obstacle, tuple(found))


def _growing(
    model: "ModelProto", sizes: "Mapping[str, tuple[int, ...]]", batch: int
) -> "list[dict[str, tuple[int, ...]]]":
    """Return the sizes of inputs for a batch, and for one of one image more."""
    free = {v.name for v in graphs.real_inputs(model.graph) if isinstance((*graphs.dimensions(v), 0)[0], str)}
    counts = (batch, batch + 1) if batch else ()
    return [{name: (n, *size[1:]) if name in free else tuple(size) for name, size in sizes.items()} for n in counts]
