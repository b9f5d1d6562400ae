"""Exporting networks, and proving that the file is the network."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnkit import registry
from cnnkit.errors import UsageError
from cnnkit.files import expanded
from cnnkit.operation import result_of

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Literal

    from cnnkit.results import ExportResult, LoadNote, LoadProgress, TritonModel, Verification, WorkProgress


def export(
    ref: str | Path,
    output: str | Path | None = None,
    *,
    raw_input: bool = False,
    shape: tuple[int, int, int] | None = None,
    data_dir: str | Path | None = None,
    trust_code: bool = False,
    precision: 'Literal["fp32", "fp16", "int8"]' = "fp32",
    accuracy_budget: float = 0.5,
    force: bool = False,
    device: str = "auto",
    data: str | None = None,
    skip_damaged: bool = False,
) -> "ExportResult":
    """Write a network to one proven ONNX file; see `cnnkit.exporting.onnx.export_onnx`.

    >>> import cnnkit, tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = cnnkit.export("lenet", pathlib.Path(folder) / "lenet.onnx")
    >>> result.certificate.top1_agreement
    1.0
    """
    from cnnkit.exporting.onnx import export_onnx

    return export_onnx(
        str(ref),
        expanded(output),
        raw_input=raw_input,
        shape=shape,
        data_dir=expanded(data_dir),
        trust_code=trust_code,
        precision=precision,
        accuracy_budget=accuracy_budget,
        force=force,
        device=device,
        data=data,
        skip_damaged=skip_damaged,
    )


def verify(
    ref: str | Path,
    *,
    against: str | Path | None = None,
    data: str | None = None,
    split: Any = None,
    data_dir: str | Path | None = None,
    skip_damaged: bool = False,
    device: str = "auto",
    trust_code: bool = False,
) -> "Verification":
    """Compare an ONNX file with its PyTorch network on a whole data set; see `cnnkit.exporting.verification.verify`.

    >>> import cnnkit
    >>> cnnkit.verify("shapes-cnn", data="shapes").passed
    True
    """
    return result_of(
        verification_steps(
            ref,
            against=against,
            data=data,
            split=split,
            data_dir=data_dir,
            skip_damaged=skip_damaged,
            device=device,
            trust_code=trust_code,
        )
    )


def verification_steps(
    ref: str | Path, *, against: str | Path | None = None, data_dir: str | Path | None = None, **options: Any
) -> "Generator[LoadProgress | LoadNote | WorkProgress, None, Verification]":
    """Do what `verify` does, and yield how far the loading of the images and their comparison is."""
    from cnnkit.exporting import carding

    if against is None:
        carding.require_card(str(ref))
    # This imports PyTorch.
    from cnnkit.exporting import verification

    named = None if against is None else str(against)
    return verification.verify(str(ref), against=named, data_dir=expanded(data_dir), **options)


def export_triton(
    ref: str | Path,
    repository: str | Path,
    *,
    name: str | None = None,
    device: str = "auto",
    **options: Any,
) -> "TritonModel":
    """Put a network into a Triton model repository; see `cnnkit.exporting.triton.write_triton_repository`.

    Args:
        ref: an ONNX file of ours, which is copied, or what `export` takes, which is exported, with its proof.
        repository: folder of models.
        name: of the model there; None for that of the file, the run or the network.
        device: where the server runs it: `auto`, `cpu`, `cuda`, `cuda:N` or `tensorrt`.
        options: of `export`.

    >>> from cnnkit import api
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = api.export_triton("lenet", folder)
    >>> made.version, made.written
    (1, ('lenet/config.pbtxt', 'lenet/labels.txt', 'lenet/1/model.onnx'))
    """
    import tempfile

    from cnnkit.exporting import triton

    reference = registry.resolve(str(ref))
    target = Path(repository).expanduser()
    name = name or triton.model_name(reference.path or Path(str(ref).rpartition(":")[2]))
    if reference.kind == "onnx" and reference.path is not None:
        if any(value not in {None, False, "fp32"} for value in options.values()):
            raise UsageError(f"{ref} is an ONNX file already; it cannot be exported again with other options.")
        return triton.write_triton_repository(reference.path, target, name=name, device=device)
    triton.require_place(target, name, device)
    with tempfile.TemporaryDirectory() as folder:
        exported = export(ref, Path(folder) / "model.onnx", **options)
        return triton.write_triton_repository(exported.path, target, name=name, device=device)
