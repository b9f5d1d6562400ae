"""Whole attacks on real networks: what counts is what lies in the folder."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import cnnkit
from cnnkit.card import ModelCard
from cnnkit.errors import DataError, OutputError, UsageError
from cnnkit.images import Preprocessing
from cnnkit.models.networks import TorchNetwork
from cnnkit.operation import result_of
from cnnkit.pictures import decode
from cnnkit.progress import Notice
from cnnkit.robustness.options import EPSILONS, AttackOptions
from cnnkit.robustness.results import CORRUPTIONS, PARTS, Robustness
from cnnkit.robustness.searching import reachable
from cnnkit.runtime.classifier import Classifier
from tests.expecting import expect_error


def attack(ref: Path | str, *only: Any, **options: Any) -> Robustness:
    return cnnkit.attack(ref, only=only or None, device="cpu", **options)


def pixels(path: Path | None) -> np.ndarray:
    assert path is not None
    return np.asarray(decode(path)[0], np.int64)


@pytest.fixture(scope="module")
def whole(photos_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Robustness:
    """Everything on the four test images of `photos`."""
    return attack(photos_run, split="all", images=12, output=tmp_path_factory.mktemp("attack"), steps=5)


@pytest.mark.slow
def test_all_parts_are_there(whole: Robustness) -> None:
    assert (whole.images, whole.accuracy, whole.data, whole.split, whole.notes) == (12, 1.0, "photos", "all", ())
    assert [curve.name for curve in whole.corruptions] == list(CORRUPTIONS)
    assert [(a.attack, a.norm, a.steps) for a in whole.attacks] == [
        ("fgsm", "linf", 1), ("pgd", "linf", 5), ("fgsm", "l2", 1), ("pgd", "l2", 5),
    ]  # fmt: skip
    assert [search.name for search in whole.flips] == list(CORRUPTIONS)
    assert whole.fooling is not None
    assert whole.fooling.method == "gradient"
    for curve in whole.corruptions:
        assert len(curve.accuracies) == len(curve.amounts) == len(curve.samples) == 5
    for found in whole.attacks:
        assert found.epsilons == EPSILONS[found.norm]
        assert found.step_sizes == tuple(reachable(epsilon, found.norm) for epsilon in found.epsilons)


def test_what_fools_is_in_the_folder_and_within_its_ball(whole: Robustness, photos_run: Path) -> None:
    import cnnkit

    network = cnnkit.load(photos_run, device="cpu").network
    examples = [(found, image) for found in whole.attacks for image in found.examples]
    assert len(examples) >= 20
    for found, image in examples:
        original, changed = pixels(image.original), pixels(image.changed)
        moved = (changed - original) / 255
        far = np.abs(moved).max() if found.norm == "linf" else np.sqrt(np.square(moved).sum())
        assert 0 < far <= image.strength + 1e-9
        answer = network.card.labels[network.logits(changed.astype(np.uint8)[None, ..., None]).argmax()]
        assert answer == image.taken_for != image.label


def test_ten_at_most_are_kept_and_all_that_fool_are_counted(whole: Robustness) -> None:
    for found in whole.attacks:
        for epsilon, accuracy in zip(found.epsilons, found.accuracies, strict=True):
            kept = [image for image in found.examples if image.strength == epsilon]
            assert len(kept) == min(10, round(12 * (1 - accuracy)))


def worst(weights: np.ndarray, norm: str, epsilon: float) -> float:
    """How much an attack can take from the margin of a linear network at most."""
    return epsilon * (np.abs(weights).sum() if norm == "linf" else np.sqrt(np.square(weights).sum()))


def test_no_attack_gets_more_out_of_a_linear_network_than_there_is(
    whole: Robustness, photos_run: Path, photos: Path
) -> None:
    from cnnkit.images import prepare
    from cnnkit.sources import find

    network, card = find(str(photos_run)).weights()
    weight, bias = (p.detach().double().numpy() for p in network.parameters())
    difference, offset = (weight[1] - weight[0]) / card.preprocessing.std[0], bias[1] - bias[0]
    margins = []
    for path in sorted(photos.rglob("*.png")):
        seen = prepare(path, card.preprocessing).pixels.reshape(-1) / 255
        margin = difference @ seen - difference.sum() * card.preprocessing.mean[0] + offset
        margins.append(abs(margin))
    for found in whole.attacks:
        for epsilon, accuracy in zip(found.epsilons, found.accuracies, strict=True):
            out_of_reach = np.mean([margin > worst(difference, found.norm, epsilon) for margin in margins])
            if out_of_reach in {0.0, 1.0}:
                assert accuracy >= out_of_reach


def test_the_same_seed_gives_the_same_result(photos_run: Path) -> None:
    first, again, other = (
        attack(photos_run, "pgd", "flip", split="all", images=6, epsilons=[0.3], seed=seed) for seed in (3, 3, 4)
    )
    assert (first.attacks, first.flips) == (again.attacks, again.flips)
    assert first.flips[0].numbers != other.flips[0].numbers


def test_a_larger_batch_changes_nothing_of_the_corruptions(photos_run: Path) -> None:
    parts = [attack(photos_run, "corruptions", "flip", split="all", images=8, batch_size=size) for size in (5, 256)]
    assert parts[0].corruptions == parts[1].corruptions
    assert parts[0].flips == parts[1].flips


def test_a_file_does_all_but_what_needs_gradients_and_says_so(photos_onnx: Path) -> None:
    found = attack(photos_onnx, split="all")
    assert (found.attacks, found.engine) == ((), "onnxruntime CPU")
    assert len(found.corruptions) == len(found.flips) == 8
    assert found.fooling is not None
    assert (found.fooling.method, found.fooling.fooled) == ("evolution", 2)
    assert [note.partition(",")[0] for note in found.notes] == ["fgsm and pgd follow gradients"]


def test_fooling_alone_needs_no_images(photos_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = attack(photos_onnx, "fooling", data="nowhere")
    assert (found.images, found.accuracy, found.data) == (0, None, None)


def test_file_and_run_are_corrupted_alike(photos_run: Path, photos_onnx: Path) -> None:
    run, file = (attack(ref, "corruptions", split="all") for ref in (photos_run, photos_onnx))
    assert run.corruptions == file.corruptions


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"only": ("pgd", "cw")}, "--only 'pgd,cw'"),
    ({"only": ()}, "--only ''"),
    ({"norms": ("l1",)}, "--norm 'l1'"),
    ({"norms": ("linf", "l2"), "epsilons": (0.1,)}, "--epsilon"),
    ({"steps": 0}, "--steps 0"),
    ({"restarts": 0}, "--restarts 0"),
    ({"images": -1}, "--images -1"),
    ({"seed": -1}, "--seed -1"),
    ({"batch_size": 0}, "--batch-size 0"),
    ({"step_size": 0.0}, "--step-size 0"),
    ({"step_size": math.nan}, "--step-size nan"),
    ({"only": ("fgsm", "flip"), "step_size": 0.1}, "--step-size"),
    ({"only": ("fgsm",), "steps": 40}, "--steps"),
    ({"only": ("fgsm",), "restarts": 4}, "--restarts"),
    ({"only": ("flip",), "epsilons": (0.1,)}, "--epsilon"),
    ({"only": ("fooling",), "norms": ("l2",)}, "--norm"),
]


@pytest.mark.parametrize(("options", "option"), WRONG, ids=str)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], option: str) -> None:
    with expect_error(UsageError, option):
        AttackOptions(**options)


@pytest.mark.parametrize(
    ("norm", "epsilon"), [("linf", 0.0), ("linf", 1.01), ("linf", -0.1), ("linf", math.nan), ("l2", 28.1)]
)
def test_a_radius_that_no_two_images_have_between_them_is_refused(photos_run: Path, norm: Any, epsilon: float) -> None:
    with expect_error(UsageError, "--epsilon"):
        attack(photos_run, "fgsm", norms=[norm], epsilons=[epsilon])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_radius_in_which_no_pixel_can_change_is_refused(photos_run: Path, norm: Any) -> None:
    with expect_error(UsageError, "--epsilon 0.0039", "1/255"):
        attack(photos_run, "fgsm", norms=[norm], epsilons=[0.0039])
    (least,) = attack(photos_run, "fgsm", norms=[norm], epsilons=[1 / 255], split="all").attacks
    assert least.epsilons == (1 / 255,)


def test_a_network_without_gradients_is_refused_before_the_work(photos: Path) -> None:
    module = nn.Sequential(nn.AdaptiveAvgPool2d((1, 2)), nn.Flatten(), nn.Threshold(99.0, 0.0))
    card = ModelCard("net", ("dark", "light"), Preprocessing(1, 6, 6, (0.0,), (1.0,)))
    steps = cnnkit.attack.steps(Classifier(TorchNetwork(module, card, "cpu"), "net"), data=str(photos))
    seen = []
    with expect_error(UsageError, "net"):
        seen.extend(getattr(step, "what", "") for step in steps)
    assert not [what for what in seen if what.startswith("corrupting")]


def test_images_without_a_gradient_are_said_in_notes_and_warnings(photos: Path) -> None:
    class Clipped(nn.Module):
        """Rounds where an image is light, so that only the dark ones have a gradient."""

        def forward(self, images: Tensor) -> Tensor:
            light = images.mean((1, 2, 3)) - 0.5
            light = torch.where(light > 0, light.round(decimals=2), light)
            return torch.stack([-light, light], 1)

    card = ModelCard("net", ("dark", "light"), Preprocessing(1, 6, 6, (0.0,), (1.0,)))
    options = {"only": ("fgsm", "pgd"), "norms": ("linf",), "epsilons": (0.004, 0.5), "steps": 3, "data": str(photos)}
    classifier = Classifier(TorchNetwork(Clipped(), card, "cpu"), "net")
    steps = list[Any]()
    found = result_of(cnnkit.attack.steps(classifier, **options), steps.append)
    assert found.accuracy is not None
    for attacked in found.attacks:
        assert attacked.without_gradient == (round(found.images / 2),) * 2
        assert attacked.accuracies == (found.accuracy, 0.5)
    (note,) = found.notes
    assert note == found.warnings[-1]
    assert f"under fgsm and pgd, up to {found.images // 2} of {found.images} images count as right only because" in note
    assert [step.text for step in steps if isinstance(step, Notice) and step.warning][-1:] == [note]
    # And of what was finished where the rest was stopped.
    seen = list[Any]()
    less = cnnkit.attack.steps(classifier, **options, stop=lambda: any("pgd" in str(s) for s in seen))
    stopped = result_of(less, seen.append)
    assert [attacked.attack for attacked in stopped.attacks] == ["fgsm"]
    assert "under fgsm, up to" in stopped.notes[-1] == stopped.warnings[-1] == seen[-1].text


def test_gradients_of_a_file_are_refused_by_name(photos_onnx: Path) -> None:
    with expect_error(UsageError, "ONNX"):
        attack(photos_onnx, "pgd", "flip")


def test_a_folder_that_cannot_be_written_is_found_before_the_work(photos_run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with expect_error(OutputError):
        attack(photos_run, "flip", output=tmp_path / "file" / "deep", data="nowhere")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_data_set_without_labels_is_refused(photos_run: Path, photos: Path) -> None:
    with expect_error(DataError, "class folders"):
        attack(photos_run, "flip", data=str(photos / "dark"))


def test_all_parts_have_a_default() -> None:
    assert AttackOptions().only == PARTS
    assert AttackOptions().measures == ("linf", "l2")
    assert AttackOptions(epsilons=(0.1,)).measures == ("linf",)
