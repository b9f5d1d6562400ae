"""`cnnkit train`: what it says, what it leaves behind, and how it ends when it ends badly."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cnnkit.recipe import Recipe
from cnnkit.training import networks

Cli = Callable[..., Any]
FAST = ("softmax-regression", "--epochs", "2", "--device", "cpu")


def card_of(run: Path) -> Any:
    return networks.load_checkpoint(run / "best.safetensors", "best")[1]


def test_the_result_is_on_standard_output_and_the_progress_on_standard_error(
    photos: Path, tmp_path: Path, cli: Cli
) -> None:
    result = cli("train", *FAST, "--data", photos, "--runs-dir", tmp_path)
    run = tmp_path / "softmax-regression-photos-1"
    assert result.exit_code == 0
    best, path = result.stdout.splitlines()
    assert best.startswith("best epoch ")
    assert "validation " in best
    assert "test " in best
    assert path == str(run / "best.safetensors")
    rows = result.stderr.splitlines()
    assert rows[0].startswith("softmax-regression (722 parameters) on ")
    assert rows[0].endswith(": 12 images to train, 4 to validate, 4 to test; cpu")
    assert rows[1] == "2 classes: dark (10), light (10)"
    assert rows[2] == "images: 12×10 RGB, as they are"
    assert rows[3].startswith("sgd, learning rate 0.05, momentum 0.9, batch 60")
    assert rows[4] == "epoch  train loss  accuracy   val. loss  accuracy   images/s  seconds"
    assert [row.split()[0] for row in rows[5:]] == ["0", "1", "2"]
    assert rows[5].endswith("  before training, on 4 images")
    assert {p.name for p in run.iterdir()} == {
        "run.toml", "metrics.csv", "curves.png", "split.csv", "best.safetensors", "state.safetensors",
        "state.previous.safetensors",
    }  # fmt: skip
    with Image.open(run / "curves.png") as curves:
        assert curves.convert("L").getextrema()[0] < 100


def test_json_is_the_only_thing_on_standard_output(photos: Path, tmp_path: Path, cli: Cli) -> None:
    result = cli("train", *FAST, "--data", photos, "--runs-dir", tmp_path, "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["status"], found["warnings"], found["errors"]) == (0, "ok", [], [])
    assert set(found["data"]) == {"recipe", "data", "start", "epochs", "result"}
    assert set(found["data"]["start"]) == {"validation_loss", "validation_accuracy", "images", "dry_run"}
    assert found["data"]["data"] == {
        "classes": [
            {"label": "dark", "train": 6, "validation": 2, "test": 2},
            {"label": "light", "train": 6, "validation": 2, "test": 2},
        ],
        "preparation": "12×10 RGB, as they are",
        "skipped": [],
    }
    assert [epoch["epoch"] for epoch in found["data"]["epochs"]] == [1, 2]
    assert set(found["data"]["epochs"][0]) == {
        "epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "learning_rate", "seconds",
        "images_per_second", "is_best", "dry_run", "train_images",
    }  # fmt: skip
    assert set(found["data"]["result"]) == {
        "run", "checkpoint", "advice", "best_epoch", "validation_accuracy", "test_accuracy", "seconds", "ended_by",
        "validation_images", "test_images", "dry_run", "notices",
    }  # fmt: skip
    assert found["data"]["recipe"]["model"] == "softmax-regression"


CONFIG = {
    "data": "folder", "input_shape": (3, 9, 9), "weights": "", "freeze": False, "epochs": 9, "batch_size": 5,
    "max_seconds": 1.0, "patience": 1, "limit_batches": 3, "optimizer": "adamw", "learning_rate": 0.5,
    "schedule": "step", "warmup_epochs": 1.0, "decay_epochs": 5, "decay_factor": 0.2, "momentum": 0.0,
    "nesterov": False, "weight_decay": 0.5, "clip_norm": 0.1, "ema": 0.2, "label_smoothing": 0.3,
    "class_weights": "none", "mixup": 0.0, "adversarial_training": 0.2, "adversarial_steps": 2,
    "adversarial_step_size": 0.1, "initialisation": "default", "normalisation": "unit",
    "augmentation": "affine", "drawn_digits": 0.0, "fit": "stretch", "crop_fraction": 0.9, "interpolation": "box",
    "validation_fraction": 0.1, "test_fraction": 0.1, "split_seed": 3, "split_by": "content", "skip_damaged": False,
    "allow_overlap": False, "seed": 1, "precision": "fp32", "compile": True, "tensorboard": False,
}  # fmt: skip
CHANGES = {
    "freeze": True, "epochs": 1, "batch_size": 7, "max_seconds": 1000.0, "patience": 2, "limit_batches": 1,
    "optimizer": "sgd", "learning_rate": 0.004, "schedule": "cosine", "warmup_epochs": 0.5, "momentum": 0.3,
    "nesterov": True, "weight_decay": 0.01, "clip_norm": 1.5, "ema": 0.9,
    "label_smoothing": 0.1, "class_weights": "balanced", "mixup": 0.4, "adversarial_training": 0.1,
    "adversarial_steps": 3, "adversarial_step_size": 0.05, "augmentation": "crops", "fit": "cover",
    "crop_fraction": 0.8, "interpolation": "bicubic", "validation_fraction": 0.3, "test_fraction": 0.4,
    "split_seed": 4, "split_by": "path", "skip_damaged": True, "allow_overlap": True, "seed": 11,
    "precision": "bf16", "compile": False, "tensorboard": True,
}  # fmt: skip


def option_for(name: str, value: object) -> str:
    text = name.replace("_", "-")
    return {True: f"--{text}", False: f"--no-{text}"}[value] if isinstance(value, bool) else f"--{text}={value}"


def test_every_field_of_the_recipe_can_be_overridden(photos: Path, photos_run: Path, tmp_path: Path, cli: Cli) -> None:
    config = tmp_path / "run.toml"
    Recipe(model="softmax-regression", **CONFIG).write(config)
    changes = {**CHANGES, "data": str(photos), "weights": str(photos_run)}
    options = [option_for(name, value) for name, value in changes.items()]
    result = cli("train", "--config", config, *options, "--input", "1x28x28", "--runs-dir", tmp_path)
    assert result.exit_code == 0, result.output
    recipe = Recipe.from_toml(tmp_path / "softmax-regression-photos-1" / "run.toml")
    # The falls of the step schedule go with it, and the scale of the pixels is that of the weights.
    expected = {**changes, "input_shape": (1, 28, 28), "normalisation": "weights"}
    assert recipe == Recipe(model="softmax-regression", **expected)
    # Each one was something else before; of the only loss there is, nothing else can be said.
    assert {name for name, value in expected.items() if CONFIG[name] == value} == set()
    others = {"model", "loss", "initialisation", "decay_epochs", "decay_factor", "drawn_digits"}
    assert set(expected) | others == set(Recipe.model_fields)


def test_the_first_weights_and_the_scale_of_the_pixels_can_be_chosen(photos: Path, tmp_path: Path, cli: Cli) -> None:
    schedule = ("--schedule", "step", "--decay-epochs", 2, "--decay-factor", 0.3)
    options = ("--initialisation", "xavier", "--normalisation", "standard", *schedule, "--runs-dir", tmp_path)
    assert cli("train", *FAST, "--data", photos, *options).exit_code == 0
    recipe = Recipe.from_toml(tmp_path / "softmax-regression-photos-1" / "run.toml")
    assert (recipe.initialisation, recipe.normalisation) == ("xavier", "standard")
    assert (recipe.schedule, recipe.decay_epochs, recipe.decay_factor) == ("step", 2, 0.3)


def test_config_repeats_a_run_bit_for_bit_and_options_override_it(photos: Path, tmp_path: Path, cli: Cli) -> None:
    assert cli("train", *FAST, "--data", photos, "--seed", 5, "--runs-dir", tmp_path).exit_code == 0
    first, again, other = (tmp_path / f"softmax-regression-photos-{number}" for number in (1, 2, 3))
    config = ("train", "--config", first / "run.toml", "--runs-dir", tmp_path, "--device", "cpu")
    assert cli(*config).exit_code == 0
    assert cli(*config, "--seed", 6).exit_code == 0
    assert card_of(again).weights_sha256 == card_of(first).weights_sha256 != card_of(other).weights_sha256
    assert Recipe.from_toml(other / "run.toml").seed == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[recipe]\nepochs = 3\n", "say what to train"),
        ("[other]\n", "has no [recipe] table"),
        ("epochs = ", "cannot read the recipe"),
        ("[recipe]\nmodel = 'mlp'\nepochs = -1\n", "epochs: Input should be greater than or equal to 0"),
        ("[recipe]\nmodel = 'mlp'\nmomentum = 0.9\n", "momentum 0.9 has no effect"),
        ("[recipe]\nmodel = 'mlp'\nepoch = 2\n", "epoch: there is no such field (did you mean epochs"),
        ("[recipe]\nmodel = 5\n", "model"),
        (None, "cannot read the recipe"),
    ],
)
def test_a_config_that_is_no_good_is_wrong_usage(text: str | None, message: str, tmp_path: Path, cli: Cli) -> None:
    path = tmp_path / "run.toml"
    if text is not None:
        path.write_text(text)
    result = cli("train", "--config", path, "--runs-dir", tmp_path / "runs")
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--epochs=-1", "epochs: Input should be greater than or equal to 0"),
        ("--batch-size=-1", "batch_size"),
        ("--optimizer=adma", "optimizer: Input should be 'sgd', 'adam', 'adamw' or 'rmsprop', got 'adma'"),
        ("--lr=0", "learning_rate: Input should be greater than 0, got 0.0"),
        ("--lr=nan", "learning_rate"),
        ("--schedule=linear", "schedule: Input should be 'constant', 'cosine', 'one-cycle' or 'step'"),
        ("--max-seconds=-1", "max_seconds"),
        ("--patience=-1", "patience"),
        ("--warmup-epochs=100", "warmup_epochs 100 leaves nothing of"),
        ("--decay-factor=1", "decay_factor"),
        ("--momentum=1", "momentum"),
        ("--nesterov", "nesterov True has no effect without sgd and a momentum"),
        ("--momentum=0.5", "momentum 0.5 has no effect"),
        ("--decay-epochs=3", "decay_epochs 3 has no effect without the step schedule"),
        ("--test-fraction=0.3", "test_fraction 0.3 has no effect"),
        ("--decay-epochs=30", "decay_epochs 30 has no effect without the step schedule"),
        ("--skip-damaged", "skip_damaged True has no effect on a data set that is not a folder"),
        ("--clip-norm=-1", "clip_norm"),
        ("--ema=1", "ema"),
        ("--label-smoothing=1", "label_smoothing"),
        ("--class-weights=some", "class_weights: Input should be 'none' or 'balanced'"),
        ("--mixup=-1", "mixup"),
        ("--freeze", "freeze True has no effect without weights"),
        ("--precision=fp8", "precision: Input should be 'fp32', 'bf16' or 'fp16'"),
        ("--checkpoint-every=-1", "-1 is not a whole number"),
        ("--nproc=0", "0 is not a whole number"),
        ("--loss=hinge", "loss: Input should be 'cross-entropy'"),
        ("--validation-fraction=1", "validation_fraction: Input should be less than 1"),
        ("--augmentation=flip", "augmentation: Input should be"),
        ("--test-fraction=1", "test_fraction: Input should be less than 1"),
        ("--fit=crop", "fit: Input should be 'auto', 'contain', 'cover' or 'stretch', got 'crop'"),
        ("--crop-fraction=0", "crop_fraction: Input should be greater than 0"),
        (
            "--interpolation=cubic",
            "interpolation: Input should be 'auto', 'nearest', 'bilinear', 'bicubic', 'lanczos' or",
        ),
        ("--split-seed=-1", "split_seed: Input should be greater than or equal to 0"),
        ("--split-by=name", "split_by: Input should be 'content' or 'path', got 'name'"),
        ("--seed=-1", "seed"),
        ("--input=4x28x28", "input_shape"),
        ("--device=gpu", "there is no device 'gpu'; expected auto, cpu, cuda or cuda:N"),
    ],
)
def test_a_value_outside_its_range_is_wrong_usage(option: str, message: str, tmp_path: Path, cli: Cli) -> None:
    result = cli("train", "mlp", option, "--runs-dir", tmp_path / "runs")
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("few_shapes")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lenett"], "error: there is no model 'lenett'. Did you mean lenet"),
        (["torchvision/resnet81", "--data", "shapes"], "Did you mean"),
        (["mlp", "--data", "mnits"], "error: there is no data set 'mnits'. Did you mean mnist"),
        (["mlp", "--data", "./nowhere"], "error: there is no image folder nowhere"),
        (["lenet", "--data", "shapes", "--input", "3x8x8"], "lenet cannot take images of 3×8×8; the smallest"),
    ],
)
def test_what_cannot_be_trained_is_one_line(arguments: list[str], message: str, tmp_path: Path, cli: Cli) -> None:
    result = cli("train", *arguments, "--runs-dir", tmp_path)
    assert result.exit_code in {1, 2}
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("offline")
def test_a_network_that_torchvision_lacks_is_found_out_before_data_are_fetched(tmp_path: Path, cli: Cli) -> None:
    result = cli("train", "torchvision/resnet81", "--data-dir", tmp_path, "--runs-dir", tmp_path)
    assert "no torchvision classification model 'resnet81'" in result.stderr


def test_trained_weights_are_not_trained_again(tiny_run: Path, tmp_path: Path, cli: Cli) -> None:
    result = cli("train", tiny_run, "--runs-dir", tmp_path)
    assert result.exit_code == 2
    assert "names trained weights" in result.stderr


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("as_json", [False, True])
def test_a_data_set_that_is_absent_offline_names_folder_and_files(as_json: bool, tmp_path: Path, cli: Cli) -> None:
    result = cli("train", "mnist-cnn", "--data-dir", tmp_path, "--runs-dir", tmp_path / "runs", *["--json"] * as_json)
    message = json.loads(result.stdout)["errors"][0]["message"] if as_json else result.stderr
    assert result.exit_code == 1
    assert f"mnist is not under {tmp_path} (--data-dir) and could not be downloaded" in message
    assert "MNIST/raw/train-images-idx3-ubyte" in message
    assert (result.stderr if as_json else result.stdout) == ""
    assert not list(tmp_path.glob("runs/*"))


def spoil_text(folder: Path) -> str:
    (folder / "dark" / "03.png").write_text("not an image")
    return f"{folder / 'dark' / '03.png'} is not an image"


def spoil_half(folder: Path) -> str:
    path = folder / "light" / "01.png"
    path.write_bytes(path.read_bytes()[:200])
    return f"{path} is damaged"


def spoil_huge(folder: Path) -> str:
    Image.new("1", (10_000, 6_000)).save(folder / "dark" / "huge.png")
    return "has 60,000,000 pixels"


@pytest.mark.parametrize("spoil", [spoil_text, spoil_half, spoil_huge])
def test_a_folder_that_is_no_good_is_named_and_nothing_is_written(
    spoil: Callable[[Path], str], own_photos: Path, tmp_path: Path, cli: Cli
) -> None:
    message = spoil(own_photos)
    result = cli("train", *FAST, "--data", own_photos, "--runs-dir", tmp_path / "runs")
    assert result.exit_code == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.glob("runs/*"))


def test_a_runs_folder_that_cannot_be_written_is_said_at_once(photos: Path, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "runs").write_text("a file")
    result = cli("train", *FAST, "--data", photos, "--runs-dir", tmp_path / "runs")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: cannot write into {tmp_path / 'runs'}")


def test_a_loss_that_becomes_nan_stops_and_keeps_the_last_good_checkpoint(
    photos: Path, tmp_path: Path, cli: Cli
) -> None:
    options = ("--optimizer", "sgd", "--lr", "1e10", "--epochs", "50", "--device", "cpu")
    result = cli("train", "mlp", "--data", photos, *options, "--runs-dir", tmp_path)
    run = tmp_path / "mlp-photos-1"
    assert (result.exit_code, result.stdout) == (1, "")
    assert "loss became nan in epoch" in result.stderr
    assert f"is kept in {run / 'best.safetensors'}" in result.stderr
    assert card_of(run).metrics["epoch"] >= 1
    assert (run / "curves.png").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="a process on Windows cannot be sent Ctrl-C alone")
def test_ctrl_c_exits_130_and_keeps_the_best(photos: Path, tmp_path: Path, program: str) -> None:
    arguments = [program, "train", "softmax-regression", "--data", str(photos), "--epochs", "100000"]
    with subprocess.Popen(
        [*arguments, "--runs-dir", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    ) as running:
        deadline = time.monotonic() + 300
        metrics = tmp_path / "softmax-regression-photos-1" / "metrics.csv"
        while not metrics.is_file() and time.monotonic() < deadline:
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=300)
    run = metrics.parent
    assert running.returncode == 130
    lines = [line for line in err.splitlines() if line.strip()]
    assert re.match(r"stopped by Ctrl-C after .*epoch \d+\. The best so far, epoch \d+, is in ", lines[-1])
    assert lines[-1].endswith(f" is in {run}. Go on with: cnnkit train --resume {run}")
    assert not [line for line in lines if "Traceback" in line or "Aborted" in line]
    assert card_of(run).metrics["epoch"] >= 1
    assert (run / "curves.png").is_file()
    assert out == ""
