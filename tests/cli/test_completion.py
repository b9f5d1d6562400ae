"""Shell completion through the protocol that the installed scripts speak, and without PyTorch."""

import inspect
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import typer

import cnnkit
from cnnkit.cli.loading import load, summaries
from cnnkit.options import parameters
from cnnkit.recipe import Recipe

Process = Callable[..., subprocess.CompletedProcess[str]]


def offered(process: Process, line: str, *, shell: str = "bash", cwd: Path | None = None) -> str:
    """What the shell is told when Tab is pressed at the end of `line`."""
    words = line.split(" ")
    env = {
        "_CNNKIT_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": line.replace(" ", "\n") if shell == "bash" else line,
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "PYTHONPROFILEIMPORTTIME": "1",
    }
    result = process(cwd=cwd, env=env)
    assert result.returncode == 0
    imported = {part.rpartition("|")[2].strip().partition(".")[0] for part in result.stderr.splitlines()}
    assert "cnnkit" in imported
    assert not imported & {"torch", "torchvision", "onnxruntime", "onnx", "matplotlib"}
    return result.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_models_are_offered(shell: str, process: Process) -> None:
    out = offered(process, "cnnkit summary le", shell=shell)
    assert "lenet" in out
    assert "alexnet" not in out


def test_commands_and_options_are_offered(process: Process) -> None:
    assert offered(process, "cnnkit ev").split() == ["evaluate"]
    assert {"--batch-size", "--schedule"} <= set(offered(process, "cnnkit train lenet --").split())


def test_zoo_entries_runs_and_files_are_offered(process: Process, tmp_path: Path) -> None:
    for name in ("lenet-mnist-1", "unfinished"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    (tmp_path / "runs" / "lenet-mnist-1" / "best.safetensors").write_bytes(b"")
    (tmp_path / "mine.onnx").write_bytes(b"")
    found = offered(process, "cnnkit evaluate ", cwd=tmp_path).split()
    assert {"lenet", "lenet-mnist", "digits", str(Path("runs") / "lenet-mnist-1"), "mine.onnx"} <= set(found)
    assert not [name for name in found if "unfinished" in name]


def test_data_sets_and_folders_are_offered(process: Process, tmp_path: Path) -> None:
    for name in ("photos", ".hidden"):
        (tmp_path / name).mkdir()
    everything = offered(process, "cnnkit train lenet --data ", cwd=tmp_path).split()
    assert everything == [*(data.name for data in cnnkit.list_datasets()), "./photos"]
    assert offered(process, "cnnkit train lenet --data ./p", cwd=tmp_path).split() == ["./photos"]


@pytest.mark.parametrize(
    ("line", "choices"),
    [
        ("train lenet --optimizer ", {"sgd", "adam", "adamw", "rmsprop"}),
        ("train lenet --optimizer ad", {"adam", "adamw"}),
        ("train lenet --schedule ", {"constant", "cosine", "one-cycle", "step"}),
        ("train lenet --fit c", {"contain", "cover"}),
        ("train lenet --precision ", {"fp32", "bf16", "fp16"}),
        ("train lenet --device c", {"cpu", "cuda", "cuda:0"}),
        ("predict a.png --engine ", {"local", "ray"}),
        ("predict a.png --pixels ", {"unit", "byte", "signed"}),
        ("evaluate lenet --split t", {"train", "test"}),
        ("export lenet --precision ", {"fp32", "fp16", "int8"}),
        ("attack lenet --norm ", {"linf", "l2"}),
        ("attack lenet --only ", {"corruptions", "fgsm", "pgd", "flip", "fooling"}),
        ("serve --log-format ", {"text", "json"}),
    ],
)
def test_the_values_of_an_option_are_offered(line: str, choices: set[str], process: Process) -> None:
    assert set(offered(process, f"cnnkit {line}").split()) == choices


FREE = {
    "--labels", "--target", "--layer", "--name", "--cors", "--api-key", "--host", "--mean", "--std", "--epsilon",
    "--input", "--batch", "--threads",
}  # fmt: skip
"""Options for a text that is no name, or a name that only the file or the network knows."""


def takes_text(command: Any, name: str) -> bool:
    kind = get_args(inspect.signature(command.callback).parameters[name].annotation)[0]
    return str in (kind, *get_args(kind))


@pytest.mark.parametrize("name", summaries())
def test_every_option_that_takes_a_name_offers_names(name: str) -> None:
    """A new option, and a new choice, that nobody thought of."""
    command: Any = load(name)
    context = typer.Context(command)
    silent = [
        param.opts[0]
        for param in command.params
        if param.param_type_name == "option"
        and takes_text(command, param.name)
        and not param.shell_complete(context, "")
    ]
    assert set(silent) <= FREE


def test_every_choice_of_the_recipe_is_offered() -> None:
    train: Any = load("train")
    offered = {
        param.name: [item.value for item in param.shell_complete(typer.Context(train), "")] for param in train.params
    }
    choices = {field.name: list(field.choices) for field in parameters(Recipe) if field.choices}
    assert "optimizer" in choices
    assert {name: offered[name] for name in choices} == choices


def test_the_model_of_predict_is_offered(process: Process) -> None:
    assert "digits" in offered(process, "cnnkit predict a.png --model dig").split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_the_shell_can_be_shown(shell: str, process: Process) -> None:
    result = process(env={"_CNNKIT_COMPLETE": f"source_{shell}"})
    assert result.returncode == 0
    assert "_CNNKIT_COMPLETE" in result.stdout
