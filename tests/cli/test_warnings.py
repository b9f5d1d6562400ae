"""Warnings: shown once, in the JSON envelope, and on the pages that outlive the terminal."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
WARNING = (
    "1 identical image stands in more than one class, so that some labels must be wrong: dark/00.png = light/new.png"
)


@pytest.fixture
def run(own_photos: Path, cli: Cli, tmp_path: Path) -> Path:
    """The run folder of a network trained on images of which one has two labels."""
    shutil.copy(own_photos / "dark" / "00.png", own_photos / "light" / "new.png")
    options = ("--data", own_photos, "--epochs", "1", "--runs-dir", tmp_path / "runs", "--device", "cpu")
    assert cli("train", "softmax-regression", *options).exit_code == 0
    return tmp_path / "runs" / "softmax-regression-photos-1"


def test_several_sections_of_a_report_warn_once(
    run: Path, cli: Cli, stands_alone: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cnnkit.reporting.report._SECONDS", 0.05)
    result = cli("report", run, "--images", "4", "--device", "cpu")
    assert result.exit_code == 0
    assert result.stderr.count("identical image") == 1
    assert f"warning: {WARNING}.\n" in result.stderr
    assert WARNING not in " ".join(result.stdout.split())
    text = " ".join(stands_alone(run / "report.html").split())
    assert text.count(WARNING) == 1


def test_the_page_of_the_mistakes_has_them(
    run: Path, cli: Cli, tmp_path: Path, stands_alone: Callable[[Path], str]
) -> None:
    result = cli("mistakes", run, "-o", tmp_path / "mistakes", "--device", "cpu")
    assert result.stderr.count(WARNING) == 1
    assert " ".join(stands_alone(tmp_path / "mistakes" / "mistakes.html").split()).count(WARNING) == 1
    found = json.loads((tmp_path / "mistakes" / "mistakes.json").read_text("utf-8"))
    assert found["warnings"] == found["data"]["warnings"] == [WARNING]


@pytest.mark.parametrize("command", ["evaluate", "mistakes", "report", "attack"])
def test_the_envelope_has_them(command: str, run: Path, cli: Cli, tmp_path: Path) -> None:
    options = {
        "evaluate": (),
        "mistakes": ("-o", tmp_path / "out"),
        "report": ("--without", "corruptions,attacks,parity,benchmark"),
        "attack": ("--only", "corruptions", "-o", tmp_path / "out"),
    }[command]
    found = json.loads(cli(command, run, *options, "--device", "cpu", "--json").stdout)
    assert (found["status"], found["warnings"]) == ("ok", [WARNING])


def test_the_envelope_of_a_failure_has_them_too(run: Path, own_photos: Path, cli: Cli, tmp_path: Path) -> None:
    result = cli("evaluate", run, "--min-accuracy", "1", "--split", "all", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["status"]) == (3, "failed")
    assert WARNING in found["warnings"]
    result = cli("train", "lenet", "--data", own_photos, "--input", "1x5x5", "--runs-dir", tmp_path / "no", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["status"], found["errors"][0]["code"]) == (2, "error", "usage")
    assert found["warnings"] == [WARNING]


def test_one_command_does_not_repeat_those_of_another(run: Path, photos: Path, cli: Cli) -> None:
    assert json.loads(cli("evaluate", run, "--json").stdout)["warnings"] == [WARNING]
    assert json.loads(cli("evaluate", run, "--data", photos, "--json").stdout)["warnings"] != [WARNING]
    assert json.loads(cli("models", "--json").stdout)["warnings"] == []
    assert cli("evaluate", run).stderr == f"warning: {WARNING}.\n"
