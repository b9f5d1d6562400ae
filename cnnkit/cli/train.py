"""`cnnkit train`."""

from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.common import DataDir, Device, Json, Shape, complete_data, complete_model, shape_of
from cnnkit.errors import UsageError


def command(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="Network to train.", autocompletion=complete_model)
    ] = None,
    *,
    data: Annotated[
        str | None, typer.Option(help="Data set or image folder. Default: the recipe's.", autocompletion=complete_data)
    ] = None,
    data_dir: DataDir = None,
    config: Annotated[
        Path | None, typer.Option(help="Recipe as TOML, such as a run's run.toml. Options override it.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images in a step.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="sgd, adam, adamw or rmsprop.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", "--lr", help="The highest one.")] = None,
    schedule: Annotated[str | None, typer.Option(help="constant, cosine or one-cycle.")] = None,
    momentum: Annotated[float | None, typer.Option(help="For sgd and rmsprop.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="L2 penalty; decoupled with adamw.")] = None,
    loss: Annotated[str | None, typer.Option(help="cross-entropy.")] = None,
    initialisation: Annotated[str | None, typer.Option(help="default or xavier.")] = None,
    normalisation: Annotated[str | None, typer.Option(help="unit ([0, 1]) or standard (mean 0, variance 1).")] = None,
    augmentation: Annotated[str | None, typer.Option(help="none, affine, digits or drawings.")] = None,
    validation_fraction: Annotated[float | None, typer.Option(help="Of the training images.")] = None,
    test_fraction: Annotated[float | None, typer.Option(help="Of an image folder without a test folder.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the split, the weights, the order and the augmentation.")] = None,
    input: Shape = None,
    device: Device = "auto",
    runs_dir: Annotated[Path, typer.Option(help="Where the run folder goes.")] = Path("runs"),
    json: Json = False,
) -> None:
    """Train a network by its reference recipe; any option overrides the recipe.

    The run folder gets run.toml, metrics.csv, curves.png and best.safetensors, the weights of the best epoch by
    validation accuracy. Ctrl-C stops and keeps what is best so far.
    """
    from cnnkit import api
    from cnnkit.recipe import read_recipe_table
    from cnnkit.render import training

    given = read_recipe_table(config) if config else {}
    name = model or given.get("model")
    if not isinstance(name, str) or not name:
        raise UsageError("say what to train: cnnkit train MODEL, or --config with a recipe that names a model.")
    changes = {
        "data": data,
        "epochs": epochs,
        "batch_size": batch_size,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "schedule": schedule,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "loss": loss,
        "initialisation": initialisation,
        "normalisation": normalisation,
        "augmentation": augmentation,
        "validation_fraction": validation_fraction,
        "test_fraction": test_fraction,
        "seed": seed,
        "input_shape": shape_of(input),
    }
    recipe = api.default_recipe(name).override(given).override({**changes, "model": name})
    events = api.train_events(recipe, data_dir=data_dir, runs_dir=runs_dir, device=device)
    training.show(events, recipe, as_json=context.obj["json"])
