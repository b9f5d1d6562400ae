"""The same from Python as from the command line; `cnnkit` re-exports these names lazily."""

from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnkit import registry, zoo
from cnnkit.errors import CheckpointError, OutputError, UsageError
from cnnkit.results import result_of
from cnnkit.runtime.classifier import Classifier
from cnnkit.runtime.foreign import ForeignOptions, open_onnx

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from typing import Literal

    from cnnkit.recipe import Recipe
    from cnnkit.results import (
        Benchmark,
        BenchmarkStep,
        EpochRecord,
        Evaluation,
        ExportResult,
        GraphSummary,
        LoadNote,
        LoadProgress,
        ModelSummary,
        TrainingEvent,
        TritonModel,
        TuningResult,
        Verification,
    )
    from cnnkit.results.verification import ComparisonProgress


DEFAULT_CLASSIFIER = "digits"
"""The zoo entry that is used where no model is named: it reads digits as people draw them."""


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given).expanduser()


def load(
    ref: str | Path = DEFAULT_CLASSIFIER,
    *,
    device: str = "auto",
    trust_code: bool = False,
    labels: str | Path | None = None,
    mean: "Sequence[float] | None" = None,
    std: "Sequence[float] | None" = None,
    preprocess: 'Literal["imagenet"] | None' = None,
) -> Classifier:
    """Open a trained network as a classifier.

    ONNX files and zoo entries run on onnxruntime and never import PyTorch; runs and checkpoints run on PyTorch.

    Args:
        ref: an ONNX file, a zoo entry, an architecture that has one, a run or a checkpoint.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        trust_code: import the network that a checkpoint's card names as `module:factory`.
        labels: text file with one label a line, for an ONNX file without a card; so are the following.
        mean, std: one value a channel, for pixels in [0, 1].
        preprocess: `imagenet` for that training's resizing, crop, mean and deviation.

    Raises:
        UnknownNameError: nothing of that name.
        CheckpointError, OnnxError, ZooError: the file is damaged or does not fit.
        DeviceError: the device cannot be had.

    >>> import cnnkit
    >>> classifier = cnnkit.load("lenet")
    >>> classifier.card.model, len(classifier.card.labels)
    ('lenet', 10)
    """
    source = _exported(ref, labels, mean, std, preprocess)
    if source is not None:
        return open_onnx(device=device, **source)
    from cnnkit.training.networks import TorchNetwork, load_network

    network, card = load_network(str(ref), trust_code=trust_code)
    return Classifier(TorchNetwork(network, card, device), str(ref))


def load_on_ray(
    ref: str | Path = DEFAULT_CLASSIFIER,
    *,
    workers: int | None = None,
    device: str = "auto",
    labels: str | Path | None = None,
    mean: "Sequence[float] | None" = None,
    std: "Sequence[float] | None" = None,
    preprocess: 'Literal["imagenet"] | None' = None,
) -> Classifier:
    """Open an ONNX file or a zoo entry as `load` does, to run on the workers of a Ray cluster.

    See `cnnkit.runtime.ray_data.RayClassifier` for the cluster, `workers` and `device`.

    Raises:
        UsageError: a run or a checkpoint, which has to be exported first.
    """
    source = _exported(ref, labels, mean, std, preprocess)
    if source is None:
        raise UsageError(f"Ray workers run ONNX files. Export this one first: cnnkit export {ref} --onnx")
    from cnnkit.runtime.ray_data import RayClassifier

    return RayClassifier(workers=workers, device=device, **source)


def _exported(
    ref: str | Path,
    labels: str | Path | None,
    mean: "Sequence[float] | None",
    std: "Sequence[float] | None",
    preprocess: 'Literal["imagenet"] | None',
) -> dict[str, Any] | None:
    """Return how `open_onnx` opens a reference, or None where it names weights of PyTorch."""
    text = str(ref)
    reference = registry.resolve(text)
    options = ForeignOptions(
        _path(labels), tuple(mean) if mean else None, tuple(std) if std else None, preprocess=preprocess
    )
    if reference.kind == "onnx" and reference.path is not None:
        return {"model": reference.path, "name": text, "options": options}
    if options:
        raise UsageError(f"{text} knows its labels and preprocessing; the options for them are for foreign ONNX files.")
    if reference.kind == "architecture" and not zoo.has(text):
        raise CheckpointError(f"{text} has no trained weights in the zoo. Train it first: cnnkit train {text}")
    if reference.kind in {"zoo", "architecture"}:
        entry = zoo.entry(text)
        return {"model": zoo.read(entry.name, "model.onnx"), "name": entry.name, "verified": True}
    return None


def create_model(name: str, num_classes: int | None = None) -> Any:
    """Build a network, an `nn.Module`, with random weights; see `cnnkit.training.networks.create_model`.

    >>> import cnnkit
    >>> sum(p.numel() for p in cnnkit.create_model("lenet").parameters())
    61706
    """
    from cnnkit.training import networks

    return networks.create_model(name, num_classes)


def train_events(
    recipe: "Recipe",
    *,
    data_dir: str | Path | None = None,
    runs_dir: str | Path = "runs",
    device: str = "auto",
    resume: str | Path | None = None,
    **options: Any,
) -> "Generator[TrainingEvent]":
    """Train by a recipe and yield everything that happens; `train` yields only the epochs.

    However the run ends, the curves of the epochs so far are drawn into its folder. Options are those of
    `cnnkit.training.loop.train_events`.
    """
    from cnnkit.render import plots
    from cnnkit.results import EpochRecord, TrainingStarted
    from cnnkit.training import distributed, loop

    records: list[EpochRecord] = []
    run: Path | None = None

    def draw_curves() -> None:
        if run is not None and records and distributed.is_first():
            plots.curves(records, run / "curves.png", title=run.name)

    steps = loop.train_events(
        recipe, data_dir=_path(data_dir), runs_dir=Path(runs_dir), device=device, resume=_path(resume), **options
    )
    with closing(steps) as events:
        try:
            for event in events:
                if isinstance(event, TrainingStarted):
                    run = event.run
                    records.extend(event.earlier)
                if isinstance(event, EpochRecord):
                    records.append(event)
                yield event
        except BaseException:
            # What stopped the run is the news, not that its curves could not be drawn.
            with suppress(OutputError):
                draw_curves()
            raise
        draw_curves()


def train(
    recipe: "Recipe | str | None" = None,
    *,
    data_dir: str | Path | None = None,
    runs_dir: str | Path = "runs",
    device: str = "auto",
    resume: str | Path | None = None,
    checkpoint_every: int = 0,
    trust_code: bool = False,
) -> "Iterator[EpochRecord]":
    """Train a network; yields one record an epoch, and leaves a run folder under `runs_dir`.

    Args:
        recipe: what to do, or the name of an architecture, whose own recipe is then used; none with `resume`.
        data_dir: where to look for the data set first.
        runs_dir: where the run folder goes.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        resume: a run folder to go on with; the records are those of the epochs that it lacks.
        checkpoint_every: steps between two states inside an epoch, besides the one after each; 0 for none.
        trust_code: let weights that the recipe starts from name code to import.

    Raises:
        CnnkitError: before the first step, where the recipe, data, device or folder is no good.
        TrainingDivergedError: the loss became NaN; the best checkpoint so far is kept.

    >>> import cnnkit, tempfile, pathlib
    >>> recipe = cnnkit.default_recipe("shapes-cnn", epochs=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     records = list(cnnkit.train(recipe, runs_dir=pathlib.Path(folder)))
    >>> records[0].epoch, records[0].is_best
    (1, True)
    """
    from cnnkit.results import EpochRecord

    if recipe is None:
        if resume is None:
            raise UsageError("say what to train: a recipe, the name of a network, or resume with a run folder.")
        recipe = run_recipe(resume)
    elif isinstance(recipe, str):
        recipe = default_recipe(recipe)
    steps = train_events(
        recipe,
        data_dir=data_dir,
        runs_dir=runs_dir,
        device=device,
        resume=resume,
        checkpoint_every=checkpoint_every,
        trust_code=trust_code,
    )
    with closing(steps) as events:
        for event in events:
            if isinstance(event, EpochRecord):
                yield event


def run_recipe(run: str | Path) -> "Recipe":
    """Return the recipe of a run folder.

    Raises:
        UsageError: it is no run folder.
    """
    from cnnkit.training.runs import recipe_of

    return recipe_of(Path(run).expanduser())


def default_recipe(model: str, **changes: Any) -> "Recipe":
    """Return the recipe that a network is trained by unless told otherwise, with `changes` applied.

    Raises:
        UnknownNameError: no such network.
        UsageError: it names weights, or a change is not valid.

    >>> import cnnkit
    >>> cnnkit.default_recipe("mnist-cnn", epochs=2).learning_rate
    0.001
    """
    reference = registry.resolve(model)
    if reference.kind == "architecture":
        return registry.model(model).recipe.override(changes)
    if reference.is_architecture:
        from cnnkit.recipe import Recipe

        return Recipe(model=model, normalisation="standard").override(changes)
    raise UsageError(f"{model} names trained weights; training starts from an architecture, such as mnist-cnn.")


def evaluate(
    ref: str | Path,
    *,
    data: str | None = None,
    split: Any = None,
    data_dir: str | Path | None = None,
    batch_size: int = 256,
    top_k: int = 5,
    device: str = "auto",
    trust_code: bool = False,
) -> "Evaluation":
    """Measure a trained network on a data set; see `cnnkit.training.evaluation.evaluate_network`.

    >>> import cnnkit
    >>> cnnkit.evaluate("shapes-cnn", data="shapes").images
    300
    """
    return result_of(
        evaluation_steps(
            load(ref, device=device, trust_code=trust_code),
            data=data,
            split=split,
            data_dir=_path(data_dir),
            batch_size=batch_size,
            top_k=top_k,
        )
    )


def evaluation_steps(classifier: Classifier, **options: Any) -> "Generator[LoadProgress | LoadNote, None, Evaluation]":
    """Do what `evaluate` does with a loaded classifier, and yield how far the loading of the images is."""
    from cnnkit.training.evaluation import evaluate_network

    return evaluate_network(classifier.network, classifier.name, **options)


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
        _path(output),
        raw_input=raw_input,
        shape=shape,
        data_dir=_path(data_dir),
        trust_code=trust_code,
        precision=precision,
        accuracy_budget=accuracy_budget,
        force=force,
        device=device,
        data=data,
    )


def verify(
    ref: str | Path,
    *,
    against: str | Path | None = None,
    data: str | None = None,
    split: Any = None,
    data_dir: str | Path | None = None,
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
            device=device,
            trust_code=trust_code,
        )
    )


def verification_steps(
    ref: str | Path, *, against: str | Path | None = None, data_dir: str | Path | None = None, **options: Any
) -> "Generator[LoadProgress | LoadNote | ComparisonProgress, None, Verification]":
    """Do what `verify` does, and yield how far the loading of the images and their comparison is."""
    from cnnkit.exporting import verification

    named = None if against is None else str(against)
    return verification.verify(str(ref), against=named, data_dir=_path(data_dir), **options)


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
        if any(options.values()):
            raise UsageError(f"{ref} is an ONNX file already; options of its export come too late.")
        return triton.write_triton_repository(reference.path, target, name=name, device=device)
    triton.require_place(target, name, device)
    with tempfile.TemporaryDirectory() as folder:
        exported = export(ref, Path(folder) / "model.onnx", **options)
        return triton.write_triton_repository(exported.path, target, name=name, device=device)


def summarize(
    ref: str | Path,
    *,
    batch: int = 1,
    shape: tuple[int, int, int] | None = None,
    depth: int | None = None,
    trust_code: bool = False,
    compare: str | Path | None = None,
    profile: bool = False,
    device: str = "auto",
) -> "ModelSummary | GraphSummary":
    """Return the layers of a network, or the nodes of an ONNX file.

    `compare`, `profile` and `device` are for ONNX files, `depth` is for PyTorch networks; see
    `cnnkit.inspection.summary.summarize` and `cnnkit.inspection.graph.summarize_file`.

    >>> import cnnkit
    >>> [layer.output_shape for layer in cnnkit.summarize("lenet").layers if layer.kind == "MaxPool2d"]
    [(6, 14, 14), (16, 5, 5)]
    """
    text = str(ref)
    reference = registry.resolve(text)
    if reference.kind == "onnx" and reference.path is not None:
        if depth is not None:
            raise UsageError(f"{text} is an ONNX file, whose nodes have no levels; leave out --depth.")
        from cnnkit.inspection import graph

        against = None if compare is None else str(compare)
        return graph.summarize_file(
            reference.path,
            text,
            batch=batch,
            shape=shape,
            against=against,
            profile=profile,
            device=device,
            trust_code=trust_code,
        )
    if compare is not None or profile:
        raise UsageError(f"{text} is a PyTorch network; --compare and --profile are for ONNX files.")
    from cnnkit.inspection import summary

    return summary.summarize(text, batch=batch, shape=shape, depth=depth, trust_code=trust_code)


def benchmark(
    *refs: str | Path,
    devices: "Sequence[str]" = ("auto",),
    batches: "Sequence[int] | None" = None,
    threads: "Sequence[int] | None" = None,
    torch: bool = False,
    seconds: float = 1.0,
    shape: tuple[int, int, int] | None = None,
    trust_code: bool = False,
) -> "Benchmark":
    """Measure latency and throughput on onnxruntime, all networks, devices and numbers of threads in turn.

    Args:
        refs: ONNX files and zoo entries, which need no PyTorch; anything else is exported first, as `export` does.
        devices: `auto`, `cpu`, `cuda`, `cuda:N` or `tensorrt`.
        batches: sizes; None for 1, 8, 32 and 256, or the one that a file fixes.
        threads: inside an operator, on the CPU; None for as many as there are cores.
        torch: measure the PyTorch networks as well, eager and compiled.
        seconds: to spend on each at each batch size, after its warm-up.
        shape: channels, height and width for an architecture that does not say its input.
        trust_code: import the network that a card names as `module:factory`.

    Raises:
        DeviceError: a device cannot be had.
        OnnxError: a file that onnxruntime cannot run.
        UsageError: numbers that make no sense.

    >>> import cnnkit
    >>> found = cnnkit.benchmark("lenet", devices=["cpu"], batches=[1, 8], threads=[1], seconds=0.1)
    >>> [(row.engine, row.device, row.batch) for row in found.measurements]
    [('onnxruntime', 'CPU', 1), ('onnxruntime', 'CPU', 8)]
    """
    return result_of(
        benchmark_steps(
            refs,
            devices=devices,
            batches=batches,
            threads=threads,
            torch=torch,
            seconds=seconds,
            shape=shape,
            trust_code=trust_code,
        )
    )


def benchmark_steps(refs: "Sequence[str | Path]", **options: Any) -> "Generator[BenchmarkStep, None, Benchmark]":
    """Do what `benchmark` does, and yield what is measured now."""
    from cnnkit.inspection import benchmark

    return benchmark.benchmark_steps([str(ref) for ref in refs], **options)


def tune(ref: str | Path, *, device: str = "auto", batch: int = 32, seconds: float = 1.0) -> "TuningResult":
    """Try provider options on an exported file, and store the winner in its card; see `cnnkit.runtime.tuning.tune`.

    Later sessions on the same hardware use it. Where nothing beats the default options beyond the noise nothing is
    stored, and what the card held for this hardware is taken out.

    Args:
        ref: an ONNX file with a card.
        device: as in `load`, and `tensorrt` or `tensorrt:N`.
        batch: images in each run.
        seconds: spent on each set of options.

    Raises:
        UsageError: not an exported file, or one of the zoo.
        OnnxError: it has no card, or gives other logits on this device.
        DeviceError: the device cannot be had.
        OutputError: the file cannot be written; it is untouched.
    """
    from dataclasses import replace

    from cnnkit.files import require_writable
    from cnnkit.runtime import tuning
    from cnnkit.runtime.providers import ProviderOptions, as_stored

    reference = registry.resolve(str(ref))
    path = reference.path
    # The zoo's files are known by their hashes.
    of_zoo = path is not None and path.resolve().is_relative_to(zoo.folder().resolve())
    if reference.kind == "zoo" or of_zoo or (reference.kind == "architecture" and zoo.has(str(ref))):
        copied = "" if of_zoo else f" Tune a copy: cnnkit export {ref} --onnx"
        raise UsageError(f"{ref} belongs to the zoo, whose files stay as they are.{copied}")
    if reference.kind != "onnx" or path is None:
        raise UsageError(f"{ref} is not an ONNX file. Export it first: cnnkit export {ref} --onnx")
    require_writable(path.parent)
    result, card = tuning.tune(path, str(ref), device=device, batch=batch, seconds=seconds)
    stored = {key: entry for key, entry in (card.tuning or {}).items() if key != result.hardware}
    removed = len(stored) < len(card.tuning or {})
    if result.winner is not None and result.speed_up is not None:
        options = ProviderOptions.from_stored(result.options)
        stored[result.hardware] = as_stored(options, batch=batch, speed_up=result.speed_up[0])
    elif not removed:
        return result
    from cnnkit.exporting.carding import replace_card

    replace_card(path, replace(card, tuning=stored or None))
    won = result.winner is not None
    return replace(result, stored_in=path if won else None, removed=removed and not won)
