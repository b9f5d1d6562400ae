"""`cnnkit.train`: a recipe becomes a run folder."""

from collections.abc import Callable, Generator
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cnnkit.arguments import DataDir, TorchDevice, TrustCode
from cnnkit.data.places import remembered
from cnnkit.errors import OutputError, UsageError
from cnnkit.files import expanded
from cnnkit.operation import selecting
from cnnkit.options import Option
from cnnkit.sources import find
from cnnkit.training.results import EpochRecord, TrainingStarted

if TYPE_CHECKING:
    from cnnkit.recipe import Recipe
    from cnnkit.training.results import TrainingEvent


@selecting(EpochRecord)
def train(
    recipe: "Recipe | str | None" = None,
    *,
    data_dir: DataDir = None,
    runs_dir: Annotated[str | Path, Option("Where the run folder goes.")] = "runs",
    device: TorchDevice = "auto",
    resume: Annotated[
        str | Path | None, Option("Go on with this run folder, bit for bit.", metavar="RUN", suggest="run")
    ] = None,
    checkpoint_every: Annotated[
        int, Option("Steps between two checkpoints, besides the one after each epoch.", ge=0)
    ] = 0,
    trust_code: TrustCode = False,
    stop: Callable[[], bool] | None = None,
) -> "Generator[TrainingEvent, None, None]":
    """Train a network; yields one record an epoch, and leaves a run folder under `runs_dir`.

    `train.steps` yields all that happens. However the run ends, the curves of the epochs so far are drawn into its
    folder; see `cnnkit.training.loop.train_events` for what else is in it.

    Args:
        recipe: what to do, or the name of an architecture, whose own recipe is then used; with `resume` that of the
            folder, or one with other settings that may change (see `cnnkit.training.resuming.CHANGEABLE`).
        data_dir: where to look for the data set first.
        runs_dir: where the run folder goes.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        resume: a run folder to go on with, bit for bit on the same build, device and number of threads; the records are
            those of the epochs that it lacks.
        checkpoint_every: steps between two states inside an epoch, besides the one after each; 0 for none.
        trust_code: let weights that the recipe starts from name code to import.
        stop: asked after each step; once it returns True the state is saved and the run stops.

    Raises:
        CnnkitError: before the first step, where the recipe, data, device or folder cannot be used.
        TrainingDivergedError: the loss became NaN or infinite; the best checkpoint so far is kept.
        OutputError, OutOfMemoryError: on the way; what was saved before is whole.

    >>> import cnnkit, tempfile, pathlib
    >>> recipe = cnnkit.default_recipe("shapes-cnn", epochs=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     records = list(cnnkit.train(recipe, runs_dir=pathlib.Path(folder)))
    >>> records[0].epoch, records[0].is_best
    (1, True)
    """
    again = expanded(resume)
    chosen, folder = _recipe(recipe, again, trust_code=trust_code), expanded(data_dir) or remembered(again)
    from cnnkit.render import plots
    from cnnkit.training import distributed, loop

    records: list[EpochRecord] = []
    run: Path | None = None

    def draw_curves() -> None:
        if run is not None and records and distributed.is_first():
            title = f"{run.name} (dry run: no figure counts)" if chosen.limit_batches else run.name
            plots.curves(records, run / "curves.png", title=title)

    steps = loop.train_events(
        chosen,
        data_dir=folder,
        runs_dir=Path(runs_dir),
        device=device,
        resume=again,
        checkpoint_every=checkpoint_every,
        stop=stop or (lambda: False),
        trust_code=trust_code,
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


def _recipe(given: "Recipe | str | None", resume: Path | None, *, trust_code: bool) -> "Recipe":
    """Return the recipe that is meant: the one of an architecture by its name, or of the run that goes on."""
    if isinstance(given, str):
        from cnnkit.training.recipes import default_recipe

        return default_recipe(given)
    if given is not None:
        from cnnkit.recipe import Recipe

        if not isinstance(given, Recipe):
            find(given).require_trainable()
        return given
    if resume is None:
        raise UsageError("say what to train: a recipe, the name of a network, or resume with a run folder.")
    from cnnkit.training.runs import recipe_of

    recipe = recipe_of(resume)
    if not trust_code and find(recipe.model).runs_code:
        raise UsageError(
            f"{resume} names code to import as its network, {recipe.model!r}. If you trust it, say trust_code=True."
        )
    return recipe
