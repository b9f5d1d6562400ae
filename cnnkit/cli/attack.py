"""`cnnkit attack`."""

from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.common import (
    BatchSize,
    ChannelOrder,
    Data,
    DataDir,
    Device,
    ForeignShape,
    Json,
    Labels,
    Mean,
    ModelArgument,
    Pixels,
    Preprocess,
    Scores,
    SkipDamaged,
    Split,
    Std,
    TrustCode,
    emit,
    foreign_options,
    names,
    offer,
    require_suffix,
)
from cnnkit.cli.signals import StopRequest, name_of
from cnnkit.errors import StoppedError, UsageError
from cnnkit.files import require_writable


def command(
    context: typer.Context,
    model: ModelArgument,
    *,
    data: Data = None,
    split: Split = None,
    data_dir: DataDir = None,
    skip_damaged: SkipDamaged = False,
    only: Annotated[
        str | None,
        typer.Option(
            help="What to do: some of corruptions,fgsm,pgd,flip,fooling. Default: all that are possible.",
            autocompletion=offer("corruptions", "fgsm", "pgd", "flip", "fooling"),
        ),
    ] = None,
    norm: Annotated[
        str | None,
        typer.Option(
            help="Norm of fgsm and pgd, linf or l2. Default: both; with --epsilon, linf.",
            autocompletion=offer("linf", "l2"),
        ),
    ] = None,
    epsilon: Annotated[
        str | None, typer.Option(help="Radii of fgsm and pgd, pixels counted as 0 to 1, as in 0.1 or 4/255,8/255.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of pgd. Default: 20.", min=1)] = None,
    step_size: Annotated[
        float | None, typer.Option(help="Length of a step of pgd.", show_default="the radius, shrinking to nothing")
    ] = None,
    restarts: Annotated[
        int | None, typer.Option(help="Random places that pgd begins at, for each loss. Default: 1.", min=1)
    ] = None,
    images: Annotated[int, typer.Option(help="Images to change, chosen by seed; 0: all of the split.", min=0)] = 1000,
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL", help="Class to make a fooling image for; may be repeated. Default: all."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the choice, the noise and the directions.", min=0)] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Write the changed images here, as PNG.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the curves to this PNG.")] = None,
    batch_size: BatchSize = 256,
    labels: Labels = None,
    input: ForeignShape = None,
    pixels: Pixels = None,
    mean: Mean = None,
    std: Std = None,
    channel_order: ChannelOrder = None,
    preprocess: Preprocess = None,
    scores: Scores = None,
    trust_code: TrustCode = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Measure how easily a network is fooled.

    Accuracy under eight corruptions in five severities each; upper bounds of the robust accuracy by radius, under FGSM
    and PGD, counted on whole pixels read back from PNG; the smallest corruption that flips each image; and an image of
    nothing for each class. Images are changed as the network sees them. ONNX files do all that needs no gradients.
    """
    from cnnkit.render import console, plots, progress, robustness
    from cnnkit.robustness.attack import attack

    require_suffix(plot, ".png", "--plot")
    if plot is not None:
        require_writable(plot.parent)
    if plot is not None or output is not None:
        plots.require_matplotlib()
    parts = names(only)
    if plot is not None and parts == ("fooling",):
        raise UsageError("--plot draws curves, and fooling has none; -o DIR writes its images.")
    with StopRequest() as stop:
        found = attack.steps(
            model,
            data=data,
            split=split,
            data_dir=data_dir,
            skip_damaged=skip_damaged,
            only=parts,
            norms=names(norm),
            epsilons=_radii(epsilon),
            steps=steps,
            step_size=step_size,
            restarts=restarts,
            images=images,
            targets=target or None,
            seed=seed,
            output=output,
            device=device,
            batch_size=batch_size,
            trust_code=trust_code,
            stop=stop.wanted,
            **foreign_options(context),
        )
        result = progress.follow(found, f"attacking {model}")
    if not context.obj["json"]:
        # Before the files, so that one that cannot be written takes nothing with it.
        robustness.show(result)
    if output is not None:
        sheets = robustness.write_sheets(result, output)
        console.undrawn(robustness.captions(result))
        if sheets:
            console.note(f"images: {output}; at a glance: {', '.join(path.name for path in sheets)}")
    if plot is not None and (result.corruptions or result.attacks or result.flips):
        robustness.plot(result, plot)
        console.note(f"plot: {plot}")
    if stop.signal:
        raise StoppedError(f"stopped by {name_of(stop.signal)}", signal=stop.signal, result=result)
    if context.obj["json"]:
        emit(context, result, robustness.show)


def _radii(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(_fraction(part) for part in text.split(","))
    except (ValueError, ZeroDivisionError):
        raise UsageError(
            f"--epsilon {text!r}: expected numbers separated by commas, as in 0.05,0.1 or 4/255,8/255."
        ) from None


def _fraction(text: str) -> float:
    above, line, below = text.partition("/")
    return float(above) / float(below) if line else float(above)
