"""`cnnkit report`."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
FAST = ("--without", "mistakes,corruptions,attacks,parity,benchmark", "--device", "cpu")


@pytest.fixture
def run(photos_run: Path, tmp_path: Path) -> Path:
    """A copy of a run that a test may write into."""
    return Path(shutil.copytree(photos_run, tmp_path / "run"))


def test_the_page_goes_into_the_run_and_the_terminal_says_what_it_comes_to(
    run: Path, cli: Cli, stands_alone: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cnnkit.reporting.report._SECONDS", 0.05)
    result = cli("report", run, "--images", 4, "--device", "cpu")
    assert result.exit_code == 0
    flat = " ".join(result.stdout.split())
    assert flat.startswith("softmax-regression on photos softmax-regression is a network with")
    assert "It gets all 4 test images, which it had not seen, right." in flat
    assert result.stderr.splitlines()[-1] == str(run / "report.html")
    text = stands_alone(run / "report.html")
    assert "softmax-regression on photos" in text
    assert "This part is missing" not in text


def test_json_is_one_envelope_and_the_page_is_written(run: Path, tmp_path: Path, cli: Cli) -> None:
    result = cli("report", run, "-o", tmp_path / "page.html", "--json", *FAST)
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert (found["cnnkit"], found["command"], found["status"]) == (1, "report", "ok")
    assert set(found["data"]) == {
        "model", "is_run", "has_layers", "named", "made", "origin", "parameters", "records", "evaluation",
        "mistakes", "corruptions",
        "attacks", "certificate", "onnx_mb", "onnx_made", "benchmark", "layers", "left_out", "versions", "seconds",
    }  # fmt: skip
    assert found["data"]["evaluation"]["accuracy"] == 1.0
    assert len(found["data"]["records"]) == 10
    assert {out["section"] for out in found["data"]["left_out"]} == set(FAST[1].split(","))
    assert (tmp_path / "page.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    assert not (run / "report.html").exists()


@pytest.mark.parametrize("ref", ["shapes-cnn", "checkpoint", "onnx"])
def test_the_page_of_what_is_no_run_is_named_after_it(
    ref: str, run: Path, photos_onnx: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    named = {"checkpoint": run / "best.safetensors", "onnx": photos_onnx}.get(ref, ref)
    result = cli("report", named, *FAST, "--without", "evaluation,mistakes,corruptions,attacks,parity,benchmark")
    assert result.exit_code == 0
    name = {"checkpoint": "run", "onnx": "photos"}.get(ref, ref)
    assert [path.name for path in place.iterdir()] == [f"report-{name}.html"]
    assert "without curves: records of the training are in a run folder" in " ".join(result.stdout.split())


@pytest.mark.parametrize("where", ["a file", "a folder"])
def test_a_place_that_cannot_be_written_is_found_before_the_work(
    where: str, run: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cnnkit.sources.checkpoint import Checkpoint

    monkeypatch.setattr(Checkpoint, "weights", lambda *_, **__: pytest.fail("the network was loaded"))
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    output = {"a file": tmp_path / "file" / "report.html", "a folder": tmp_path / "folder"}[where]
    result = cli("report", run, "-o", output)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "error: " in result.stderr
    assert not (run / "report.html").exists()


def test_a_page_that_is_not_named_as_one_is_wrong_usage(run: Path, cli: Cli, tmp_path: Path) -> None:
    result = cli("report", run, "-o", tmp_path / "page.txt")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "the name must end in .html" in " ".join(result.stderr.split())


def test_a_section_that_does_not_exist_is_wrong_usage(run: Path, cli: Cli) -> None:
    result = cli("report", run, "--without", "curves,everything")
    assert result.exit_code == 2
    flat = " ".join(result.stderr.split())
    assert "--without everything: expected some of training, curves, evaluation," in flat


def test_a_missing_run_is_an_error(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = cli("report", "runs/gone")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "there is no file or folder 'runs/gone'" in " ".join(result.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_an_older_page_is_replaced_whole(run: Path, cli: Cli) -> None:
    (run / "report.html").write_text("what was there")
    assert cli("report", run, *FAST).exit_code == 0
    assert "what was there" not in (run / "report.html").read_text("utf-8")
    assert not list(run.glob(".cnnkit.*"))
