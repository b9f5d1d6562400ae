"""Finding out how little it takes to fool a network."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnkit import registry
from cnnkit.api.classifying import load
from cnnkit.errors import UsageError
from cnnkit.files import expanded
from cnnkit.results import result_of
from cnnkit.results.robustness import GRADIENT_ATTACKS, PARTS

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from cnnkit.results import AttackProgress, LoadNote, LoadProgress, Robustness
    from cnnkit.results.robustness import Norm, Part


def attack(
    ref: str | Path,
    *,
    data: str | None = None,
    split: Any = None,
    data_dir: str | Path | None = None,
    only: "Sequence[Part] | None" = None,
    norms: "Sequence[Norm] | None" = None,
    epsilons: "Sequence[float] | None" = None,
    steps: int = 20,
    step_size: float | None = None,
    images: int = 1000,
    seed: int = 0,
    output: str | Path | None = None,
    device: str = "auto",
    batch_size: int = 256,
    trust_code: bool = False,
    labels: str | Path | None = None,
    mean: "Sequence[float] | None" = None,
    std: "Sequence[float] | None" = None,
    preprocess: Any = None,
) -> "Robustness":
    """Corrupt and attack images until a trained network is wrong; see `cnnkit.robustness.attack`.

    Args:
        ref: model reference. ONNX files run on onnxruntime, all else on PyTorch, which gives the gradients.
        data, split, data_dir: the images, as for `evaluate`.
        only: `corruptions`, `fgsm`, `pgd`, `flip`, `fooling`; None for all that the network allows.
        norms: `linf`, `l2`: that fgsm and pgd are measured by; None for both, and for `linf` where radii are given.
        epsilons: their radii, in pixels scaled to [0, 1].
        steps, step_size: of pgd.
        images: chosen by seed; 0 for all of the split.
        seed: of the choice and of all that is random.
        output: folder for the changed images, as PNG files.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        batch_size: images that go through the network together.
        trust_code: import the network that a checkpoint's card names as `module:factory`.
        labels, mean, std, preprocess: for an ONNX file without a card, as for `load`.

    Raises:
        UsageError: options that make no sense, or gradients asked of what has none.
        DataError: no data set named by anything, an empty split, or other classes than the network's.
        OutputError: the folder cannot be written.

    >>> import cnnkit
    >>> found = cnnkit.attack("shapes-cnn", data="shapes", only=["pgd"], epsilons=[0.1], images=50)
    >>> found.attacks[0].accuracies[0] < found.accuracy
    True
    """
    return result_of(
        attack_steps(
            ref,
            data=data,
            split=split,
            data_dir=data_dir,
            only=only,
            norms=None if norms is None else tuple(norms),
            epsilons=None if epsilons is None else tuple(epsilons),
            steps=steps,
            step_size=step_size,
            images=images,
            seed=seed,
            output=expanded(output),
            device=device,
            batch_size=batch_size,
            trust_code=trust_code,
            foreign={"labels": labels, "mean": mean, "std": std, "preprocess": preprocess},
        )
    )


def attack_steps(
    ref: str | Path,
    *,
    only: "Sequence[Part] | None" = None,
    data: str | None = None,
    split: Any = None,
    data_dir: str | Path | None = None,
    device: str = "auto",
    trust_code: bool = False,
    foreign: dict[str, Any] | None = None,
    **options: Any,
) -> "Generator[LoadProgress | LoadNote | AttackProgress, None, Robustness]":
    """Do what `attack` does, and yield how far it is; `foreign` are the options for files without a card."""
    from cnnkit.robustness.attack import AttackOptions, attack_network

    text, notes = str(ref), list[str]()
    given = tuple(PARTS if only is None else only)
    by_gradient = [part for part in given if part in GRADIENT_ATTACKS]
    if registry.resolve(text).kind != "onnx":
        from cnnkit.runtime.classifier import Classifier
        from cnnkit.training.networks import TorchNetwork, choose_device, load_network

        if any(value is not None for value in (foreign or {}).values()):
            load(text, **(foreign or {}))  # says that these options are for files without a card
        chosen = AttackOptions(only=given, **options)
        network, card = load_network(text, trust_code=trust_code)
        classifier = Classifier(TorchNetwork(network, card, device), text)
        place = choose_device(device)
        return attack_network(
            classifier, network, chosen, data=data, split=split, data_dir=expanded(data_dir), device=place
        )
    why = f"fgsm and pgd follow gradients, which an ONNX file has none of: name the run or the zoo entry of {text}"
    if only is not None and by_gradient:
        raise UsageError(f"{why}.")
    if by_gradient:
        notes.append(why)
        given = tuple(part for part in given if part not in GRADIENT_ATTACKS)
    chosen = AttackOptions(only=given, **options)
    classifier = load(text, device=device, **(foreign or {}))
    return attack_network(
        classifier, None, chosen, data=data, split=split, data_dir=expanded(data_dir), notes=tuple(notes)
    )
