"""Errors of all commands: wrong usage, the last resort, tracebacks on demand, and pipes."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cnnkit import listing

Cli = Callable[..., Any]
Process = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian", "lenet"], "No such command 'trian'"),
        (["summary"], "Missing argument 'MODEL'"),
        (["summary", "lenet", "--bacth", "3"], "No such option: --bacth"),
        (["summary", "lenet", "--batch", "0"], "0 is not a whole number of at least 1."),
        (["summary", "lenet", "--batch", "many"], "'many' is not a whole number of at least 1."),
        (["summary", "lenet", "alexnet"], "unexpected extra argument"),
        (["--verbose", "models"], "No such option: --verbose"),
        (["evaluate", "lenet", "--min-accuracy", "98"], "98.0 is not a number from 0 to 1."),
        (["serve", "--port", "abc"], "'--port': 'abc' is not a whole number from 0 to 65535."),
        (["serve", "--port", "70000"], "'--port': 70000 is not a whole number from 0 to 65535."),
        (["serve", "--max-batch", "0"], "'--max-batch': 0 is not a whole number from 1 to 4096."),
        (["serve", "--queue-size", "-1"], "'--queue-size': -1 is not a whole number from 1 to 100000."),
        (["serve", "--max-body-mb", "nan"], "'--max-body-mb': nan is not a number from 0.001 to 1024."),
        (
            ["export", "lenet", "--onnx", "--precision=fp16", "--accuracy-budget=nan"],
            "nan is not a number from 0 to 100.",
        ),
        (["train", "--lr", "high"], "'high' is not a number above 0."),
        (["summary", "lenet", "--columns", "parametrs"], "there is no column 'parametrs'. Did you mean parameters?"),
        (["export", "lenet"], "say which format: cnnkit export lenet --onnx"),
        (["train"], "say what to train: cnnkit train MODEL"),
    ],
)
def test_wrong_usage_exits_2_and_says_what_is_wrong(arguments: list[str], message: str, cli: Cli) -> None:
    result = cli(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in " ".join(result.stderr.replace("│", "").split())
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["mnist-cnn", "train"], "cnnkit train mnist-cnn"),
        (["mnist-cnn", "train", "--epochs", "3"], "cnnkit train mnist-cnn --epochs 3"),
        (["my photo.png", "explain"], "cnnkit explain 'my photo.png'"),
        (["mnist-cnn"], "cnnkit summary mnist-cnn"),
        (["seven.png"], "cnnkit predict seven.png"),
        (["help"], "cnnkit --help"),
        (["help", "train"], "cnnkit train --help"),
        (["explain", "mnist-cnn", "seven.png"], "cnnkit explain seven.png --model mnist-cnn"),
        (["predict", "mnist-cnn", "seven.png"], "cnnkit predict seven.png --model mnist-cnn"),
        (["explain", "seven.png", "mnist-cnn"], "--model mnist-cnn"),
        (["train", "lenet", "fashion-mnist"], "--data fashion-mnist"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_words_in_the_wrong_order_get_the_line_that_was_meant(
    arguments: list[str], hint: str, as_json: bool, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "seven.png").touch()
    result = cli(*arguments, *["--json"] * as_json)
    assert result.exit_code == 2
    said = json.loads(result.stdout)["errors"][0]["message"] if as_json else " ".join(result.stderr.split())
    assert hint in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "lenet", "--data", "nosuch"],
        ["train", "lenet", "--data", "./nosuch"],
        ["train", "lenet", "--optimizer", "sgdd"],
        ["train", "lenet", "--device", "cudaa"],
        ["train", "lenet", "--epochs", "many"],
        ["train", "nosuch"],
        ["evaluate", "lenet-mnist", "--data", "nosuch"],
        ["evaluate", "lenet-mnist", "--split", "tset"],
        ["attack", "lenet-mnist", "--data", "nosuch"],
        ["mistakes", "lenet-mnist", "--data", "nosuch"],
        ["verify", "lenet-mnist", "--data", "nosuch"],
        ["report", "lenet-mnist", "--data", "nosuch"],
        ["export", "lenet-mnist", "--onnx", "--precision", "fp8"],
        ["summary", "lenet", "--device", "gpu"],
    ],
)
def test_what_is_wrong_is_said_before_pytorch_is_loaded(arguments: list[str], process: Process) -> None:
    result = process(*arguments, env={"PYTHONPROFILEIMPORTTIME": "1"})
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert result.returncode in (1, 2)
    assert "cnnkit.cli" in imported
    assert "torch" not in imported


def test_a_number_out_of_range_is_said_in_json_too(cli: Cli) -> None:
    result = cli("summary", "lenet", "--batch", "0", "--json")
    (error,) = json.loads(result.stdout)["errors"]
    assert (result.exit_code, error["code"]) == (2, "usage")
    assert error["message"].endswith("0 is not a whole number of at least 1.")


@pytest.mark.parametrize(
    "arguments",
    [
        ["summary", "lenet", "--json", "--input", "3x32"],
        ["summary", "--json"],
        ["summary", "lenet", "--batch", "0", "--json"],
        ["export", "lenet", "--json"],
        ["train", "--json"],
        ["evaluate", "lenet", "--split", "tset", "--json"],
        ["summary", "lenet", "--json", "--bacth", "3"],
    ],
)
def test_wrong_usage_is_an_envelope_too(arguments: list[str], cli: Cli) -> None:
    result = cli(*arguments)
    assert result.exit_code == 2
    found = json.loads(result.stdout)
    assert (found["command"], found["status"], found["data"]) == (arguments[0], "error", None)
    assert [error["code"] for error in found["errors"]] == ["usage"]
    assert result.stderr == ""


@pytest.mark.parametrize("as_json", [False, True])
def test_an_error_of_our_own_making_is_one_line_that_says_so(
    as_json: bool, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise LookupError("nowhere")

    monkeypatch.setattr(listing, "list_models", broken)
    result = cli("models", *["--json"] * as_json)
    message = "internal error: LookupError: nowhere. This is a bug; cnnkit --debug … shows where."
    assert result.exit_code == 70
    if as_json:
        assert json.loads(result.stdout)["errors"] == [{"code": "internal", "message": message}]
    else:
        assert (result.stdout, result.stderr) == ("", f"error: {message}\n")


@pytest.mark.usefixtures("nets")
def test_a_users_package_that_lacks_a_library_gives_no_traceback(cli: Cli) -> None:
    result = cli("summary", "tinynets:lacking")
    assert isinstance(result.exception, SystemExit)
    assert "no_such_library" in result.stderr


def test_an_installation_without_pytorch_says_what_it_lacks(process: Process, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('no torch', name='torch')")
    result = process("summary", "lenet", env={"PYTHONPATH": str(tmp_path)})
    assert (result.returncode, result.stdout) == (1, "")
    assert "this installation lacks torch. Run: pip install torch " in " ".join(result.stderr.split())
    as_json = process("summary", "lenet", "--json", env={"PYTHONPATH": str(tmp_path)})
    assert json.loads(as_json.stdout)["errors"][0]["code"] == "missing-dependency"


def test_a_traceback_is_shown_on_demand_only(process: Process) -> None:
    plain, debug = process("predict", "x.png", "-m", "nosuch"), process("--debug", "predict", "x.png", "-m", "nosuch")
    assert (plain.returncode, plain.stdout, plain.stderr.count("\n")) == (1, "", 1)
    assert plain.stderr.startswith("error: there is no model 'nosuch'.")
    assert (debug.returncode, debug.stdout) == (1, "")
    assert debug.stderr.startswith("Traceback (most recent call last)")
    assert "UnknownNameError: there is no model 'nosuch'." in debug.stderr
    assert process("--debug", "train", "lenet", "--epochs", "-1").returncode == 2
    assert json.loads(process("--debug", "train", "lenet", "--epochs", "-1", "--json").stdout)["status"] == "error"


def test_a_reader_that_leaves_early_causes_no_traceback(program: str) -> None:
    with subprocess.Popen([program, "models"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout
        assert running.stderr
        running.stdout.close()
        errors = running.stderr.read().decode()
    assert errors == ""
