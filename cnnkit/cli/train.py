"""`cnnkit train`."""

from pathlib import Path
from signal import SIGTERM
from typing import Annotated, Any

import typer

from cnnkit.cli.common import (
    DataDir,
    Json,
    Shape,
    TorchDevice,
    TrustCode,
    complete_data,
    complete_model,
    complete_run,
    shape_of,
    without_options,
)
from cnnkit.cli.signals import StopRequest, name_of
from cnnkit.errors import StoppedError, UsageError

_DATA, _START, _LENGTH, _OPTIMIZER, _LOSS, _MACHINE = (
    "Data",
    "Fine-tuning",
    "Length",
    "Optimizer",
    "Loss and regularisation",
    "Machine",
)


def _option(text: str, panel: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, **more)


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
        str | None, _option("Data set or image folder. Default: the recipe's.", _DATA, autocompletion=complete_data)
    ] = None,
    data_dir: DataDir = None,
    input: Shape = None,
    normalisation: Annotated[str | None, _option("unit ([0, 1]) or standard (mean 0, variance 1).", _DATA)] = None,
    augmentation: Annotated[str | None, _option("none, affine, digits, drawings or crops.", _DATA)] = None,
    validation_fraction: Annotated[float | None, _option("Of the training images.", _DATA)] = None,
    test_fraction: Annotated[float | None, _option("Of an image folder without a test folder.", _DATA)] = None,
    seed: Annotated[int | None, _option("Of the split, the weights, the order and the augmentation.", _DATA)] = None,
    weights: Annotated[
        str | None,
        _option("Model to start from; the head is new where the classes differ.", _START, metavar="REF"),
    ] = None,
    freeze: Annotated[bool | None, _option("Train the head only.", _START, "--freeze/--no-freeze")] = None,
    epochs: Annotated[int | None, _option("Passes over the training images.", _LENGTH)] = None,
    max_seconds: Annotated[float | None, _option("End after that much training; 0: no limit.", _LENGTH)] = None,
    patience: Annotated[
        int | None, _option("End after so many epochs without a better one; 0: never.", _LENGTH)
    ] = None,
    limit_batches: Annotated[int | None, _option("Of each split, for a dry run; 0: all.", _LENGTH)] = None,
    optimizer: Annotated[str | None, _option("sgd, adam, adamw or rmsprop.", _OPTIMIZER)] = None,
    batch_size: Annotated[int | None, _option("Images in a step, over all processes.", _OPTIMIZER)] = None,
    learning_rate: Annotated[float | None, _option("The highest one.", _OPTIMIZER, "--learning-rate", "--lr")] = None,
    schedule: Annotated[str | None, _option("constant, cosine, one-cycle or step.", _OPTIMIZER)] = None,
    warmup_epochs: Annotated[float | None, _option("Linear rise before the schedule.", _OPTIMIZER)] = None,
    decay_epochs: Annotated[int | None, _option("Between two falls of the step schedule.", _OPTIMIZER)] = None,
    decay_factor: Annotated[float | None, _option("Of each fall of the step schedule.", _OPTIMIZER)] = None,
    momentum: Annotated[float | None, _option("For sgd and rmsprop.", _OPTIMIZER)] = None,
    nesterov: Annotated[bool | None, _option("For sgd.", _OPTIMIZER, "--nesterov/--no-nesterov")] = None,
    clip_norm: Annotated[float | None, _option("Largest norm of the gradients; 0: any.", _OPTIMIZER)] = None,
    ema: Annotated[float | None, _option("Keep averaged weights with this decay; 0: don't.", _OPTIMIZER)] = None,
    loss: Annotated[str | None, _option("cross-entropy.", _LOSS)] = None,
    initialisation: Annotated[str | None, _option("default or xavier.", _LOSS)] = None,
    weight_decay: Annotated[float | None, _option("L2 penalty; decoupled with adamw.", _LOSS)] = None,
    label_smoothing: Annotated[float | None, _option("Share of each label that all classes get.", _LOSS)] = None,
    class_weights: Annotated[str | None, _option("none, or balanced: rare classes count as much.", _LOSS)] = None,
    mixup: Annotated[float | None, _option("Alpha of mixup; 0: none.", _LOSS)] = None,
    adversarial_training: Annotated[
        float | None, _option("Train on PGD's images within this L∞ radius, as in 0.1; 0: don't.", _LOSS)
    ] = None,
    adversarial_steps: Annotated[int | None, _option("Of PGD.", _LOSS)] = None,
    adversarial_step_size: Annotated[float | None, _option("Of PGD; 0: 2.5 radii over the steps.", _LOSS)] = None,
    device: TorchDevice = "auto",
    precision: Annotated[str | None, _option("fp32, bf16 or fp16.", _MACHINE)] = None,
    compile: Annotated[bool | None, _option("Run through torch.compile.", _MACHINE, "--compile/--no-compile")] = None,
    tensorboard: Annotated[
        bool | None, _option("Write the curves for TensorBoard too.", _MACHINE, "--tensorboard/--no-tensorboard")
    ] = None,
    nproc: Annotated[int, _option("Processes, with a GPU or a share of the cores each.", _MACHINE, min=1)] = 1,
) -> None:
    """Train a network by its reference recipe; any option overrides the recipe.

    The run folder gets run.toml, metrics.csv, curves.png, state.safetensors and best.safetensors, the weights of the
    best epoch by validation accuracy. Ctrl-C saves and stops; --resume goes on from there.
    """
    from cnnkit.recipe import Recipe, read_recipe_table
    from cnnkit.training import runs

    if runs.is_restart() and runs.run_of_this_launch(runs_dir, resume) is None:
        raise typer.Exit(1)  # the first try said what is wrong, and it still is
    if resume is not None and config is not None:
        raise UsageError("a resumed run has its recipe in its folder; --config is for new runs.")
    given = runs.recipe_of(resume).model_dump() if resume else read_recipe_table(config) if config else {}
    name = model or given.get("model")
    if not isinstance(name, str) or not name:
        raise UsageError("say what to train: cnnkit train MODEL, or --config with a recipe that names a model.")

    from cnnkit import api

    changes = {option: value for option, value in context.params.items() if option in Recipe.model_fields}
    recipe = (
        api.default_recipe(name).override(given).override({**changes, "input_shape": shape_of(input), "model": name})
    )
    if nproc > 1:
        from cnnkit.render import console
        from cnnkit.training.launch import launch

        def arguments(run: Path | None) -> list[str]:
            given = without_options(context.obj["arguments"], "--nproc", "--resume", *["--config"] * (run is not None))
            going_on = [] if run is None else ["--resume", str(run)]
            return ["--debug"] * context.obj["debug"] + ["train", *given, *going_on]

        raise typer.Exit(launch(nproc, arguments, device=device, runs_dir=runs_dir, resume=resume, say=console.warning))

    from cnnkit.render import training
    from cnnkit.training.distributed import is_first

    with StopRequest() as stop:
        events = api.train_events(
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
