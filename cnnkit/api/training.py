"""Building networks and training them."""

from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnkit import registry, zoo
from cnnkit.errors import CnnkitError, OutputError, UsageError
from cnnkit.files import expanded

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from cnnkit.recipe import Recipe
    from cnnkit.results import EpochRecord, TrainingEvent


def create_model(name: str, num_classes: int | None = None, input_shape: tuple[int, int, int] | None = None) -> Any:
    """Build a network, an `nn.Module`, with random weights; see `cnnkit.training.building.create_model`.

    >>> import cnnkit
    >>> sum(p.numel() for p in cnnkit.create_model("lenet").parameters())
    61706
    """
    from cnnkit.training import building

    return building.create_model(name, num_classes, input_shape)


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
            title = f"{run.name} (dry run: no figure counts)" if recipe.limit_batches else run.name
            plots.curves(records, run / "curves.png", title=title)

    steps = loop.train_events(
        recipe, data_dir=expanded(data_dir), runs_dir=Path(runs_dir), device=device, resume=expanded(resume), **options
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
        CnnkitError: before the first step, where the recipe, data, device or folder cannot be used.
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
        if not trust_code and registry.resolve(recipe.model).kind == "factory":
            raise UsageError(
                f"{resume} names code to import as its network, {recipe.model!r}. If you trust it, say trust_code=True."
            )
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


def default_recipe(model: str, /, **changes: Any) -> "Recipe":
    """Return the recipe that a network is trained by unless told otherwise, with `changes` applied.

    Fields that lose their effect by the changes get their defaults; a change without effect is an error.

    With `weights` of a run, the split is theirs, except for what `changes` says of it: so no image that they were
    trained on is held out. With weights of the zoo, or of a version before 0.2, so it is for their own data set.

    Args:
        model: a registered network, `torchvision/NAME` or `package.module:factory`.
        changes: values by field; None changes nothing.

    Raises:
        UnknownNameError: no such network.
        UsageError: it names weights, or a change is not valid or without effect.

    >>> import cnnkit
    >>> cnnkit.default_recipe("mnist-cnn", epochs=2).learning_rate
    0.001
    """
    return recipe_over(model, {}, changes)


def recipe_over(model: str, base: "Mapping[str, Any]", changes: "Mapping[str, Any]") -> "Recipe":
    """Return what `default_recipe` does, with the fields of `base`, as of a `run.toml`, between the two."""
    from cnnkit.recipe import Recipe, is_whole

    reference = registry.resolve(model)
    if reference.kind == "architecture":
        own = {"model": model, **registry.model(model).recipe_fields}
    elif reference.is_architecture:
        own = {"model": model, "normalisation": "standard"}
    else:
        raise UsageError(f"{model} names trained weights; training starts from an architecture, such as mnist-cnn.")
    given = {name: value for name, value in changes.items() if value is not None}
    recipe = Recipe.layered(own, base, given, strict=given)
    explicit = set(given)
    if not is_whole(base):  # what is written by hand has an effect, or is refused, unless a change takes it away
        Recipe.layered(own, base, strict=base)
        explicit |= {name for name, value in base.items() if getattr(recipe, name) == value}
    split = _split_of(recipe) if recipe.weights else {}
    return Recipe.layered(own, split, base, given, strict=explicit)


def _split_of(recipe: "Recipe") -> dict[str, Any]:
    """Return the split settings that a recipe takes over from its starting weights."""
    from cnnkit.card import ModelCard, safetensors_metadata

    with suppress(CnnkitError, OSError, ValueError):  # what is wrong with the weights is told when they are read
        reference = registry.resolve(recipe.weights)
        if reference.kind == "checkpoint" and reference.path is not None:
            data = reference.path.read_bytes()
        elif reference.kind in {"zoo", "architecture"}:
            data = zoo.read(recipe.weights, "model.safetensors")
        else:
            return {}
        card = ModelCard.from_metadata(safetensors_metadata(data), recipe.weights)
        if card is None:
            return {}
        own_data = Path(recipe.data).expanduser().resolve().name == card.dataset or recipe.data == card.dataset
        settings = card.split_settings
        if own_data or (reference.kind == "checkpoint" and settings.get("split_by") == "content"):
            return settings
    return {}
