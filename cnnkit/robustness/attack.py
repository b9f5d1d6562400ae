"""`cnnkit.attack`: how easily a network is fooled."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Unpack

from cnnkit.arguments import BatchSize, Data, DataDir, Device, SkipDamaged, Split, TrustCode
from cnnkit.data.options import Choice
from cnnkit.errors import UsageError
from cnnkit.files import expanded
from cnnkit.operation import operation, relayed
from cnnkit.options import Option, as_fraction
from cnnkit.robustness.options import EPSILONS, AttackOptions
from cnnkit.robustness.results import GRADIENT_ATTACKS, PARTS, FoolingSearch, Norm, Part, Robustness
from cnnkit.runtime.classifier import OnnxNetwork
from cnnkit.runtime.foreign.options import Described
from cnnkit.sources import Ref, find, load

if TYPE_CHECKING:
    from cnnkit.progress import Step, Steps


@operation
def attack(
    ref: Ref,
    *,
    data: Data = None,
    split: Split = None,
    data_dir: DataDir = None,
    skip_damaged: SkipDamaged = False,
    only: Annotated[
        Sequence[Part] | None,
        Option("What to do: some of {choices}. Default: all that are possible.", choices=lambda: PARTS, several=True),
    ] = None,
    norms: Annotated[
        Sequence[Norm] | None,
        Option(
            "Norm of fgsm and pgd, {choices}. Default: both; with --epsilon, linf.",
            flag="--norm",
            choices=lambda: EPSILONS,
            several=True,
        ),
    ] = None,
    epsilons: Annotated[
        Sequence[float] | None,
        Option(
            "Radii of fgsm and pgd, pixels counted as 0 to 1, as in 0.1 or 4/255,8/255.",
            flag="--epsilon",
            several=True,
            parse=as_fraction,
            expects="numbers separated by commas, as in 0.05,0.1 or 4/255,8/255",
        ),
    ] = None,
    steps: Annotated[int | None, Option("Steps of pgd. Default: 20.", ge=1)] = None,
    step_size: Annotated[
        float | None, Option("Length of a step of pgd.", default="the radius, shrinking to nothing")
    ] = None,
    restarts: Annotated[
        int | None, Option("Random places that pgd begins at, for each loss. Default: 1.", ge=1)
    ] = None,
    images: Annotated[int, Option("Images to change, chosen by seed; 0: all of the split.", ge=0)] = 1000,
    targets: Annotated[
        Sequence[str] | None,
        Option(
            "Class to make a fooling image for; may be repeated. Default: all.",
            flag="--target",
            metavar="LABEL",
            repeated=True,
        ),
    ] = None,
    seed: Annotated[int, Option("Seed of the choice, the noise and the directions.", ge=0)] = 0,
    output: Annotated[
        str | Path | None, Option("Write the changed images here, as PNG.", metavar="DIR", also=("-o",))
    ] = None,
    device: Device = "auto",
    batch_size: BatchSize = 256,
    trust_code: TrustCode = False,
    stop: Callable[[], bool] | None = None,
    **foreign: Unpack[Described],
) -> "Steps[Robustness]":
    """Corrupt and attack images until a trained network is wrong.

    Images are changed as the network sees them: what brings an image from outside to its form is not run again, except
    for the fooling images, which count as files.

    Args:
        ref: model reference, an `nn.Module`, or an open classifier. ONNX files run on onnxruntime, all else on PyTorch,
            which gives the gradients.
        data, split, data_dir, skip_damaged: the images, as for `evaluate`.
        only: `corruptions`, `fgsm`, `pgd`, `flip`, `fooling`; None for all that the network allows.
        norms: `linf`, `l2`: that fgsm and pgd are measured by; None for both, and for `linf` where radii are given.
        epsilons: their radii, in pixels scaled to [0, 1].
        steps, step_size, restarts: of pgd; None for 20 steps that shrink, from one random place.
        images: chosen by seed; 0 for all of the split.
        targets: labels of the classes that `fooling` makes an image for; None for all.
        seed: of the choice and of all that is random.
        output: folder for the changed images, as PNG files.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        batch_size: images that go through the network together.
        trust_code: import the network that a checkpoint's card names as `module:factory`.
        stop: asked between two steps; once it returns True, what was finished by then is all there is.
        foreign: how to use a network without a card, as for `load`.

    Raises:
        UsageError: options out of range or not for this network, or gradients of a network that has none.
        UnknownNameError: no such model, or no such class.
        DataError: no data set named by anything, an empty split, or other classes than the network's.
        CheckpointError: no weights, or the network gives scores that are not finite.
        OutputError: the folder cannot be written.

    >>> import cnnkit
    >>> found = cnnkit.attack("shapes-cnn", data="shapes", only=["pgd"], epsilons=[0.1], images=50)
    >>> found.attacks[0].accuracies[0] < found.accuracy
    True
    """
    options = AttackOptions(
        only=tuple(PARTS if only is None else only),
        norms=None if norms is None else tuple(norms),
        epsilons=None if epsilons is None else tuple(epsilons),
        steps=steps,
        step_size=step_size,
        restarts=restarts,
        images=images,
        targets=None if targets is None else tuple(targets),
        seed=seed,
        batch_size=batch_size,
        output=expanded(output),
        choice=Choice.of(data, split, data_dir, skip_damaged=skip_damaged),
    )
    classifier = load(ref, device=device, trust_code=trust_code, torch=True, **foreign)
    options = replace(options, choice=options.choice.near(find(ref).home))
    by_gradient, notes = not isinstance(classifier.network, OnnxNetwork), tuple[str, ...]()
    possible = tuple(part for part in options.only if by_gradient or part not in GRADIENT_ATTACKS)
    if possible != options.only:
        why = (
            "fgsm and pgd follow gradients, which an ONNX file has none of: name the run or the zoo entry of "
            f"{classifier.name}"
        )
        if only is not None:
            raise UsageError(f"{why}.")
        options, notes = replace(options, only=possible), (why,)
    from cnnkit.progress import Notice
    from cnnkit.robustness.curves import masked_gradients
    from cnnkit.robustness.fooling import CONFIDENCE
    from cnnkit.robustness.parts import Found, attack_in_parts

    started, found = time.monotonic(), Found()

    def unless_stopped(step: "Step") -> "Step":
        if stop is not None and stop():
            raise _StoppedError
        return step

    try:
        yield from relayed(attack_in_parts(classifier, options, found), unless_stopped)
    except _StoppedError:
        notes = (*notes, "stopped before all was done: what had not been finished is left out")
    subject = found.subject
    count = 0 if subject is None else len(subject.images)
    masked = masked_gradients(found.attacks, count)
    for note in masked:
        yield Notice(note, warning=True)
    fooling = FoolingSearch(CONFIDENCE, "gradient" if by_gradient else "evolution", tuple(found.fooling))
    return Robustness(
        model=classifier.name,
        engine=classifier.engine,
        data=found.data,
        split=found.split,
        images=count,
        seed=seed,
        accuracy=None if subject is None else float(subject.right.mean()),
        corruptions=tuple(found.corruptions),
        attacks=tuple(found.attacks),
        flips=tuple(found.flips),
        fooling=fooling if found.fooling else None,
        notes=(*notes, *masked),
        folder=options.output,
        seconds=time.monotonic() - started,
        warnings=(*found.warnings, *masked),
        split_images=found.split_images,
        assumptions=classifier.assumptions,
    )


class _StoppedError(Exception):
    """Somebody asked to stop."""
