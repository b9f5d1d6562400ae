"""`cnnkit train`."""

from collections.abc import Callable
from pathlib import Path
from signal import SIGTERM
from typing import Annotated, get_args

import typer

from cnnkit.cli.common import (
    DataDir,
    Json,
    TorchDevice,
    TrustCode,
    complete_data,
    complete_model,
    complete_run,
    in_panel,
    offer,
    shape_of,
    without_options,
)
from cnnkit.cli.signals import StopRequest, name_of
from cnnkit.errors import StoppedError, UsageError

_DATA, _START, _CHECKS, _LENGTH, _OPTIMIZER, _LOSS, _MACHINE = (
    "Data",
    "Fine-tuning",
    "Checks",
    "Length",
    "Optimizer",
    "Loss and regularisation",
    "Machine",
)


def complete_augmentation(incomplete: str) -> list[str]:
    """Offer the augmentations."""
    from cnnkit.data import augmentations

    return [name for name in augmentations.names() if name.startswith(incomplete)]


def offer_field(name: str) -> Callable[[str], list[str]]:
    """Return what offers the values of a field of the recipe to the shell."""

    def complete(incomplete: str) -> list[str]:
        from cnnkit.recipe import Recipe

        return offer(*get_args(Recipe.model_fields[name].annotation))(incomplete)

    return complete


def command(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="Network to train.", autocompletion=complete_model)
    ] = None,
    *,
    config: Annotated[
        Path | None, typer.Option(help="Recipe as TOML, such as a run's run.toml. Options override it.")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Go on with this run folder, bit for bit.", autocompletion=complete_run),
    ] = None,
    runs_dir: Annotated[Path, typer.Option(help="Where the run folder goes.")] = Path("runs"),
    checkpoint_every: Annotated[
        int, typer.Option(min=0, help="Steps between two checkpoints, besides the one after each epoch.")
    ] = 0,
    trust_code: TrustCode = False,
    json: Json = False,
    data: Annotated[
        str | None, in_panel("Data set or image folder. Default: the recipe's.", _DATA, autocompletion=complete_data)
    ] = None,
    data_dir: DataDir = None,
    input: Annotated[
        str | None,
        in_panel(
            "Input shape, as in 3x32x32. Default: that of small images, else the network's own.",
            _DATA,
            "--input",
            metavar="CxHxW",
        ),
    ] = None,
    normalisation: Annotated[
        str | None,
        in_panel(
            "Scale of pixels: unit ([0, 1]) or standard (mean 0, variance 1).",
            _DATA,
            autocompletion=offer_field("normalisation"),
        ),
    ] = None,
    augmentation: Annotated[
        str | None,
        in_panel(
            "Changes to training images: none, affine, digits, drawings or crops.",
            _DATA,
            autocompletion=complete_augmentation,
        ),
    ] = None,
    drawn_digits: Annotated[
        float | None, in_panel("Of mnist, share of the images replaced by drawn European digits; 0: none.", _DATA)
    ] = None,
    fit: Annotated[
        str | None,
        in_panel(
            "How images get their size: auto, contain, cover or stretch.", _DATA, autocompletion=offer_field("fit")
        ),
    ] = None,
    crop_fraction: Annotated[float | None, in_panel("Share of each side that cover keeps, as in 0.875.", _DATA)] = None,
    interpolation: Annotated[
        str | None,
        in_panel(
            "Resampling: auto, nearest, bilinear, bicubic, lanczos or box.",
            _DATA,
            autocompletion=offer_field("interpolation"),
        ),
    ] = None,
    validation_fraction: Annotated[
        float | None, in_panel("Share of the training images to validate on.", _DATA)
    ] = None,
    test_fraction: Annotated[
        float | None, in_panel("Share to test on, of an image folder without a test folder; 0: no test set.", _DATA)
    ] = None,
    split_seed: Annotated[int | None, in_panel("Seed of the split.", _DATA)] = None,
    split_by: Annotated[
        str | None,
        in_panel(
            "What decides the split: content, or path as before version 0.2.",
            _DATA,
            autocompletion=offer_field("split_by"),
        ),
    ] = None,
    seed: Annotated[int | None, in_panel("Seed of the weights, the order and the augmentation.", _DATA)] = None,
    weights: Annotated[
        str | None,
        in_panel("Model to start from; the head is new where the classes differ.", _START, metavar="REF"),
    ] = None,
    freeze: Annotated[bool | None, in_panel("Train the head only.", _START, "--freeze/--no-freeze")] = None,
    skip_damaged: Annotated[
        bool | None,
        in_panel("Leave out files that cannot be decoded.", _CHECKS, "--skip-damaged/--no-skip-damaged"),
    ] = None,
    allow_overlap: Annotated[
        bool | None,
        in_panel("Train although --weights had seen images held out.", _CHECKS, "--allow-overlap/--no-allow-overlap"),
    ] = None,
    epochs: Annotated[int | None, in_panel("Passes over the training images.", _LENGTH)] = None,
    max_seconds: Annotated[float | None, in_panel("End after that much training; 0: no limit.", _LENGTH)] = None,
    patience: Annotated[
        int | None, in_panel("End after so many epochs without a better one; 0: never.", _LENGTH)
    ] = None,
    limit_batches: Annotated[int | None, in_panel("Batches of each split, for a dry run; 0: all.", _LENGTH)] = None,
    optimizer: Annotated[
        str | None,
        in_panel("Optimizer: sgd, adam, adamw or rmsprop.", _OPTIMIZER, autocompletion=offer_field("optimizer")),
    ] = None,
    batch_size: Annotated[int | None, in_panel("Images in a step, over all processes.", _OPTIMIZER)] = None,
    learning_rate: Annotated[
        float | None, in_panel("Learning rate at its highest.", _OPTIMIZER, "--learning-rate", "--lr")
    ] = None,
    schedule: Annotated[
        str | None,
        in_panel(
            "Course of the learning rate: constant, cosine, one-cycle or step.",
            _OPTIMIZER,
            autocompletion=offer_field("schedule"),
        ),
    ] = None,
    warmup_epochs: Annotated[float | None, in_panel("Epochs of linear rise before the schedule.", _OPTIMIZER)] = None,
    decay_epochs: Annotated[int | None, in_panel("Epochs between two falls of the step schedule.", _OPTIMIZER)] = None,
    decay_factor: Annotated[float | None, in_panel("Factor of each fall of the step schedule.", _OPTIMIZER)] = None,
    momentum: Annotated[float | None, in_panel("Momentum of sgd and rmsprop.", _OPTIMIZER)] = None,
    nesterov: Annotated[
        bool | None, in_panel("Let sgd use Nesterov's momentum.", _OPTIMIZER, "--nesterov/--no-nesterov")
    ] = None,
    clip_norm: Annotated[float | None, in_panel("Largest norm of the gradients; 0: any.", _OPTIMIZER)] = None,
    ema: Annotated[
        float | None, in_panel("Keep averaged weights; their decay warms up to this; 0: don't.", _OPTIMIZER)
    ] = None,
    loss: Annotated[
        str | None, in_panel("Loss to minimise: cross-entropy.", _LOSS, autocompletion=offer_field("loss"))
    ] = None,
    initialisation: Annotated[
        str | None, in_panel("First weights: default or xavier.", _LOSS, autocompletion=offer_field("initialisation"))
    ] = None,
    weight_decay: Annotated[float | None, in_panel("L2 penalty; decoupled with adamw.", _LOSS)] = None,
    label_smoothing: Annotated[float | None, in_panel("Share of each label that all classes get.", _LOSS)] = None,
    class_weights: Annotated[
        str | None,
        in_panel(
            "Weights of classes: none, or balanced, so that rare ones count as much.",
            _LOSS,
            autocompletion=offer_field("class_weights"),
        ),
    ] = None,
    mixup: Annotated[float | None, in_panel("Alpha of mixup; 0: none.", _LOSS)] = None,
    adversarial_training: Annotated[
        float | None, in_panel("Train on PGD's images within this L∞ radius, as in 0.1; 0: don't.", _LOSS)
    ] = None,
    adversarial_steps: Annotated[int | None, in_panel("Steps of PGD.", _LOSS)] = None,
    adversarial_step_size: Annotated[
        float | None, in_panel("Length of a step of PGD; 0: 2.5 radii over the steps.", _LOSS)
    ] = None,
    device: TorchDevice = "auto",
    precision: Annotated[
        str | None,
        in_panel("Numbers to compute in: fp32, bf16 or fp16.", _MACHINE, autocompletion=offer_field("precision")),
    ] = None,
    compile: Annotated[bool | None, in_panel("Run through torch.compile.", _MACHINE, "--compile/--no-compile")] = None,
    tensorboard: Annotated[
        bool | None, in_panel("Write the curves for TensorBoard too.", _MACHINE, "--tensorboard/--no-tensorboard")
    ] = None,
    nproc: Annotated[int, in_panel("Processes, with a GPU or a share of the cores each.", _MACHINE, min=1)] = 1,
) -> None:
    """Train a network by its reference recipe; any option overrides the recipe.

    The run folder gets run.toml, metrics.csv, curves.png, state.safetensors and best.safetensors, the weights of the
    best epoch by validation accuracy. Ctrl-C saves and stops; --resume goes on from there.
    """
    from cnnkit import registry
    from cnnkit.recipe import Recipe, is_of_earlier_version, read_recipe_table
    from cnnkit.render import console
    from cnnkit.training import runs

    if runs.is_restart() and runs.run_of_this_launch(runs_dir, resume) is None:
        raise typer.Exit(1)  # the first try said what is wrong, and it still is
    if resume is not None and config is not None:
        raise UsageError("a resumed run has its recipe in its folder; --config is for new runs.")
    given = runs.recipe_of(resume).model_dump() if resume else read_recipe_table(config) if config else {}
    name = model or given.get("model")
    if not isinstance(name, str) or not name:
        raise UsageError("say what to train: cnnkit train MODEL, or --config with a recipe that names a model.")
    if model is None and not trust_code and registry.resolve(name).kind == "factory":
        raise UsageError(
            f"{resume or config} names code to import as its network, {name!r}. If you trust it, say --trust-code, or "
            f"name the network: cnnkit train {name} --{'resume' if resume else 'config'} {resume or config}"
        )

    from cnnkit.training.recipes import recipe_over

    changes = {option: value for option, value in context.params.items() if option in Recipe.model_fields}
    recipe = recipe_over(name, given, changes | {"input_shape": shape_of(input), "model": name})
    if config is not None and is_of_earlier_version(given) and recipe.split_by == "content":
        console.warning(
            f"{config} was written before version 0.2, when the seed divided the images; this run divides them by "
            "their content, so that its figures are not those of that run; to divide them as then, add --split-by path "
            f"--split-seed {given['seed']}"
        )
    if nproc > 1:
        from cnnkit.training.launch import launch

        def arguments(run: Path | None) -> list[str]:
            given = without_options(context.obj["arguments"], "--nproc", "--resume", *["--config"] * (run is not None))
            going_on = [] if run is None else ["--resume", str(run)]
            return ["--debug"] * context.obj["debug"] + ["train", *given, *going_on]

        raise typer.Exit(launch(nproc, arguments, device=device, runs_dir=runs_dir, resume=resume, say=console.warning))

    from cnnkit.render import training
    from cnnkit.training.distributed import is_first
    from cnnkit.training.train import train

    with StopRequest() as stop:
        events = train.steps(
            recipe,
            data_dir=data_dir,
            runs_dir=runs_dir,
            device=device,
            resume=resume,
            checkpoint_every=checkpoint_every,
            stop=stop.wanted,
            trust_code=trust_code,
        )
        stopped = training.show(events, recipe, as_json=context.obj["json"], quiet=not is_first())
        if stopped is not None:
            # Where another of several processes got the signal, this one has none of its own.
            number = stop.signal or SIGTERM
            raise StoppedError(training.how_to_go_on(stopped, name_of(number)), signal=number, result=stopped)
