"""`cnnkit train`."""

from pathlib import Path
from signal import SIGTERM
from typing import Annotated

import typer

from cnnkit.cli.common import (
    DataDir,
    Json,
    TorchDevice,
    TrustCode,
    complete_model,
    complete_run,
    in_panel,
    without_options,
)
from cnnkit.cli.fields import Overrides
from cnnkit.cli.signals import StopRequest, name_of
from cnnkit.errors import StoppedError, UsageError
from cnnkit.recipe import MACHINE, Recipe
from cnnkit.runfile import is_of_earlier_version, read_recipe_table


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
    data_dir: DataDir = None,
    changes: Annotated[dict[str, object], Overrides(Recipe)],
    device: TorchDevice = "auto",
    nproc: Annotated[int, in_panel("Processes, with a GPU or a share of the cores each.", MACHINE, min=1)] = 1,
) -> None:
    """Train a network by its reference recipe; any option overrides the recipe.

    The run folder gets run.toml, metrics.csv, curves.png, state.safetensors and best.safetensors, the weights of the
    best epoch by validation accuracy. Ctrl-C saves and stops; --resume goes on from there.
    """
    from cnnkit import registry
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
