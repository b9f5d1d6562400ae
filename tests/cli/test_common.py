"""What all commands share: help, version, shapes, and arguments that were swapped."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image

import cnnkit
from cnnkit.cli import make_app
from cnnkit.cli.loading import load, summaries
from cnnkit.options import parameters
from cnnkit.recipe import Recipe

Cli = Callable[..., Any]
Process = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize("command", ["", *summaries()])
def test_help(command: str, cli: Cli) -> None:
    result = cli(*command.split(), "--help")
    assert (result.exit_code, result.stderr) == (0, "")
    found: Any = load(command) if command else typer.main.get_command(make_app())
    shown = [param for param in found.params if not param.expose_value or param.help]
    # Versions of typer draw it in their own ways; what it says is ours.
    assert all(name in result.stdout for param in shown for name in param.opts if name.startswith("-"))
    assert [param.name for param in shown if not param.help] == []
    words = " ".join(re.sub("[│╭╮╰╯─]", " ", result.stdout).split())
    assert found.help.split("\n")[0][:40] in words


def test_the_help_of_train_has_every_field_of_the_recipe(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    out = cli("train", "--help").stdout
    for field in parameters(Recipe):
        assert all(f" {name}" in out or f",{name}" in out for name in (field.flag, *field.option.also))
        assert field.help in out
        assert f"─ {field.option.panel} ─" in out


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", "0"),
        ("momentum", "1"),
        ("epochs", "-1"),
        ("crop_fraction", "nan"),
        ("ema", "inf"),
        ("seed", "0.5"),
    ],
)
def test_a_number_out_of_the_range_of_its_field_is_refused_by_its_option(field: str, value: object, cli: Cli) -> None:
    result = cli("train", "lenet", f"--{field.replace('_', '-')}={value}", "--json")
    (error,) = json.loads(result.stdout)["errors"]
    assert (result.exit_code, error["code"]) == (2, "usage")
    assert f"--{field.replace('_', '-')}" in error["message"]


def test_a_command_is_a_module_that_defines_it() -> None:
    folder = Path(cnnkit.cli.__path__[0])
    assert set(summaries()) == {
        path.stem for path in folder.glob("*.py") if "\ndef command(" in path.read_text("utf-8")
    }
    assert all(summaries().values())


def test_h_is_help(cli: Cli) -> None:
    assert cli("summary", "-h").stdout == cli("summary", "--help").stdout


def test_the_help_of_the_program_lists_every_command(cli: Cli) -> None:
    out = cli("--help").stdout
    assert all(f" {command} " in out for command in summaries())


def test_no_command_shows_the_help(cli: Cli) -> None:
    result = cli()
    assert result.exit_code == 2
    assert "Usage: cnnkit" in result.output


def test_version(cli: Cli) -> None:
    result = cli("--version")
    assert (result.exit_code, result.stdout) == (0, f"cnnkit {cnnkit.__version__}\n")


@pytest.mark.parametrize("command", ["predict", "explain"])
@pytest.mark.parametrize("swapped", ["digits", "lenet", "absent.onnx", "run"])
def test_a_model_where_an_image_is_expected_is_wrong_usage(
    command: str, swapped: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "best.safetensors").touch()
    (tmp_path / "run" / "curves.png").touch()
    result = cli(command, swapped)
    assert (result.exit_code, result.stdout) == (2, "")
    said = f"{swapped} is a model, and an image is expected here: cnnkit {command} IMAGE --model {swapped}"
    assert said in " ".join(result.stderr.split())


@pytest.mark.parametrize("command", ["predict", "explain"])
def test_what_can_be_no_file_is_named_as_it_was_given(command: str, cli: Cli) -> None:
    result = cli(command, "a" * 300)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "best.safetensors" not in result.stderr


def test_an_image_called_like_a_model_is_an_image(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("L", (28, 28)).save(tmp_path / "digits", "PNG")
    assert cli("predict", "digits").exit_code == 0


@pytest.mark.parametrize("command", ["serve", "evaluate", "attack", "summary", "export", "benchmark"])
def test_an_image_where_a_model_is_expected_is_wrong_usage(
    command: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("L", (28, 28)).save(tmp_path / "seven.png")
    result = cli(command, "seven.png", *(["--onnx"] if command == "export" else []))
    assert (result.exit_code, result.stdout) == (2, "")
    said = "seven.png is an image, and a model is expected here. To classify it: cnnkit predict seven.png"
    assert said in " ".join(result.stderr.split())


@pytest.mark.parametrize("text", ["3x32", "3x32x32x3", "3xax3", "0x28x28", "-1x28x28", "", "28"])
@pytest.mark.parametrize("command", ["summary", "train"])
def test_a_shape_that_is_none_is_wrong_usage(text: str, command: str, cli: Cli) -> None:
    result = cli(command, "lenet", f"--input={text}")
    assert result.exit_code == 2
    assert "is not channels × height × width, as in" in " ".join(result.stderr.replace("│", "").split())


@pytest.mark.parametrize("text", ["1x28x28", "1X28X28", "1×28×28"])
def test_shapes_can_be_written_in_three_ways(text: str, cli: Cli) -> None:
    assert cli("summary", "lenet", "--input", text).stdout == cli("summary", "lenet").stdout


def test_the_module_runs_like_the_program(process: Process) -> None:
    module = subprocess.run(
        [sys.executable, "-m", "cnnkit", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert module.stdout == process("--version").stdout


def test_a_command_that_is_named_loads_no_other() -> None:
    code = """
import sys
from cnnkit.cli import main
sys.argv = ["cnnkit", "--debug", "models"]
try:
    main()
finally:
    assert "cnnkit.cli.models" in sys.modules
    assert "cnnkit.cli.train" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
