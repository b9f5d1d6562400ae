"""`cnnkit.report`: what the other commands find of a run, one section each."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Unpack

from cnnkit.arguments import Data, DataDir, Device, SkipDamaged, TrustCode
from cnnkit.data.options import Choice
from cnnkit.data.places import remembered
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.evaluation.accuracy import evaluate
from cnnkit.evaluation.mistakes import find_mistakes
from cnnkit.exporting.verify import verify
from cnnkit.files import expanded
from cnnkit.inspection.benchmark import benchmark
from cnnkit.inspection.summarize import summarize
from cnnkit.operation import operation
from cnnkit.options import Option
from cnnkit.reporting.results import SECTIONS, Report, SectionName
from cnnkit.reporting.sections import Sections, done, told
from cnnkit.robustness.attack import attack
from cnnkit.runtime.foreign.options import Described
from cnnkit.sources import Ref, Source, find

if TYPE_CHECKING:
    from cnnkit.certificate import ParityCertificate
    from cnnkit.exporting.results import Verification
    from cnnkit.inspection.results import GraphSummary, ModelSummary
    from cnnkit.progress import Steps
    from cnnkit.reporting.facts import ProvenFile
    from cnnkit.runtime.classifier import Classifier
    from cnnkit.runtime.results import Benchmark

T = TypeVar("T")

EPSILONS = (0.02, 0.05, 0.1)
"""Radii in L∞ that fgsm and pgd are run at: invisible, hardly visible and plainly visible on a photograph."""
BATCHES = (1, 32)
_OF_IMAGES: "tuple[SectionName, ...]" = ("evaluation", "mistakes", "corruptions", "attacks")
_WORST = 12
_MOST, _LEAST = 500, 50
_WORK = 10_000_000_000
"""Multiply-adds of a pass of all images over the network; corruptions and attacks take some two hundred passes."""
_SECONDS = 0.5


@operation
def report(
    ref: Ref,
    *,
    without: Annotated[
        Sequence[SectionName],
        Option(
            "Leave out some of these, separated by commas: {choices}.",
            metavar="SECTIONS",
            choices=lambda: SECTIONS,
            several=True,
        ),
    ] = (),
    data: Data = None,
    data_dir: DataDir = None,
    skip_damaged: SkipDamaged = False,
    images: Annotated[
        int | None,
        Option("Images to corrupt and attack, chosen by seed; 0: all.", ge=0, default="500, fewer if large"),
    ] = None,
    device: Device = "auto",
    trust_code: TrustCode = False,
    output: str | Path | None = None,
    **foreign: Unpack[Described],
) -> "Steps[Report]":
    """Gather all that is known of a run; an unavailable section is left out, with the reason.

    Args:
        ref: a model reference or an `nn.Module`; only a run folder has records of its training.
        without: sections to leave out: see `cnnkit.reporting.results.SECTIONS`.
        data: data set or image folder; None for the one that it was trained on.
        data_dir: where to look for data sets first.
        skip_damaged: leave out files that cannot be decoded.
        images: for the corruptions and attacks, chosen by seed; 0 for all of the split. None for 500, and on the CPU
            for fewer, but 50, of a network so large that they would take more than a minute or two.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        trust_code: import the network that a checkpoint's card names as `module:factory`.
        output: write the page to this file.
        foreign: how to use a network without a card, as for `load`.

    Raises:
        UnknownNameError, CheckpointError: nothing of that name, or no trained weights there.
        DeviceError: the device is unavailable.
        UsageError: a section that does not exist, or a number out of its range.
        OutputError: the page cannot be written.

    >>> import cnnkit
    >>> found = cnnkit.report("shapes-cnn", without=["corruptions", "attacks", "benchmark"], data="shapes")
    >>> found.evaluation.images, found.certificate.passed, found.reason("curves")
    (300, True, 'records of the training are in a run folder, and shapes-cnn-basicshapes is no run folder')
    """
    path = expanded(output)
    if path is not None:
        from cnnkit.render import report as pages

        pages.require_place(path)
    _check(without, images)
    from cnnkit.reporting.facts import (
        examples_of,
        origin_of,
        proven_file,
        renamed,
        samples_of,
        without_files,
    )
    from cnnkit.training.runs import read_metrics, versions

    started, source = time.monotonic(), find(ref, **foreign)
    folder = expanded(data_dir) or remembered(source.home)
    text = source.name
    common: dict[str, Any] = {"data": data, "data_dir": folder, "skip_damaged": skip_damaged}
    loading: dict[str, Any] = {"device": device, "trust_code": trust_code}
    classifier = source.open(torch=True, **loading)
    card, sections = classifier.card, Sections(without)
    origin, missing = yield from told("images", origin_of(source, card, _size_mb(classifier), Choice.of(**common)))
    if missing:
        # Each of these would look for the images again, and download them in vain.
        for need in _OF_IMAGES:
            sections.leave_out(need, missing.removesuffix("."))
    records = yield from sections.attempt("curves", lambda: done(lambda: _records(source, read_metrics)))
    evaluation = yield from sections.attempt("evaluation", lambda: evaluate.steps(source, **loading, **common))
    mistakes = yield from sections.attempt("mistakes", lambda: find_mistakes.steps(classifier, top=_WORST, **common))
    layers = yield from sections.attempt(
        "layers", lambda: done(lambda: summarize(source, shape=foreign.get("input_shape"), trust_code=trust_code))
    )
    if images is None:
        images = _affordable(source, layers, classifier.engine, trust_code=trust_code)
    examined: dict[str, Any] = {**common, "images": images}
    with TemporaryDirectory(prefix="cnnkit-report-") as name:
        place = Path(name)
        corruptions = yield from sections.attempt(
            "corruptions",
            lambda: attack.steps(classifier, only=("corruptions",), output=place / "corruptions", **examined),
        )
        attacks = yield from sections.attempt(
            "attacks",
            lambda: attack.steps(
                classifier,
                only=("fgsm", "pgd"),
                norms=("linf",),
                epsilons=EPSILONS,
                output=place / "attacks",
                **examined,
            ),
        )
        samples, examples = samples_of(corruptions), examples_of(attacks)
        file: ProvenFile | None = None
        if not {"parity", "benchmark"} <= set(without):
            file = yield from sections.attempt(
                ("parity", "benchmark"),
                lambda: done(lambda: proven_file(source, classifier, place, data_dir=folder)),
            )
        if file is not None and file.certificate is None:
            sections.leave_out("parity", f"{text} was not exported by cnnkit, and carries no certificate")
        proof = file.certificate if file else None
        speed: Benchmark | None = None
        if file is not None:
            opened = file.ref
            if classifier.engine.startswith("PyTorch") and not (missing or sections.lacks("parity")):
                steps = verify.steps(opened, against=classifier, device="cpu", trust_code=trust_code, **common)
                proof = yield from _proof_on_all(steps, proof)
            fixed = getattr(classifier.network, "batch", None)
            speed = yield from sections.attempt(
                "benchmark",
                lambda: benchmark.steps(
                    opened,
                    devices=("cpu",) if device in {"auto", "cpu"} else ("cpu", device),
                    batches=None if fixed else BATCHES,
                    seconds=_SECONDS,
                    shape=foreign.get("input_shape"),
                ),
            )
    module = getattr(classifier.network, "module", None)
    counted = layers.parameters if layers else None
    found = Report(
        model=text,
        is_run=source.run is not None,
        made=date.today().isoformat(),
        origin=origin,
        parameters=counted if module is None else sum(p.numel() for p in module.parameters()),
        records=records or (),
        evaluation=evaluation,
        mistakes=mistakes,
        corruptions=without_files(corruptions),
        attacks=without_files(attacks),
        certificate=None if sections.lacks("parity") else proof,
        onnx_mb=file.size_mb if file else None,
        onnx_made=bool(file and file.made),
        benchmark=renamed(speed, text),
        layers=layers,
        left_out=sections.in_order(),
        versions=versions(),
        seconds=time.monotonic() - started,
        samples=samples,
        examples=examples,
        has_layers=source.has_layers,
        named=source.named,
    )
    if path is not None:
        pages.write(found, path)
    return found


def _check(without: "Sequence[SectionName]", images: int | None) -> None:
    unknown = [name for name in without if name not in SECTIONS]
    if unknown:
        raise UsageError(f"--without {','.join(unknown)}: expected some of {', '.join(SECTIONS)}.")
    if images is not None and images < 0:
        raise UsageError(f"--images {images}: expected a whole number from 0.")


def _proof_on_all(
    steps: "Steps[Verification]", otherwise: "ParityCertificate | None"
) -> "Steps[ParityCertificate | None]":
    """Compare a file with its network on the split that `verify` takes; without images, what is known counts."""
    try:
        verified = yield from told("parity", steps)
    except CnnkitError:
        return otherwise
    return verified.certificate


def _affordable(ref: Source, layers: "ModelSummary | GraphSummary | None", engine: str, *, trust_code: bool) -> int:
    """Return how many images can be corrupted and attacked in a minute or two."""
    if not engine.endswith("CPU"):
        return _MOST
    with suppress(CnnkitError):
        layers = layers or summarize(ref, trust_code=trust_code)
    work = layers.multiply_adds if layers else 0
    return max(_LEAST, min(_MOST, _WORK // max(work, 1)))


def _records(source: Source, read: Callable[[Path], T]) -> T:
    if source.run is None:
        raise UsageError(f"records of the training are in a run folder, and {source.name} is no run folder")
    return read(source.run)


def _size_mb(classifier: "Classifier") -> float:
    """Return the size of the weights of a network of PyTorch."""
    module = getattr(classifier.network, "module", None)
    return 0.0 if module is None else sum(t.numel() * t.element_size() for t in module.state_dict().values()) / 1e6
