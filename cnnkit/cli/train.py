"""`cnnkit train`."""

from collections.abc import Generator
from functools import partial
from pathlib import Path
from signal import SIGTERM
from typing import Annotated

import typer

from cnnkit.cli.common import Json, without_options
from cnnkit.cli.completion import complete_model
from cnnkit.cli.fields import OptionsOf
from cnnkit.cli.signals import StopRequest, name_of
from cnnkit.errors import StoppedError, UsageError
from cnnkit.options import Option
from cnnkit.recipe import MACHINE, Recipe
from cnnkit.runfile import is_of_earlier_version, read_recipe_table
from cnnkit.training.results import TrainingEvent
from cnnkit.training.train import train

TrainingSteps = Generator[TrainingEvent, None, None]


def command(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="Network to train.", autocompletion=complete_model)
    ] = None,
    *,
    config: Annotated[
        Path | None, typer.Option(help="Recipe as TOML, such as a run's run.toml. Options override it.")
    ] = None,
    json: Json = False,
    training: Annotated[partial[TrainingSteps], OptionsOf(train.steps)],
    changes: Annotated[dict[str, object], OptionsOf(Recipe)],
    nproc: Annotated[int, Option("Processes, with a GPU or a share of the cores each.", MACHINE, ge=1)] = 1,
) -> None:
    """Train a network by its reference recipe; any option overrides the recipe.

    The run folder gets run.toml, metrics.csv, curves.png, state.safetensors and best.safetensors, the weights of the
    best epoch by validation accuracy. Ctrl-C saves and stops; --resume goes on from there.
    """
    from cnnkit.render import console
    from cnnkit.sources import find
    from cnnkit.training import runs

    chosen = training.keywords
    resume, runs_dir, trust_code = chosen.get("resume"), Path(chosen["runs_dir"]), chosen["trust_code"]
    if runs.is_restart() and runs.run_of_this_launch(runs_dir, resume) is None:
        raise typer.Exit(1)  # the first try said what is wrong, and it still is
    if resume is not None and config is not None:
        raise UsageError("a resumed run has its recipe in its folder; --config is for new runs.")
    given = runs.recipe_of(resume).model_dump() if resume else read_recipe_table(config) if config else {}
    name = model or given.get("model")
    if not isinstance(name, str) or not name:
        raise UsageError("say what to train: cnnkit train MODEL, or --config with a recipe that names a model.")
    if model is None and not trust_code and find(name).runs_code:
        raise UsageError(
            f"{resume or config} names code to import as its network, {name!r}. If you trust it, say --trust-code, or "
            f"name the network: cnnkit train {name} --{'resume' if resume else 'config'} {resume or config}"
        )

    from cnnkit.training.recipes import recipe_over

    recipe = recipe_over(name, given, changes | {"model": name})
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

        raise typer.Exit(
            launch(
                nproc,
                arguments,
                device=training.keywords["device"],
                runs_dir=runs_dir,
                resume=resume,
                say=console.warning,
            )
        )

    from cnnkit.render.training import how_to_go_on, show
    from cnnkit.training.distributed import is_first

    with StopRequest() as stop:
        events = training(recipe, stop=stop.wanted)
        stopped = show(events, recipe, as_json=context.obj["json"], quiet=not is_first())
        if stopped is not None:
            # Where another of several processes got the signal, this one has none of its own.
            number = stop.signal or SIGTERM
            raise StoppedError(how_to_go_on(stopped, name_of(number)), signal=number, result=stopped)
