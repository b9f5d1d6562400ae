"""The checks that an ONNX file passes before onnxruntime sees it: whole, self-contained, runnable, and of bounded size.

onnxruntime is native code, and a file can be made to exhaust memory, to run for ever or to read other files with it.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnkit.card import ModelCard
from cnnkit.errors import CheckpointError, OnnxError, UsageError
from cnnkit.runtime import graphs, shapes
from cnnkit.runtime.budget import check_sizes
from cnnkit.runtime.foreign.beside import NOTHING, Beside, read_beside
from cnnkit.runtime.foreign.signature import OpenSizeError, signature_of, sizes_of
from cnnkit.runtime.stored import check_tensors
from cnnkit.runtime.wire import count_fields
from cnnkit.words import counted

if TYPE_CHECKING:
    from onnx import ModelProto

    from cnnkit.runtime.foreign.signature import Signature

MAX_FILE_BYTES = 2**31 - 1
"""What a protobuf can hold."""
MAX_NODES = 100_000
MAX_PARTS = 4_000_000
"""Nodes, names, attributes, dimensions and whatever else takes more memory once the file is read."""

_STANDARD = {"", "ai.onnx", "ai.onnx.ml"}
_ONNXRUNTIME = "com.microsoft"
_COMPILED = {"com.microsoft.nchwc", "com.ms.internal.nhwc"}
"""Domains of operators that onnxruntime puts into a graph for the processor or GPU at hand."""
# Nobody can tell how long these run, or how much their results grow on the way.
_LOOPS = {"Loop", "Scan", "SequenceMap"}


@dataclass(frozen=True)
class Checked:
    """A file that passed.

    Attributes:
        model: what it holds, without external data.
        source: what to open: its bytes as they were checked, or its path where data lies beside it.
        signature: of the images that it takes; None where it takes none.
        obstacle: why it takes no pictures; empty where it does.
        beside: what further files in its folder say.
    """

    model: "ModelProto"
    source: Path | bytes
    signature: "Signature | None" = None
    obstacle: str = ""
    beside: Beside = NOTHING

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
    file: Path | bytes, name: str, *, shape: tuple[int, int, int] | None = None, around: Beside | None = None
) -> Checked:
    """Read an ONNX file and check it.

    Args:
        file: its path, or its content.
        name: what to call it in errors.
        shape: channels, height and width of an image, where the file leaves them open.
        around: what further files in its folder say; None to read them where there is a path.

    Raises:
        OnnxError: it is damaged, reaches for other files, or asks for more than onnxruntime or this machine can give.
        UsageError: it does not take images of this shape.
    """
    try:
        content = _read(file)
        model = _parse(content)
        _check_versions(model)
        _check_functions(model)
        external = check_tensors(model, file if isinstance(file, Path) else None)
        _check_standard(_without_external(model) if external else content)
        _check_operators(model)
        around = around or (read_beside(file) if isinstance(file, Path) else NOTHING)
        signature, obstacle = _signature(model, shape, around.sides)
        check_sizes(model, sizes_of(model, signature))
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error
    except OnnxError as error:
        raise type(error)(f"{name} was not opened: {error}") from error
    except (KeyError, ValueError) as error:  # types that do not exist, names that are no text
        raise OnnxError(f"{name} was not opened: it is damaged ({type(error).__name__}: {error}).") from error
    if _name_open_sizes(model):  # onnxruntime takes a size of 0 for one of 0
        if external:
            raise OnnxError(f"{name} was not opened: it declares a size below 1. Export it with its weights inside.")
        content = model.SerializeToString()
    return Checked(model, file if external else content, signature, obstacle, around)


def _signature(
    model: "ModelProto", shape: tuple[int, int, int] | None, beside: tuple[int, int] | None
) -> "tuple[Signature | None, str]":
    """Return what a file takes, or why it takes no images: a graph of another kind can be looked at all the same."""
    try:
        signature = signature_of(model, shape, beside)
    except OpenSizeError:
        raise
    except OnnxError as error:
        if shape is not None:  # which would have no effect
            raise
        return None, str(error)
    return signature, signature.obstacle


def _name_open_sizes(model: "ModelProto") -> bool:
    """Make sizes of zero open ones, by a name; return whether there were any."""
    found = False
    for value in (*model.graph.input, *model.graph.output):
        for place, size in enumerate(value.type.tensor_type.shape.dim):
            if size.HasField("dim_value") and size.dim_value <= 0:
                size.dim_param, found = f"open_{place}", True
    return found


def graph_sha256(model: "ModelProto") -> str:
    """Return the SHA-256 of a model without its metadata, so that the card in it can hold it."""
    from onnx import ModelProto

    bare = ModelProto()
    bare.CopyFrom(model)
    bare.ClearField("metadata_props")
    return hashlib.sha256(bare.SerializeToString(deterministic=True)).hexdigest()


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
        require_unchanged(checked.model, card.graph_sha256, name)
    return checked, card


def require_unchanged(model: "ModelProto", expected: str, name: str) -> None:
    """Make sure that graph and weights are those that a card was written for.

    Args:
        model: as read.
        expected: the card's `graph_sha256`; empty in cards that have none.
        name: of the file, for the error.

    Raises:
        CheckpointError: they are not.
    """
    if expected and graph_sha256(model) != expected:
        raise CheckpointError(
            f"{name} does not match its model card: its graph or weights were changed after the card was written, so "
            "that nothing the card says is proven. Export it again."
        )


def _read(file: Path | bytes) -> bytes:
    if isinstance(file, bytes):
        return file
    try:
        size = file.stat().st_size
        if size > MAX_FILE_BYTES:
            raise OnnxError(f"it has {size / 1e9:.1f} GB; an ONNX file holds {MAX_FILE_BYTES / 1e9:.1f} GB at most.")
        return file.read_bytes()
    except OSError as error:
        raise OnnxError(f"it cannot be read: {error.strerror or error}.") from error


def _parse(content: bytes) -> "ModelProto":
    from onnx import ModelProto

    if content[4:8] == b"ORTM":
        raise OnnxError(
            "it is not an ONNX file, but of onnxruntime's own format (.ort), which is made for one kind of machine. "
            "Use the .onnx file that it was made from."
        )
    model = ModelProto()
    try:
        if count_fields(content, ModelProto.DESCRIPTOR, MAX_PARTS) > MAX_PARTS:
            raise OnnxError(f"it has more than {MAX_PARTS:,} parts.")
        model.ParseFromString(content)
    except OnnxError:
        raise
    except Exception:  # protobuf's own
        raise OnnxError("it is not an ONNX file, or not a whole one. Copy or export it again.") from None
    if not model.HasField("graph") or not model.ir_version:
        raise OnnxError("it is not an ONNX file: there is no graph in it.")
    if not model.graph.output:
        raise OnnxError("its graph has no output.")
    names: list[Any] = [
        name for n in graphs.nodes(model) for name in (n.name, n.op_type, n.domain, *n.input, *n.output)
    ]
    for value in (*model.graph.input, *model.graph.output):
        names += [value.name, *shapes.dimensions(value)]
    if any(isinstance(name, bytes) for name in names):
        raise OnnxError("it is damaged: there are names in it that are no text.")
    return model


def _check_versions(model: "ModelProto") -> None:
    import onnx

    readable = f"onnx {onnx.__version__} reads up to"
    if not 3 <= model.ir_version <= onnx.IR_VERSION:
        raise OnnxError(
            f"it is of ONNX IR version {model.ir_version}; {readable} {onnx.IR_VERSION}. Export it with an older "
            "version, or update onnx and onnxruntime."
        )
    for entry in model.opset_import:
        newest = onnx.defs.onnx_opset_version()
        if entry.domain in {"", "ai.onnx"} and not 1 <= entry.version <= newest:
            raise OnnxError(
                f"it uses opset {entry.version}; {readable} opset {newest}. Export it with an older one, or update "
                "onnx and onnxruntime."
            )


def _check_functions(model: "ModelProto") -> None:
    """Count the nodes as they are when each call of a local function is replaced by its body; none may call itself."""
    functions = {(f.domain, f.name, f.overload): f for f in model.functions}

    def calls(block: Any) -> list[tuple[str, str, str]]:
        return [(n.domain, n.op_type, n.overload) for body in graphs.inside(block) for n in body.node]

    waiting = {name: Counter(calls(function)) for name, function in functions.items()}
    sizes: dict[tuple[str, str, str], int] = {}
    while waiting:
        ready = [name for name, called in waiting.items() if not called.keys() & waiting.keys()]
        if not ready:
            raise OnnxError("its local functions call themselves without end.")
        for name in ready:
            sizes[name] = sum(count * (1 + sizes.get(called, 0)) for called, count in waiting.pop(name).items())
    total = sum(1 + sizes.get(called, 0) for called in calls(model.graph))
    if total > MAX_NODES:
        raise OnnxError(f"it has {counted(total, 'node')}; {MAX_NODES:,} are the most.")


def _without_external(model: "ModelProto") -> bytes:
    """Return a model whose external tensors are empty: onnx takes no link for them, which `check_tensors` allows."""
    from onnx import ModelProto, TensorProto

    bare = ModelProto()
    bare.CopyFrom(model)
    for tensor in graphs.tensors(bare):
        if tensor.data_location == TensorProto.EXTERNAL:
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
            tensor.dims[:] = [0]
    return bytes(bare.SerializeToString())


def _check_standard(content: bytes) -> None:
    """Let onnx check that the file follows the standard."""
    import onnx

    try:
        onnx.checker.check_model(content)
    except Exception as error:  # onnx raises its own types, ValueError and RuntimeError alike
        reason = " ".join(str(error).split())[:300]
        raise OnnxError(f"it is not a valid ONNX file: {reason}") from error


def _check_operators(model: "ModelProto") -> None:
    import onnx

    versions = {entry.domain if entry.domain != "ai.onnx" else "": entry.version for entry in model.opset_import}
    functions = {(f.domain, f.name) for f in model.functions}
    for node in graphs.nodes(model):
        domain = node.domain if node.domain != "ai.onnx" else ""
        if (node.domain, node.op_type) in functions:
            continue
        if node.domain in _STANDARD:
            try:
                onnx.defs.get_schema(node.op_type, versions.get(domain, 1), domain)
            except onnx.defs.SchemaError:
                known = False
            else:
                known = True
        else:
            known = node.domain == _ONNXRUNTIME
        if node.domain in _COMPILED or node.op_type == "EPContext":
            raise OnnxError(
                f"it was optimised for one machine: its operator {node.op_type} of {node.domain} is only for the "
                "processor or the device that it was made on. Use the file that it was made from, or export it again."
            )
        if not known:
            place = f"of {node.domain}" if node.domain else f"in opset {versions.get(domain, 1)}"
            raise OnnxError(f"it needs the operator {node.op_type} {place}, which this onnxruntime does not have.")
        if node.op_type in _LOOPS:
            raise OnnxError(f"it has a {node.op_type}, of which nobody can tell how long it runs. Unroll it to export.")
