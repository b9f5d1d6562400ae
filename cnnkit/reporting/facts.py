"""What a network is and where it comes from: what its card, its run folder and its data set say of it."""

from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from cnnkit.card import ModelCard
from cnnkit.certificate import ParityCertificate
from cnnkit.data.options import Choice
from cnnkit.errors import CnnkitError, DataError, UnknownNameError
from cnnkit.evaluation.images import load_for
from cnnkit.exporting.export import export
from cnnkit.files import write_atomic
from cnnkit.progress import LoadProgress, Notice
from cnnkit.recipe import Recipe
from cnnkit.reporting.results import Origin
from cnnkit.robustness.results import Robustness
from cnnkit.runtime import guard
from cnnkit.runtime.classifier import Classifier
from cnnkit.runtime.results import Benchmark
from cnnkit.sources import Ref, Source
from cnnkit.training.describing import described
from cnnkit.training.state import read_facts
from cnnkit.words import counted


def origin_of(
    source: Source,
    card: ModelCard,
    size_mb: float,
    chosen: Choice,
) -> Generator[LoadProgress | Notice, None, tuple[Origin, str]]:
    """Find out where a network comes from, and why its images cannot be read, empty where they can; yields progress.

    Args:
        source: of the network.
        card: of the network.
        size_mb: of its weights, where no file has them.
        chosen: where its images are.
    """
    recipe = Recipe.recorded(card.recipe or {})
    splits: dict[str, int] = {}
    missing = ""
    try:
        loaded, _ = yield from load_for(card, source.name, chosen)
        # Another folder than that of the training says nothing of what the network was trained on.
        if loaded.fingerprint == card.fingerprint:
            # A dry run used a part of each.
            most = recipe.limit_batches * recipe.batch_size or sum(map(len, loaded.catalogue.parts.values()))
            splits = {name: min(len(where), most) for name, where in loaded.catalogue.parts.items()}
    except (DataError, UnknownNameError) as error:
        missing = str(error)
    form, file = card.preprocessing, source.path
    origin = Origin(
        network=card.model,
        labels=card.labels,
        input_shape=(form.channels, form.height, form.width),
        trained=card.trained,
        dataset=card.dataset,
        fingerprint=card.fingerprint,
        recipe=card.recipe or {},
        splits={name: splits[name] for name in ("train", "validation", "test") if name in splits},
        metrics=card.metrics,
        versions=card.versions,
        weights_sha256=card.weights_sha256,
        size_mb=size_mb if file is None else file.stat().st_size / 1e6,
        saved="" if file is None else date.fromtimestamp(file.stat().st_mtime).isoformat(),
        hardware=_hardware(file),
        preparation=described(form),
        split=card.split,
        pretraining=card.pretraining,
    )
    return origin, missing


def _hardware(file: Path | None) -> str:
    """Return what the newest part of a run was trained on; empty where nothing says it."""
    facts = read_facts(file.parent) if file is not None else None
    built = (facts or {}).get("built_with", {})
    if "device" not in built:
        return ""
    device = {"cpu": "CPU", "cuda": "GPU"}.get(built["device"], built["device"])
    threads, processes = built.get("threads"), (facts or {}).get("processes", 1)
    counts = [counted(threads, "thread")] if threads and device == "CPU" else []
    counts += [counted(processes, "process", "processes")] if processes > 1 else []
    return ", ".join([device, *counts])


@dataclass(frozen=True)
class ProvenFile:
    """The ONNX file of a network.

    Attributes:
        ref: what opens it; a copy, where it is the user's.
        certificate: its proof; None in a file by others.
        made: it was exported now.
    """

    ref: Ref
    certificate: ParityCertificate | None
    size_mb: float
    made: bool


def proven_file(source: Source, classifier: Classifier, folder: Path, *, data_dir: Path | None = None) -> ProvenFile:
    """Return the ONNX file of a network: the one that it has, or a new one in `folder`.

    The `model.onnx` of a run counts only where its card says that it holds the weights of the run's checkpoint.

    Raises:
        CnnkitError: as of `cnnkit.export`.
    """
    if (file := source.exported()) is not None:
        _, exported = guard.check_with_card(file.content, file.name) if file.verified else (None, classifier.card)
        return ProvenFile(source, exported.parity if exported else None, len(file.content) / 1e6, made=False)
    beside, copy = source.run and source.run / "model.onnx", folder / "model.onnx"
    with suppress(CnnkitError):
        if beside is not None and beside.is_file():
            _, exported = guard.check_with_card(beside, str(beside))
            proof = exported.parity if exported else None
            if proof is not None and proof.weights_sha256 == classifier.card.weights_sha256:
                content = beside.read_bytes()
                write_atomic(copy, content)
                return ProvenFile(str(copy), proof, len(content) / 1e6, made=False)
    made = export(classifier, copy, data_dir=data_dir)
    return ProvenFile(str(made.path), made.certificate, made.size_mb, made=True)


def samples_of(found: Robustness | None) -> dict[str, tuple[bytes, ...]]:
    """Return the pictures of an image under each corruption, by the corruption's name, from the files that it left."""
    curves = found.corruptions if found else ()
    return {curve.name: tuple(path.read_bytes() for path in curve.samples) for curve in curves}


def examples_of(found: Robustness | None) -> tuple[tuple[str, bytes, str, bytes], ...]:
    """Return the images that `pgd` turned at the largest radius, as `Report` has them, from the files that it left."""
    pgd = [attack for attack in found.attacks if attack.attack == "pgd"] if found else []
    return tuple(
        (image.label, image.original.read_bytes(), image.taken_for, image.changed.read_bytes())
        for attack in pgd
        for image in attack.examples
        if image.strength == attack.epsilons[-1] and image.original and image.changed
    )


def without_files(found: Robustness | None) -> Robustness | None:
    """Return a result that names none of the files, which are gone when the report is made."""
    if found is None:
        return None
    return replace(
        found,
        folder=None,
        corruptions=tuple(replace(curve, samples=()) for curve in found.corruptions),
        attacks=tuple(
            replace(a, examples=tuple(replace(image, original=None, changed=None) for image in a.examples))
            for a in found.attacks
        ),
    )


def renamed(found: Benchmark | None, name: str) -> Benchmark | None:
    """Return a benchmark that calls the file what the user calls the network."""
    if found is None:
        return None
    models = tuple(replace(model, name=name) for model in found.models)
    return replace(found, models=models, measurements=tuple(replace(row, model=name) for row in found.measurements))
