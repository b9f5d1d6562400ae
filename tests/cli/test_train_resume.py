"""`cnnkit train --resume` and what it goes on from, on the command line."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import cnnkit
from cnnkit.errors import UsageError
from cnnkit.training.state import read_state

Cli = Callable[..., Any]
RUN = "acting-Net-photos-1"
LEAVE = "import os, signal; os.kill(os.getpid(), signal.SIGINT); os.kill(os.getpid(), signal.SIGINT)"
on_unix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit and no such signals")


def test_without_anything_else_a_run_goes_on_as_its_folder_says(
    train: Cli, cli: Cli, outcome: Callable[[Path], Any], tmp_path: Path
) -> None:
    train("whole")
    train("parts", "--epochs", 2)
    result = cli("train", "acting:Net", "--resume", tmp_path / "parts" / RUN, "--epochs", 4, "--device", "cpu")
    assert result.exit_code == 0
    rows = [row.split()[0] for row in result.stderr.splitlines()]
    assert rows[-5:] == ["1", "2", "going", "3", "4"]
    assert outcome(tmp_path / "parts" / RUN) == outcome(tmp_path / "whole" / RUN)


def test_json_of_a_run_that_went_on_is_that_of_the_whole_run(train: Cli, cli: Cli, tmp_path: Path) -> None:
    train("runs", "--epochs", 2)
    result = cli("train", "acting:Net", "--resume", tmp_path / "runs" / RUN, "--epochs", 3, "--device", "cpu", "--json")
    data = json.loads(result.stdout)["data"]
    assert [epoch["epoch"] for epoch in data["epochs"]] == [1, 2, 3]
    assert (data["recipe"]["epochs"], data["result"]["ended_by"]) == (3, "epochs")


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resume", "nowhere"], "nowhere is no run folder: it has no run.toml"),
        (["--resume", "photos"], "photos is no run folder: it has no run.toml"),
        (["acting:Net", "--resume", f"runs/{RUN}", "--config", f"runs/{RUN}/run.toml"], "--config is for new runs"),
        (["lenet", "--resume", f"runs/{RUN}"], "model was 'acting:Net' and is 'lenet'"),
        (["acting:Net", "--resume", f"runs/{RUN}", "--seed", "1"], "seed was 0 and is 1"),
        (["acting:Net", "--resume", f"runs/{RUN}", "--data", "mnist"], "and is 'mnist'"),
        (
            ["acting:Net", "--resume", f"runs/{RUN}", "--lr", "1", "--ema", "0.5"],
            "learning_rate was 0.001 and is 1.0; ema was",
        ),
        (["acting:Net", "--resume", f"runs/{RUN}", "--input", "3x9x9"], "input_shape was (3, 8, 8) and is (3, 9, 9)"),
    ],
)
def test_what_cannot_go_on_is_wrong_usage(
    options: list[str],
    message: str,
    as_json: bool,
    train: Cli,
    cli: Cli,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train("runs", "--epochs", 1)
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "runs" / RUN).iterdir()}
    result = cli("train", *options, "--device", "cpu", *["--json"] * as_json)
    assert result.exit_code == 2
    if as_json:
        (error,) = json.loads(result.stdout)["errors"]
        assert error["code"] == "usage"
        assert message in error["message"]
    else:
        assert message in result.stderr
        assert result.stderr.count("\n") == 1
    assert (result.stderr if as_json else result.stdout) == ""
    assert {path: path.read_bytes() for path in (tmp_path / "runs" / RUN).iterdir()} == before


def test_states_that_are_damaged_are_named(train: Cli, cli: Cli, tmp_path: Path) -> None:
    train("runs", "--epochs", 2)
    run = tmp_path / "runs" / RUN
    for path in run.glob("state*.safetensors"):
        path.write_bytes(path.read_bytes()[:-100])
    result = cli("train", "acting:Net", "--resume", run, "--device", "cpu")
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{run} cannot be resumed: " in result.stderr
    assert "state.safetensors is not a whole state" in result.stderr
    assert "state.previous.safetensors is not a whole state" in result.stderr


@on_unix
@pytest.mark.parametrize(("every", "at"), [(0, "epoch 1"), (1, "step 2 of epoch 2"), (2, "step 2 of epoch 2")])
def test_checkpoint_every_saves_within_an_epoch(
    every: int, at: str, train: Cli, cli: Cli, outcome: Callable[[Path], Any], tmp_path: Path
) -> None:
    train("whole")
    train("parts", "--checkpoint-every", every, act=f"if step == 6: {LEAVE}")
    result = cli("train", "acting:Net", "--resume", tmp_path / "parts" / RUN, "--device", "cpu")
    assert f"\ngoing on after {at}\n" in result.stderr
    assert outcome(tmp_path / "parts" / RUN) == outcome(tmp_path / "whole" / RUN)


def state_is_a_folder(run: Path) -> str:
    return f"from pathlib import Path; path = Path({str(run)!r}) / 'state.safetensors'; path.unlink(); path.mkdir()"


def curves_are_a_folder(run: Path) -> str:
    return f"from pathlib import Path; path = Path({str(run)!r}) / 'metrics.csv'; path.unlink(); path.mkdir()"


@pytest.mark.parametrize("spoil", [state_is_a_folder, curves_are_a_folder])
def test_a_run_folder_that_cannot_be_written_is_an_error_that_costs_no_weights(
    spoil: Callable[[Path], str], train: Cli, cli: Cli, outcome: Callable[[Path], Any], tmp_path: Path
) -> None:
    train("whole")
    run = tmp_path / "parts" / RUN
    result = train("parts", act=f"if step == 8: {spoil(run)}")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "it is there, and not a file" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    for path in run.iterdir():
        if path.is_dir():
            path.rmdir()
    assert cli("evaluate", run, "--trust-code", "--device", "cpu").exit_code == 0
    assert cli("train", "acting:Net", "--resume", run, "--device", "cpu").exit_code == 0
    assert outcome(run) == outcome(tmp_path / "whole" / RUN)


@pytest.fixture
def file_limit() -> Iterator[None]:
    """Undo what a test does to the largest size of a file."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


FULL = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))"
EMPTY = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)"


@on_unix
@pytest.mark.usefixtures("file_limit")
@pytest.mark.parametrize("as_json", [False, True])
def test_a_full_disk_is_said_with_how_to_go_on_and_costs_nothing(
    as_json: bool, train: Cli, cli: Cli, outcome: Callable[[Path], Any], tmp_path: Path
) -> None:
    train("whole")
    run = tmp_path / "parts" / RUN
    result = train("parts", "--checkpoint-every", 1, *["--json"] * as_json, act=f"if step == 8: {FULL}")
    exec(EMPTY)
    message = json.loads(result.stdout)["errors"][0]["message"] if as_json else result.stderr.splitlines()[-1]
    assert result.exit_code == 1
    assert f"cannot write {run / 'state.safetensors'}: File too large" in message
    assert message.endswith(f"What was saved before is whole; go on with: cnnkit train acting:Net --resume {run}")
    assert not list(run.glob(".cnnkit.*"))
    state = read_state(run)
    assert state is not None
    assert (state[1]["epoch"], state[1]["step"]) == (2, 1)
    again = cli("train", "acting:Net", "--resume", run, "--device", "cpu")
    assert "\ngoing on after step 1 of epoch 3\n" in again.stderr
    assert outcome(run) == outcome(tmp_path / "whole" / RUN)


def test_code_that_a_run_names_is_imported_by_the_users_word_only(train: Cli, cli: Cli, tmp_path: Path) -> None:
    """A run folder may come from elsewhere, as a checkpoint may."""
    train("runs", "--epochs", 1)
    run = tmp_path / "runs" / RUN
    before = {path: path.read_bytes() for path in run.iterdir()}
    for option, path in (("--resume", run), ("--config", run / "run.toml")):
        result = cli("train", option, path, "--device", "cpu", "--runs-dir", tmp_path / "others")
        assert result.exit_code == 2
        assert "names code to import as its network, 'acting:Net'. If you trust it, say --trust-code" in result.stderr
    with pytest.raises(UsageError, match="trust_code=True"):
        list(cnnkit.train(resume=run))
    assert {path: path.read_bytes() for path in run.iterdir()} == before
    assert cli("train", "--resume", run, "--epochs", 2, "--device", "cpu", "--trust-code").exit_code == 0
    assert cli("train", "acting:Net", "--resume", run, "--epochs", 3, "--device", "cpu").exit_code == 0
