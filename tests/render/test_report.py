"""A report as a page and in the terminal: what is there is shown, what is missing is said, words fit the numbers."""

import html
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.certificate import ParityCertificate
from cnnkit.data.results import Exposure, Pretraining
from cnnkit.errors import OutputError
from cnnkit.evaluation.results import CalibrationBin, ConfusedPair, Evaluation, Mistake, Mistakes
from cnnkit.inspection.results import LayerRow, ModelSummary
from cnnkit.pictures import encoded
from cnnkit.render import report
from cnnkit.render.report_words import recipe_sentences, sentences, warnings
from cnnkit.reporting.results import SECTIONS, LeftOut, Origin, Report
from cnnkit.robustness.results import CorruptionCurve, GradientAttack, Robustness
from cnnkit.runtime.results import Benchmark
from cnnkit.training.results import EpochRecord
from cnnkit.words import duration, sentence
from tests.expecting import expect_error

Captured = pytest.CaptureFixture[str]
Make = Callable[..., Report]
DIGITS = tuple("0123456789")


def picture(seed: int, side: int = 28) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (side, side, 1), np.uint8)


def records(losses: list[float], *, best: int) -> tuple[EpochRecord, ...]:
    return tuple(
        EpochRecord(i, 1 / i, 0.9, loss, 0.9, 0.001, 20.0, 2400.0, is_best=i <= best)
        for i, loss in enumerate(losses, 1)
    )


def calibrated(scores: Evaluation, confidence: float) -> Evaluation:
    low, high = (
        CalibrationBin(0.0, 0.5, 0, 0.0, 0.0),
        CalibrationBin(0.5, 1.0, scores.images, confidence, scores.accuracy),
    )
    return replace(scores, calibration=(low, high), calibration_error=abs(confidence - scores.accuracy))


@pytest.fixture
def make(make_evaluation: Callable[..., Evaluation], make_benchmark: Callable[..., Benchmark]) -> Make:
    """Return a full report on so many classes, with changes."""

    def build(labels: tuple[str, ...] = DIGITS, **changes: Any) -> Report:
        scores = replace(calibrated(make_evaluation(labels), 0.9), exposure=Exposure(known=True))
        wrong = Mistake("test[4]", labels[0], labels[1], 0.99, 0.01, None, picture(1))
        common = {
            "model": "net", "engine": "PyTorch CPU", "data": "photos", "split": "test", "images": 500, "seed": 0,
            "accuracy": 0.9, "flips": (), "fooling": None, "notes": (), "folder": None, "seconds": 1.0,
        }  # fmt: skip
        spoiled = tuple(
            CorruptionCurve(name, (0.1, 0.2, 0.3, 0.4, 0.5), "deviation", (0.9, 0.8, middle, 0.4, 0.2), ())
            for name, middle in (("noise", 0.61), ("blur", 0.72))
        )
        attacked = tuple(
            GradientAttack(name, "linf", 20, (0.02, 0.1), (0.0025, 0.0125), (0.8, last), ())
            for name, last in (("fgsm", 0.5), ("pgd", 0.123))
        )
        png, layer = encoded(picture(2)), LayerRow("conv", "Conv2d", 1, (8, 28, 28), 80, 56448, True)
        whole = Report(
            model="runs/net-photos-1",
            is_run=True,
            made="2026-02-03",
            origin=Origin(
                network="net",
                labels=labels,
                input_shape=(1, 28, 28),
                trained=True,
                dataset="photos",
                fingerprint="ab" * 32,
                recipe={
                    "model": "net",
                    "data": "photos",
                    "epochs": 3,
                    "learning_rate": 0.001,
                    "ema": 0.0,
                    "decay_epochs": 30,
                    "schedule": "constant",
                    "input_shape": [1, 28, 28],
                    "compile": True,
                },
                splits={"train": 480, "validation": 120, "test": 100},
                metrics={},
                versions={"torch": "2.15.0"},
                weights_sha256="cd" * 32,
                size_mb=0.0876,
                saved="2026-02-01",
                hardware="CPU, 8 threads",
            ),
            parameters=21578,
            records=records([0.9, 0.5, 0.4], best=3),
            evaluation=scores,
            mistakes=Mistakes(
                "net",
                "photos",
                "test",
                "PyTorch CPU",
                scores.images,
                False,
                10,
                scores.accuracy,
                (wrong,),
                (ConfusedPair(labels[0], labels[1], 1, 0.1, (picture(1),)),),
                0,
                (),
                0,
                "",
                "no folder",
                {},
                1.0,
            ),
            corruptions=Robustness(corruptions=spoiled, attacks=(), **common),
            attacks=Robustness(corruptions=(), attacks=attacked, **common),
            certificate=ParityCertificate(
                "100 images of photos, test",
                (1, 2, 7),
                4e-6,
                1e-6,
                0.04,
                1.0,
                1e-4,
                {"torch": "2.15.0", "onnxruntime": "1.31.1"},
                images_count=100,
                weights_sha256="cd" * 32,
            ),
            onnx_mb=0.0915,
            onnx_made=True,
            benchmark=make_benchmark("alone"),
            layers=ModelSummary("net", (1, 28, 28), 1, (layer,), 80, 80, 56448, 0.1),
            left_out=(),
            versions={"cnnkit": "0.1.0"},
            seconds=9.0,
            samples={"noise": (png,) * 5},
            examples=((labels[0], png, labels[1], png),),
        )
        return replace(whole, **changes)

    return build


NOTHING = {
    "records": (), "evaluation": None, "mistakes": None, "corruptions": None, "attacks": None, "certificate": None,
    "benchmark": None, "layers": None, "parameters": None, "onnx_mb": None, "samples": {}, "examples": (),
}  # fmt: skip


def without_all(found: Report, reason: str) -> Report:
    return replace(found, **NOTHING, left_out=tuple(LeftOut(name, reason) for name in SECTIONS))


@pytest.mark.parametrize("kind", ["usual", "nothing", "long", "many", "long-training"])
def test_the_page_stands_alone_in_a_browser(
    kind: str, make: Make, stands_alone: Callable[[Path], str], tmp_path: Path
) -> None:
    found = {
        "usual": make,
        "nothing": lambda: without_all(make(), "<b>nothing</b> is known of it"),
        "long": lambda: make(tuple(f"{i} a label\u202e that is <b>quite</b> long " * 3 for i in range(12))),
        "many": lambda: make(tuple(f"class {i}" for i in range(120))),
        "long-training": lambda: make(records=records([1 / i for i in range(1, 200)], best=150)),
    }[kind]()
    report.write(found, tmp_path / "report.html")
    text = stands_alone(tmp_path / "report.html")
    assert "net on photos" in text
    assert ("This part is missing: <b>nothing</b> is known of it." in text) == (kind == "nothing")
    assert text.count("missing for the same reason") == (len(SECTIONS) - 1 if kind == "nothing" else 0)


def test_every_section_has_its_heading_and_a_link_to_it(make: Make) -> None:
    page = report.page(make())
    anchors = re.findall(r'<section id="([^"]+)"', page)
    links = re.findall(r'<a href="#([^"]+)">', page)
    assert len(links) == len(SECTIONS)
    assert links == anchors[1:]


def test_a_section_that_was_not_asked_for_is_only_listed(make: Make) -> None:
    page = report.page(make(benchmark=None, left_out=(LeftOut("benchmark", "it was not asked for"),)))
    assert "How fast it is" not in page
    assert "Not asked for: benchmark." in page


def test_the_terminal_says_what_it_comes_to(make: Make, golden: Callable[[str, str], None], capsys: Captured) -> None:
    report.show(make(left_out=(LeftOut("layers", "they are secret"), LeftOut("usage", "it was not asked for"))))
    report.show(without_all(make(), "nothing is known of it"))
    golden("report", capsys.readouterr().out)


def test_a_certificate_that_did_not_pass_is_said(make: Make) -> None:
    proof = make().certificate
    assert proof is not None
    found = make(certificate=replace(proof, top1_agreement=0.9))
    assert "does NOT give the answers of PyTorch" in " ".join(sentences(found))
    assert '<span class="bad">failed</span>. cnnkit verify' in report.page(found)


@pytest.mark.parametrize(
    ("confidence", "words"),
    [
        (0.9, "Its probabilities fit: 90% on average"),
        (0.97, "It is too sure of itself: its answers get a probability of 97% on average, and 90%"),
        (0.7, "It is less sure of itself than it could be"),
    ],
)
def test_what_is_said_of_its_confidence(confidence: float, words: str, make: Make) -> None:
    scores = make().evaluation
    assert scores is not None
    assert words in " ".join(sentences(make(evaluation=calibrated(scores, confidence))))


def test_a_network_that_is_sure_at_the_wrong_times_is_not_praised(make: Make) -> None:
    scores = make().evaluation
    assert scores is not None
    halves = (CalibrationBin(0.0, 0.9, 50, 0.85, 0.95), CalibrationBin(0.9, 1.0, 50, 0.95, 0.85))
    found = replace(scores, calibration=halves, calibration_error=0.1)
    assert "but not one by one" in " ".join(sentences(make(evaluation=found)))


def test_images_without_a_gradient_are_warned_of_and_counted(make: Make) -> None:
    found = make()
    assert found.attacks is not None
    assert "No gradient" not in report.page(found)
    note = "some count as right because no loss has a gradient there"
    flat = tuple(replace(attack, without_gradient=(0, 1234)) for attack in found.attacks.attacks)
    page = report.page(replace(found, attacks=replace(found.attacks, attacks=flat, notes=(note,))))
    assert [text in page for text in (f"S{note[1:]}.", "No gradient, PGD", "1,234", "upper bound")] == [True] * 4


def test_what_is_said_of_mistakes_and_of_none(make: Make) -> None:
    said = " ".join(sentences(make()))
    assert "Of 100 test images, which it had not seen, it gets 90% right and 10 wrong." in said
    assert "It most often takes 0 for 1: 1 of 10 images." in said
    assert "noise hurts most, leaving 61% right, and blur least, leaving 72%" in said
    assert "by 2% of the range from black to white leaves at most 80% right; by 10%, at most 12%" in said
    scores = make().evaluation
    assert scores is not None
    perfect = tuple(tuple(10 * (i == j) for j in range(10)) for i in range(10))
    said = " ".join(sentences(make(evaluation=replace(scores, confusion=perfect, accuracy=1.0, data="others"))))
    assert "It gets all 100 test images of others, which it had not seen, right." in said
    assert "most often" not in said


@pytest.mark.parametrize(
    "exposure",
    [Exposure(), Exposure(known=True, trained=1), Exposure(known=True, validated=1), Exposure(True, 0, 0, "unknown")],
)
def test_that_images_were_not_seen_is_said_only_where_it_is_proven(exposure: Exposure, make: Make) -> None:
    scores = make().evaluation
    assert scores is not None
    said = " ".join(sentences(make(evaluation=replace(scores, exposure=exposure))))
    assert "Of 100 test images it gets 90% right and 10 wrong." in said
    assert "not seen" not in said


@pytest.mark.parametrize(
    ("losses", "best", "words"),
    [
        ([0.9, 0.5, 0.4], 3, "It was the last one: more epochs may do better."),
        ([0.9, 0.4, 0.8], 2, "begun to learn its images by heart"),
        ([0.9, 0.4, 0.4], 2, ""),
    ],
)
def test_what_is_read_from_the_curves(losses: list[float], best: int, words: str, make: Make) -> None:
    page = report.page(make(records=records(losses, best=best)))
    assert f"of 3 epochs, by accuracy on the validation images, is number {best}" in page
    for said in ("more epochs may do better", "learn its images by heart"):
        assert (said in page) == (said in words)


def test_long_trainings_show_the_first_epochs_the_best_and_the_last(make: Make) -> None:
    page = report.page(make(records=records([1 / i for i in range(1, 51)], best=40)))
    table = page[page.index("The first epochs, the best and the last of 50") :]
    assert re.findall(r'<th scope="row">([^<]+)</th>', table[: table.index("</table>")]) == [
        "1", "2", "3", "40 (best)", "50",
    ]  # fmt: skip


def test_of_the_recipe_stands_what_counts(make: Make) -> None:
    page = report.page(make())
    assert '<th scope="row">learning rate</th><td>0.001</td>' in page
    assert '<th scope="row">input shape</th><td>1×28×28</td>' in page
    assert '<th scope="row">compile</th><td>yes</td>' in page
    assert "decay epochs" not in page
    assert '<th scope="row">ema</th>' not in page


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({}, []),
        ({"limit_batches": 2}, []),
        (
            {"optimizer": "adam", "learning_rate": 0.001, "schedule": "constant", "batch_size": 64, "epochs": 3},
            ["Adam with a learning rate of 0.001, in batches of 64, for at most 3 epochs."],
        ),
        (
            {
                "weights": "torchvision/resnet18", "freeze": True, "optimizer": "sgd", "learning_rate": 0.1,
                "schedule": "step", "decay_epochs": 30, "decay_factor": 0.1, "momentum": 0.9, "weight_decay": 0.0005,
                "epochs": 90, "augmentation": "crops", "mixup": 0.2, "loss": "cross-entropy", "label_smoothing": 0.1,
            },
            [
                "It started from the weights of torchvision/resnet18; only its head was trained.",
                "SGD with a learning rate of 0.1, times 0.1 every 30 epochs, momentum 0.9 and weight decay 0.0005, "
                "for at most 90 epochs.",
                "The training images are varied in each epoch (crops) and mixed in pairs (mixup, alpha 0.2).",
                "The loss is cross-entropy, with labels smoothed by 0.1.",
            ],
        ),
    ],
)  # fmt: skip
def test_the_recipe_in_words(recipe: dict[str, Any], words: list[str]) -> None:
    assert list(recipe_sentences(recipe)) == words


def test_the_first_paragraph_is_short_and_the_rest_is_a_list(make: Make) -> None:
    page = report.page(make())
    lead = page[page.index('<p class="lead">') :]
    lead = lead[: lead.index("</p>")]
    assert lead.count(". ") == 2
    listed = page[page.index('<ul class="findings">') :]
    assert listed[: listed.index("</ul>")].count("<li>") == len(list(sentences(make()))) - 3


def test_what_takes_value_from_the_numbers_is_said_first(make: Make) -> None:
    found = make()
    assert list(warnings(found)) == []
    dry = replace(found.origin, trained=False, recipe={"limit_batches": 2})
    said = " ".join(warnings(replace(found, origin=dry)))
    assert "random" in said
    # What the evaluation and the mistakes found says the rest, in their own warnings.
    assert "dry run" not in said
    said = " ".join(warnings(replace(found, origin=dry, evaluation=None, mistakes=None)))
    assert "random" in said
    assert "a dry run, of 2 batches an epoch" in said


def test_what_two_sections_warn_of_is_said_once(make: Make) -> None:
    texts = ("photos has no test set; these are validation figures", "the weights are those of a dry run, of 2 batches")
    scores, mistakes = make().evaluation, make().mistakes
    assert scores is not None
    assert mistakes is not None
    found = make(
        evaluation=replace(scores, split="validation", warnings=texts), mistakes=replace(mistakes, warnings=texts)
    )
    found = replace(found, origin=replace(found.origin, recipe={"limit_batches": 2}))
    assert list(warnings(found)) == [sentence(text) for text in texts]
    assert "There is no test set" not in report.page(found)
    # Without these sections, it is said all the same.
    (said,) = warnings(replace(found, evaluation=None, mistakes=None))
    assert said == "The weights are those of a dry run, of 2 batches an epoch, so no figure of them counts."


@pytest.mark.parametrize(
    ("known", "overlap", "words"),
    [
        (False, {}, ["Pretraining data unknown: it began with the weights of torchvision/resnet18."]),
        (True, {}, []),
        (True, {"test": 3}, ["Its starting weights, torchvision/resnet18, had seen 3 test images (--allow-overlap)."]),
    ],
)
def test_what_is_said_of_starting_weights(known: bool, overlap: dict[str, int], words: list[str], make: Make) -> None:
    found = make()
    start = Pretraining("torchvision/resnet18", known=known, overlap=overlap)
    # What was measured would say itself that the images of the weights are not known.
    alone = replace(found, origin=replace(found.origin, pretraining=start), evaluation=None, mistakes=None)
    assert list(warnings(alone)) == words


def test_where_the_page_goes(tmp_path: Path) -> None:
    assert report.default_place(str(tmp_path)) == tmp_path / "report.html"
    assert report.default_place("lenet") == Path("report-lenet.html")
    assert report.default_place("a/net.onnx") == Path("report-net.html")
    with expect_error(OutputError):
        report.require_place(tmp_path)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "less than a second"), (1.2, "1 second"), (49, "49 seconds"), (150, "2.5 minutes"), (9000, "2.5 hours")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("model", "is_run", "commands"),
    [
        ("runs/a-1", True, ("cnnkit predict image.png --model runs/a-1", "cnnkit serve runs/a-1/model.onnx")),
        ("my runs/a", True, ("cnnkit report 'my runs/a'", "cnnkit train --config 'my runs/a/run.toml'")),
        ("a/model.onnx", False, ("cnnkit predict image.png --model a/model.onnx", "cnnkit serve a/model.onnx")),
        ("lenet", False, ("cnnkit export lenet --onnx -o model.onnx", "cnnkit serve model.onnx")),
    ],
)
def test_the_commands_can_be_pasted(model: str, is_run: bool, commands: tuple[str, ...], make: Make) -> None:
    layers = not model.endswith(".onnx")
    page = html.unescape(report.page(make(model=model, is_run=is_run, has_layers=layers)))
    for command in commands:
        assert f"<code>{command}</code>" in page
    assert ("cnnkit export" in page) == (not model.endswith(".onnx"))


def test_a_choice_by_seed_is_said_where_there_was_one(make: Make) -> None:
    found = make()
    assert found.evaluation is not None
    for images, chosen in ((500, True), (found.evaluation.images, False)):
        parts = {name: replace(getattr(found, name), images=images) for name in ("corruptions", "attacks")}
        page = report.page(replace(found, **parts))
        assert page.count("chosen by seed 0") == 2 * chosen


def test_the_summary_says_where_figures_are_of_a_part(make: Make) -> None:
    found = make()
    for total, some in ((10_000, True), (0, False)):
        changed = {
            name: replace(getattr(found, name), images=500, split_images=total) for name in ("corruptions", "attacks")
        }
        assert report.page(replace(found, **changed)).count("500 of 10,000 images of ") == 2 * some
        said = " ".join(sentences(replace(found, **changed)))
        assert said.count("(of 500 of 10,000 test images)") == 2 * some


def test_corruptions_that_hurt_alike_are_not_told_apart(make: Make) -> None:
    spoiled = make().corruptions
    assert spoiled is not None
    alike = tuple(replace(curve, accuracies=(0.9, 0.8, 0.5, 0.4, 0.2)) for curve in spoiled.corruptions)
    said = list(sentences(make(corruptions=replace(spoiled, corruptions=alike))))
    assert "Of 2 corruptions of medium severity, each leaves 50% right." in said
