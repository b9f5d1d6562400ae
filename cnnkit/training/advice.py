"""What a user should know of a run before its first step."""

from collections.abc import Iterator

from cnnkit.progress import Notice
from cnnkit.recipe import Recipe
from cnnkit.training.averaging import on_warm_up
from cnnkit.words import counted


def notes_before(recipe: Recipe, steps: int, done: int | None) -> Iterator[Notice]:
    """Yield what of a recipe has less of an effect than its options say.

    Args:
        recipe: of the run.
        steps: in an epoch.
        done: epochs of a run that is resumed; None for a new one.
    """
    if done is None and (warm_up := on_warm_up(recipe.ema, steps * recipe.epochs)):
        yield Notice(warm_up)
    # The rate of the last epoch is the first one, where the first fall would come after it.
    if recipe.schedule == "step" and 0 < recipe.epochs <= recipe.decay_epochs:
        yield Notice(
            f"the step schedule keeps its rate: its first fall is after epoch {recipe.decay_epochs}, and there are "
            f"{counted(recipe.epochs, 'epoch')}. Give fewer --decay-epochs",
            warning=True,
        )
    if done is not None and done >= recipe.epochs:
        yield Notice(
            f"the run has {counted(done, 'epoch')}, and its recipe asks for {recipe.epochs}: nothing is left to train. "
            f"--epochs {done + max(1, recipe.epochs)} goes on",
            warning=True,
        )
