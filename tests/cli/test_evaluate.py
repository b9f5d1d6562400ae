"""`cnnkit evaluate`: scores of checkpoints and ONNX files alike, and a bar that can be failed."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
from PIL import Image

from cnnkit.card import CARD_KEY
from cnnkit.training import networks

Cli = Callable[..., Any]


def test_scores_classes_and_confusion_are_shown(photos_run: Path, cli: Cli) -> None:
    result = cli("evaluate", photos_run, "--device", "cpu")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert "".join(lines).startswith(str(photos_run))
    assert "photos, test: 4 images, PyTorch" in result.stdout
    assert "none of them seen in training" in " ".join(result.stdout.split())
    for part in ("4 of 4 (100%)", "loss", "calibration error", "precision", "recall", "F1", "Confusion matrix"):
        assert part in result.stdout
    assert max(len(line) for line in lines[1:]) <= 80


def test_json_has_every_score(photos_run: Path, cli: Cli) -> None:
    result = cli("evaluate", photos_run, "--split", "all", "--top-k", "1", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["status"]) == (0, "ok")
    seen = "the network was trained on 12 of these 20 images, so it does better on them than on new ones"
    assert result.stderr.startswith(f"warning: {seen}.\n")
    assert found["warnings"] == [seen, "the network's best epoch was chosen on 4 of these 20 images"]
    data = found["data"]
    assert set(data) == {
        "model", "data", "split", "engine", "images", "accuracy", "top_k", "top_k_accuracy", "loss",
        "calibration_error", "classes", "confusion", "seconds", "calibration", "exposure", "duplicates", "warnings",
        "assumptions",
    }  # fmt: skip
    assert (data["split"], data["images"], data["accuracy"], data["top_k"]) == ("all", 20, 1.0, None)
    assert data["confusion"] == [[10, 0], [0, 10]]
    assert data["classes"][0] == {"label": "dark", "precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 10}


@pytest.mark.usefixtures("few_shapes")
def test_a_run_and_its_onnx_file_get_the_same_scores(tiny_run: Path, tiny_onnx: Path, cli: Cli) -> None:
    run, file = (json.loads(cli("evaluate", ref, "--json").stdout)["data"] for ref in (tiny_run, tiny_onnx))
    assert run["accuracy"] == file["accuracy"]
    assert run["confusion"] == file["confusion"]
    assert run["loss"] == pytest.approx(file["loss"], abs=1e-5)
    assert (run["engine"], file["engine"].split()[0]) == ("PyTorch CPU", "onnxruntime")


@pytest.mark.parametrize(("bar", "code"), [("0.5", 0), ("1", 0)])
def test_an_accuracy_at_the_bar_passes(bar: str, code: int, photos_onnx: Path, cli: Cli) -> None:
    assert cli("evaluate", photos_onnx, "--min-accuracy", bar).exit_code == code


@pytest.mark.usefixtures("few_shapes")
def test_an_accuracy_below_the_bar_exits_3_and_still_shows_the_scores(tiny_onnx: Path, cli: Cli) -> None:
    result = cli("evaluate", tiny_onnx, "--min-accuracy", "0.999")
    assert result.exit_code == 3
    assert "Confusion matrix" in result.stdout
    assert re.fullmatch(
        r"error: \d+ of 30 images right \(\d+%\) is less than --min-accuracy 0\.999 asks for\.\n", result.stderr
    )
    found = json.loads(cli("evaluate", tiny_onnx, "--min-accuracy", "0.999", "--json").stdout)
    assert (found["status"], found["errors"][0]["code"]) == ("failed", "accuracy")
    assert found["data"]["images"] == 30


def test_the_confusion_matrix_is_plotted(photos_onnx: Path, tmp_path: Path, cli: Cli) -> None:
    result = cli("evaluate", photos_onnx, "--plot", tmp_path / "plots" / "confusion.png")
    assert result.exit_code == 0
    with Image.open(tmp_path / "plots" / "confusion.png") as image:
        assert np.asarray(image.convert("L")).std() > 10


def test_a_plot_that_cannot_be_written_is_an_error(photos_onnx: Path, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "file").write_text("in the way")
    result = cli("evaluate", photos_onnx, "--plot", tmp_path / "file" / "confusion.png")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: cannot write into {tmp_path / 'file'}")


def test_a_bar_that_is_no_number_is_not_passed(photos_onnx: Path, cli: Cli) -> None:
    assert cli("evaluate", photos_onnx, "--min-accuracy", "nan").exit_code == 2


@pytest.mark.parametrize("option", ["--labels", "--mean", "--std", "--preprocess"])
def test_an_option_for_foreign_files_is_not_ignored(option: str, photos_run: Path, cli: Cli) -> None:
    result = cli("evaluate", photos_run, option, "imagenet" if option == "--preprocess" else "1")
    assert result.exit_code == 2
    assert f"knows its input, labels and scores; leave out {option}." in " ".join(result.stderr.split())


@pytest.mark.parametrize("split", ["train", "validation", "test", "all"])
def test_a_split_can_be_named(split: str, photos_onnx: Path, cli: Cli) -> None:
    assert f"photos, {split}: " in cli("evaluate", photos_onnx, "--split", split).stdout


def test_a_split_that_nobody_knows_is_wrong_usage(photos_onnx: Path, cli: Cli) -> None:
    result = cli("evaluate", photos_onnx, "--split", "tset")
    assert result.exit_code == 2
    assert "'tset' is not one of" in result.stderr


def test_classes_that_do_not_match_are_named(tiny_onnx: Path, photos: Path, cli: Cli) -> None:
    result = cli("evaluate", tiny_onnx, "--data", photos)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "error: photos has 2 classes that the network does not know: dark and light. It knows circles, squares "
        "and triangles. Rename the folders, or leave them out.\n"
    )


def test_a_checkpoint_of_another_architecture_is_refused(photos_run: Path, tmp_path: Path, cli: Cli) -> None:
    _, card = networks.load_network(str(photos_run))
    state = safetensors.torch.load_file(photos_run / "best.safetensors")
    path = tmp_path / "mine.safetensors"
    path.write_bytes(safetensors.torch.save(state, {CARD_KEY: replace(card, model="mlp").to_json()}))
    result = cli("evaluate", path)
    assert result.exit_code == 1
    assert f"{path} does not fit the network 'mlp' that its card names" in result.stderr


def test_a_damaged_checkpoint_is_refused(photos_run: Path, tmp_path: Path, cli: Cli) -> None:
    run = Path(shutil.copytree(photos_run, tmp_path / "run"))
    content = bytearray((run / "best.safetensors").read_bytes())
    content[-5] ^= 1
    (run / "best.safetensors").write_bytes(content)
    result = cli("evaluate", run)
    assert result.exit_code == 1
    assert "is damaged: its weights are not those that its card was written for" in result.stderr


@pytest.mark.usefixtures("no_zoo")
@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("lenett", "there is no model 'lenett'. Did you mean lenet"),
        ("lenet", "lenet has no trained weights in the zoo. Train it first"),
        ("nowhere.onnx", "there is no file nowhere.onnx"),
        ("net.pt", "is a pickle, and cnnkit loads none"),
        ("snapshot", "Name the file in it: snapshot/model.onnx"),
        ("tests", "is a folder without a best.safetensors: not a finished run"),
    ],
)
def test_what_cannot_be_evaluated_is_one_line(
    ref: str, message: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("tests", "snapshot"):
        (tmp_path / folder).mkdir()
    (tmp_path / "snapshot" / "model.onnx").touch()
    monkeypatch.chdir(tmp_path)
    result = cli("evaluate", ref)
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.usefixtures("no_zoo")
def test_an_architecture_without_weights_says_how_to_get_them(cli: Cli) -> None:
    assert "cnnkit train lenet" in cli("evaluate", "lenet").stderr


@pytest.mark.usefixtures("offline")
def test_data_that_is_absent_offline_names_folder_and_files(photos_onnx: Path, tmp_path: Path, cli: Cli) -> None:
    result = cli("evaluate", photos_onnx, "--data", "cifar10", "--data-dir", tmp_path)
    assert result.exit_code == 1
    assert f"cifar10 is not under {tmp_path} (--data-dir)" in result.stderr
    assert "cifar-10-batches-py/data_batch_1" in result.stderr


@pytest.mark.parametrize("command", ["evaluate", "mistakes", "attack", "verify"])
def test_images_of_the_training_that_are_not_here_are_said_with_the_places_and_what_to_do(
    command: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = cli(command, "shapes-cnn-basicshapes", "--data-dir", tmp_path / "data", "--json")
    (error,) = json.loads(result.stdout)["errors"]
    assert (result.exit_code, error["code"]) == (1, "data")
    assert f"neither {tmp_path / 'basicshapes'} nor {tmp_path / 'data' / 'basicshapes'}" in error["message"]
    assert error["message"].endswith("Other images of the same classes: --data shapes.")


def test_images_of_the_training_are_found_in_the_data_folder(
    photos: Path, photos_run: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(photos_run, tmp_path / "run")
    network, card = networks.load_checkpoint(run / "best.safetensors", "run")
    card = replace(card, recipe={**(card.recipe or {}), "data": "./photos"})
    networks.save_checkpoint(run / "best.safetensors", network, card)
    monkeypatch.chdir(tmp_path)
    data = json.loads(cli("evaluate", run, "--data-dir", photos.parent, "--device", "cpu", "--json").stdout)["data"]
    assert (data["data"], data["split"], data["images"]) == ("photos", "test", 4)


@pytest.mark.usefixtures("few_shapes", "nets")
@pytest.mark.parametrize("model", ["lenet", "torchvision/squeezenet1_1", "tinynets:lazy"])
def test_random_weights_can_be_measured(model: str, cli: Cli) -> None:
    result = cli("evaluate", model, "--untrained", "--data", "shapes", "--json", "--device", "cpu")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["status"]) == (0, "ok")
    assert (found["data"]["images"], found["data"]["split"]) == (30, "test")
    assert found["data"]["exposure"]["trained"] == 0
    assert any("weights are random" in warning for warning in found["warnings"])


@pytest.mark.usefixtures("few_shapes")
def test_random_weights_are_those_that_a_training_begins_with(tmp_path: Path, cli: Cli) -> None:
    options = ("--data", "shapes", "--seed", 4, "--device", "cpu", "--json")
    trained = cli("train", "lenet", *options, "--epochs", 0, "--runs-dir", tmp_path)
    start = json.loads(trained.stdout)["data"]["start"]
    random = json.loads(cli("evaluate", "lenet", *options, "--untrained", "--split", "validation").stdout)["data"]
    assert (random["images"], random["accuracy"]) == (start["images"], start["validation_accuracy"])
    assert random["loss"] == pytest.approx(start["validation_loss"], rel=1e-5)
    # The checkpoint of no epochs has the same weights, and says that they are random.
    kept = json.loads(
        cli("evaluate", tmp_path / "lenet-shapes-1", "--split", "validation", "--device", "cpu", "--json").stdout
    )
    assert kept["data"]["accuracy"] == random["accuracy"]
    assert any("weights are random" in warning for warning in kept["warnings"])


@pytest.mark.usefixtures("nets")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lenet", "--seed", "3"], "--seed has no effect without --untrained"),
        (["lenet", "--input", "3x32x32"], "lenet knows its input, labels and scores; leave out --input"),
        (["lenet", "--untrained", "--mean", "0.5"], "--mean has no effect with --untrained"),
        (["lenet-mnist", "--untrained"], "names trained weights; --untrained is for an architecture"),
        (["tinynets:Linear", "--untrained"], "does not say what it is trained on. Name a data set with --data"),
        (["lenet", "--untrained", "--data", "shapes", "--input", "3x8x8"], "the smallest that it can take are 12×12"),
    ],
)
def test_options_for_random_weights_only_go_with_them(arguments: list[str], message: str, cli: Cli) -> None:
    result = cli("evaluate", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
