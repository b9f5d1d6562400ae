"""`cnnkit attack`: tables, files, JSON, and one line where it cannot be."""

import json
import signal
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cnnkit.progress import LoadProgress
from cnnkit.robustness import parts
from cnnkit.robustness.subject import Subject

Cli = Callable[..., Any]
FAST = ("--split", "all", "--images", 8, "--device", "cpu")
SEEN = [
    "the network was trained on 12 of these 20 images, so it does better on them than on new ones",
    "the network's best epoch was chosen on 4 of these 20 images",
]
SHOWN = "".join(f"warning: {text}.\n" for text in SEEN)


@pytest.mark.slow
def test_everything_at_once(photos_run: Path, tmp_path: Path, cli: Cli) -> None:
    folder, plot = tmp_path / "out", tmp_path / "plot.png"
    result = cli("attack", photos_run, *FAST, "--steps", 3, "-o", folder, "--plot", plot)
    assert result.exit_code == 0, result.output
    for title in (
        "all: 8 of 20 images, ",
        "8 of 8 (100%) right as they are",
        "Accuracy by severity of a corruption",
        "Accuracy by radius in L∞, pixels counted as 0 to 1, pgd of 3 steps",
        "Accuracy by radius in L2, pixels counted as 0 to 1, pgd of 3 steps",
        "Smallest severity that flips a right answer",
        "Images from noise, along the gradient: 2 of 2 classes with 99% or more",
    ):
        assert title in result.stdout
    assert max(map(len, result.stdout.splitlines()[1:])) <= 80
    assert result.stderr.splitlines()[-1] == f"plot: {plot}"
    assert f"images: {folder}; at a glance: corruptions.png, " in result.stderr
    sheets = {path.name for path in folder.glob("*.png")}
    assert {"corruptions.png", "pgd-linf.png", "fooling.png"} <= sheets
    for path in (plot, *folder.rglob("*.png")):
        with Image.open(path) as image:
            image.load()


def test_json_has_it_all(photos_run: Path, cli: Cli) -> None:
    result = cli("attack", photos_run, *FAST, "--only", "pgd,flip", "--epsilon", "8/255,0.3", "--json")
    answer = json.loads(result.stdout)
    assert (result.exit_code, result.stderr) == (0, SHOWN)
    assert (answer["command"], answer["status"], answer["errors"]) == ("attack", "ok", [])
    assert answer["warnings"] == SEEN
    found = answer["data"]
    assert set(found) == {
        "model", "engine", "data", "split", "images", "seed", "accuracy", "corruptions", "attacks", "flips", "fooling",
        "notes", "folder", "seconds", "warnings", "split_images", "assumptions",
    }  # fmt: skip
    assert (found["images"], found["split_images"]) == (8, 20)
    (pgd,) = found["attacks"]
    assert set(pgd) == {
        "attack", "norm", "steps", "epsilons", "step_sizes", "accuracies", "examples", "losses", "restarts", "bound",
        "without_gradient",
    }  # fmt: skip
    assert (pgd["losses"], pgd["restarts"]) == (["cross-entropy", "margin"], 1)
    assert pgd["without_gradient"] == [0, 0]
    assert (pgd["norm"], pgd["epsilons"]) == ("linf", [8 / 255, 0.3])
    assert [len(search["severities"]) for search in found["flips"]] == [8] * 8
    assert (found["corruptions"], found["fooling"]) == ([], None)


def test_a_file_leaves_out_what_needs_gradients(photos_onnx: Path, cli: Cli) -> None:
    result = cli("attack", photos_onnx, *FAST, "--only", "corruptions")
    assert (result.exit_code, "fgsm" in result.stdout) == (0, False)
    result = cli("attack", photos_onnx, *FAST)
    assert result.exit_code == 0
    shown = " ".join(result.stdout.split())
    assert "by evolution: 2 of 2 classes" in shown
    assert shown.endswith(f"which an ONNX file has none of: name the run or the zoo entry of {photos_onnx}.")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("lenett",), 1, "there is no model 'lenett'. Did you mean lenet"),
        (("alexnet",), 1, "alexnet has no trained weights"),
        (("lenet", "--only", "pgd,cw"), 2, "--only 'pgd,cw': expected corruptions, fgsm, pgd, flip or fooling"),
        (("lenet", "--norm", "l1"), 2, "--norm 'l1': expected linf or l2"),
        (("lenet", "--epsilon", "1.5"), 2, "--epsilon 1.5: expected numbers over 0 and up to 1"),
        (("lenet", "--epsilon", "0.1,much"), 2, "--epsilon '0.1,much': expected numbers separated by commas"),
        (("lenet", "--epsilon", "8/0"), 2, "--epsilon '8/0': expected numbers"),
        (("lenet", "--only", "fooling", "--plot", "p.png"), 2, "--plot draws curves, and fooling has none"),
        (("lenet", "--plot", "p.svg"), 2, "--plot p.svg: the name must end in .png"),
        (("mlp", "--only", "fooling", "--target", "seven"), 1, "there is no class 'seven'"),
        (("lenet", "--only", "pgd", "--target", "7"), 2, "--target is for fooling, and only pgd would run"),
        (("lenet", "--device", "tpu"), 2, "there is no device 'tpu'"),
        (("lenet", "--data", "shapes"), 1, "shapes has 3 classes that the network does not know: circles, squares"),
        (("lenet", "--preprocess", "imagenet"), 2, "lenet knows its input, labels and scores"),
    ],
    ids=str,
)
def test_what_cannot_be_attacked_is_one_line(arguments: tuple[str, ...], code: int, message: str, cli: Cli) -> None:
    result = cli("attack", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_gradients_of_a_file_are_refused(photos_onnx: Path, cli: Cli) -> None:
    result = cli("attack", photos_onnx, "--only", "pgd")
    assert result.exit_code == 2
    assert "fgsm and pgd follow gradients, which an ONNX file has none of" in result.stderr


@pytest.mark.parametrize("option", ["-o", "--plot"])
def test_a_folder_that_cannot_be_written_is_said_before_the_work(
    option: str, photos_run: Path, tmp_path: Path, cli: Cli
) -> None:
    (tmp_path / "file").write_text("in the way")
    result = cli("attack", photos_run, option, tmp_path / "file" / "deep" / "p.png", "--data", tmp_path)
    assert result.exit_code == 1
    assert "cannot write into" in result.stderr


def test_a_folder_without_classes_is_refused(photos_run: Path, photos: Path, cli: Cli) -> None:
    result = cli("attack", photos_run, "--data", photos / "dark")
    assert result.exit_code == 1
    assert "has no class folders with images; expected at least one folder a class" in result.stderr


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes while images are corrupted by the third corruption."""
    curve = parts.corruption_curve

    def corrupted(subject: Subject, name: Any) -> Generator[Any, None, Any]:
        if name == "contrast":
            signal.raise_signal(signal.SIGINT)
        return (yield from curve(subject, name))

    monkeypatch.setattr(parts, "corruption_curve", corrupted)


@pytest.mark.usefixtures("interrupted")
def test_ctrl_c_shows_and_keeps_what_was_found(photos_run: Path, tmp_path: Path, cli: Cli) -> None:
    result = cli("attack", photos_run, *FAST, "-o", tmp_path, "--plot", tmp_path / "plot.png")
    assert result.exit_code == 130, result.output
    shown = result.stdout
    assert [name in shown for name in ("noise", "blur", "contrast", "radius", "Images from")] == [True] * 2 + [
        False
    ] * 3
    assert "stopped before all was done: what had not been finished is left out." in " ".join(shown.split())
    assert result.stderr.splitlines()[-1] == "stopped by Ctrl-C"
    assert {path.name for path in tmp_path.glob("*.png")} == {"corruptions.png", "plot.png"}


@pytest.mark.usefixtures("interrupted")
def test_ctrl_c_leaves_one_envelope(photos_run: Path, cli: Cli) -> None:
    result = cli("attack", photos_run, *FAST, "--json")
    answer = json.loads(result.stdout)
    assert (result.exit_code, result.stderr, answer["status"]) == (130, SHOWN, "error")
    assert answer["warnings"] == SEEN
    assert answer["errors"] == [{"code": "interrupted", "message": "stopped by Ctrl-C"}]
    assert [curve["name"] for curve in answer["data"]["corruptions"]] == ["noise", "blur"]
    assert answer["data"]["fooling"] is None


def test_ctrl_c_before_anything_is_found_names_no_images(
    photos_run: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loading(*given: Any, **options: Any) -> Generator[LoadProgress, None, None]:
        yield LoadProgress("test images", 1, 4)
        signal.raise_signal(signal.SIGINT)
        yield LoadProgress("test images", 2, 4)
        pytest.fail("it went on")

    monkeypatch.setattr(parts, "load_for", loading)
    result = cli("attack", photos_run, *FAST, "-o", tmp_path / "out", "--plot", tmp_path / "plot.png")
    assert (result.exit_code, result.stderr) == (130, "stopped by Ctrl-C\n")
    assert "stopped before all was done" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_images_that_fool_are_made_for_the_classes_that_are_named(tmp_path: Path, cli: Cli) -> None:
    result = cli("attack", "mlp", "--only", "fooling", "--target", "7", "--target", "3", "-o", tmp_path)
    assert result.exit_code == 0, result.output
    assert "Images from noise, along the gradient: 2 of 2 classes with 99% or more" in result.stdout
    assert sorted(path.name for path in (tmp_path / "fooling").iterdir()) == ["3.png", "7.png"]
