"""Measuring how easily a network is fooled."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from cnnkit.errors import UsageError
from cnnkit.files import expanded
from cnnkit.loading import load
from cnnkit.operation import result_of
from cnnkit.results.robustness import GRADIENT_ATTACKS, PARTS
from cnnkit.runtime.classifier import Classifier, OnnxNetwork
from cnnkit.runtime.foreign.options import Described

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from cnnkit.results import LoadNote, LoadProgress, Robustness, WorkProgress
    from cnnkit.results.robustness import Norm, Part


def attack(
    ref: str | Path,
    *,
    data: str | None = None,
    split: Any = None,
    data_dir: str | Path | None = None,
    skip_damaged: bool = False,
    only: "Sequence[Part] | None" = None,
    norms: "Sequence[Norm] | None" = None,
    epsilons: "Sequence[float] | None" = None,
    steps: int | None = None,
    step_size: float | None = None,
    restarts: int | None = None,
    images: int = 1000,
    targets: "Sequence[str] | None" = None,
    seed: int = 0,
    output: str | Path | None = None,
    device: str = "auto",
    batch_size: int = 256,
    trust_code: bool = False,
    **foreign: Unpack[Described],
) -> "Robustness":
    """Corrupt and attack images until a trained network is wrong; see `cnnkit.robustness.attack`.

    Args:
        ref: model reference. ONNX files run on onnxruntime, all else on PyTorch, which gives the gradients.
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
        foreign: how to use an ONNX file without a card, as for `load`.

    Raises:
        UsageError: options that make no sense, or gradients asked of what has none.
        UnknownNameError: no such model, or no such class.
        DataError: no data set named by anything, an empty split, or other classes than the network's.
        OutputError: the folder cannot be written.

    >>> import cnnkit
    >>> found = cnnkit.attack("shapes-cnn", data="shapes", only=["pgd"], epsilons=[0.1], images=50)
    >>> found.attacks[0].accuracies[0] < found.accuracy
    True
    """
    return result_of(
        attack_steps(
            load(ref, device=device, trust_code=trust_code, torch=True, **foreign),
            data=data,
            split=split,
            data_dir=expanded(data_dir),
            skip_damaged=skip_damaged,
            only=only,
            norms=None if norms is None else tuple(norms),
            epsilons=None if epsilons is None else tuple(epsilons),
            steps=steps,
            step_size=step_size,
            restarts=restarts,
            images=images,
            targets=None if targets is None else tuple(targets),
            seed=seed,
            output=expanded(output),
            batch_size=batch_size,
        )
    )


def attack_steps(
    classifier: Classifier,
    *,
    only: "Sequence[Part] | None" = None,
    data: str | None = None,
    split: Any = None,
    data_dir: Path | None = None,
    skip_damaged: bool = False,
    stop: "Callable[[], bool] | None" = None,
    **options: Any,
) -> "Generator[LoadProgress | LoadNote | WorkProgress, None, Robustness]":
    """Do what `attack` does with a loaded classifier, and yield how far it is; end early where `stop` says so."""
    from cnnkit.robustness.attack import AttackOptions, attack_network

    given, notes = tuple(PARTS if only is None else only), list[str]()
    by_gradient = [part for part in given if part in GRADIENT_ATTACKS]
    if by_gradient and isinstance(classifier.network, OnnxNetwork):
        why = (
            "fgsm and pgd follow gradients, which an ONNX file has none of: name the run or the zoo entry of "
            f"{classifier.name}"
        )
        if only is not None:
            raise UsageError(f"{why}.")
        notes.append(why)
        given = tuple(part for part in given if part not in GRADIENT_ATTACKS)
    chosen = AttackOptions(only=given, **options)
    found = yield from attack_network(
        classifier,
        chosen,
        data=data,
        split=split,
        data_dir=data_dir,
        skip_damaged=skip_damaged,
        notes=tuple(notes),
        stop=stop,
    )
    return replace(found, assumptions=classifier.assumptions)
