"""From the bytes of an ONNX file to the one model that is checked, and to the bytes that run: those of that model.

Nothing else of a file reaches onnxruntime: no field that the onnx library does not know, no local function, no data of
another file.
"""

import hashlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnkit.errors import OnnxError
from cnnkit.runtime import graphs
from cnnkit.runtime.guard.external import read_external
from cnnkit.runtime.guard.protobuf_limits import count_fields
from cnnkit.words import counted

if TYPE_CHECKING:
    from onnx import ModelProto

MAX_FILE_BYTES = 2**31 - 1
"""What a protobuf can hold."""
MAX_NODES = 20_000
MAX_PARTS = 1_000_000
"""Nodes, names, attributes, dimensions and whatever else takes more memory once the file is read."""

_RESERVED = ("ai.onnx", "com.microsoft", "com.ms.")
"""What the domains begin with whose operators are onnxruntime's own, together with the empty one."""


def read_bytes(file: Path | bytes) -> bytes:
    """Return the content of a file.

    Raises:
        OnnxError: it cannot be read, or is too large, or of another format.
    """
    if isinstance(file, Path):
        try:
            if file.exists() and not file.is_file():
                raise OnnxError("it is not a file.")
            with file.open("rb") as opened:
                file = opened.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise OnnxError(f"it cannot be read: {error.strerror or error}.") from error
    if len(file) > MAX_FILE_BYTES:
        raise OnnxError(f"it is too large: an ONNX file holds {MAX_FILE_BYTES / 1e9:.1f} GB at most.")
    if file[4:8] == b"ORTM":
        raise OnnxError(
            "it is not an ONNX file, but of onnxruntime's own format (.ort), which is made for one kind of machine. "
            "Use the .onnx file that it was made from."
        )
    return file


def parse(content: bytes, file: Path | None) -> "ModelProto":
    """Return the model that a file holds, with data that lies beside it.

    Raises:
        OnnxError: it is damaged, too large, not of a version that can be read, or not a valid ONNX file.
    """
    import onnx

    model = onnx.ModelProto()
    try:
        if count_fields(content, onnx.ModelProto.DESCRIPTOR, MAX_PARTS) > MAX_PARTS:
            raise OnnxError(f"it has more than {MAX_PARTS:,} parts.")
        model.ParseFromString(content)
    except OnnxError:
        raise
    except Exception:  # protobuf's own
        raise OnnxError("it is not an ONNX file, or not a whole one. Copy or export it again.") from None
    model.DiscardUnknownFields()
    if not model.HasField("graph") or not model.ir_version:
        raise OnnxError("it is not an ONNX file: there is no graph in it.")
    if not model.graph.output:
        raise OnnxError("its graph has no output.")
    names: list[Any] = [
        name for n in graphs.nodes(model) for name in (n.name, n.op_type, n.domain, *n.input, *n.output)
    ]
    for value in (*model.graph.input, *model.graph.output):
        names += [value.name, *graphs.dimensions(value)]
    if any(isinstance(name, bytes) for name in names):
        raise OnnxError("it is damaged: there are names in it that are no text.")
    _check_versions(model)
    _check_functions(model)
    read_external(model, file, MAX_FILE_BYTES)
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # onnx raises its own types, ValueError and RuntimeError alike
        reason = " ".join(str(error).split())[:300]
        raise OnnxError(f"it is not a valid ONNX file: {reason}") from error
    return model


def simplify(model: "ModelProto") -> "ModelProto":
    """Return what runs of a model: without local functions and training, open sizes by a name, one name a domain.

    Raises:
        OnnxError: a local function cannot be replaced by its body.
    """
    from onnx import inliner

    if model.functions:
        try:
            model = inliner.inline_local_functions(model)
        except Exception as error:  # onnx raises its own types
            raise OnnxError(f"its local functions cannot be inlined: {' '.join(str(error).split())[:200]}") from error
        if model.functions:
            raise OnnxError(f"its local function {model.functions[0].name} is of another opset. Export it again.")
    model.ClearField("training_info")
    for entry in (*model.opset_import, *graphs.nodes(model)):
        entry.domain = "" if entry.domain == "ai.onnx" else entry.domain
    if len({entry.domain for entry in model.opset_import}) < len(model.opset_import):
        raise OnnxError("it names two opsets of one domain. Export it again.")
    for value in (*model.graph.input, *model.graph.output):
        for place, size in enumerate(value.type.tensor_type.shape.dim):
            if size.HasField("dim_value") and size.dim_value <= 0:  # onnxruntime takes a size of 0 for one of 0
                size.dim_param = f"open_{place}"
    return model


def graph_sha256(model: "ModelProto") -> str:
    """Return the SHA-256 of a model without its metadata, so that the card in it can hold it."""
    from onnx import ModelProto

    bare = ModelProto()
    bare.CopyFrom(model)
    bare.ClearField("metadata_props")
    return hashlib.sha256(bare.SerializeToString(deterministic=True)).hexdigest()


def _check_versions(model: "ModelProto") -> None:
    import onnx

    readable = f"onnx {onnx.__version__} reads up to"
    if not 3 <= model.ir_version <= onnx.IR_VERSION:
        raise OnnxError(
            f"it is of ONNX IR version {model.ir_version}; {readable} {onnx.IR_VERSION}. Export it with an older "
            "version, or update onnx and onnxruntime."
        )
    newest = onnx.defs.onnx_opset_version()
    for entry in model.opset_import:
        if entry.domain in {"", "ai.onnx"} and not 1 <= entry.version <= newest:
            raise OnnxError(
                f"it uses opset {entry.version}; {readable} opset {newest}. Export it with an older one, or update "
                "onnx and onnxruntime."
            )


def _check_functions(model: "ModelProto") -> None:
    """Count the nodes as they are when each call of a local function is replaced by its body; none may call itself."""
    for function in model.functions:
        if not function.domain or function.domain.startswith(_RESERVED):
            raise OnnxError(
                f"it defines the operator {function.name} of {function.domain or 'the standard domain'} anew, which "
                "onnxruntime has itself. Export it with that function in a domain of its own."
            )

    def calls(block: Any) -> list[tuple[str, str, str]]:
        return [(n.domain, n.op_type, n.overload) for body in graphs.inside(block) for n in body.node]

    waiting = {(f.domain, f.name, f.overload): Counter(calls(f)) for f in model.functions}
    if len(waiting) < len(model.functions):
        raise OnnxError("two of its local functions have one name.")
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
