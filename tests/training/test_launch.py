"""`cnnkit train --nproc` and torchrun: several processes as one command, also where one of them is killed."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from cnnkit.errors import CnnkitError, DeviceError
from cnnkit.training import launch as launching
from cnnkit.training import networks, runs

Cli = Callable[..., Any]
Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="PyTorch for Windows has no TCPStore for gloo")
NETS = Path(__file__).parents[1] / "cli"
RUN = "acting-Net-photos-1"
RECIPE = (
    "acting:Net", "--epochs", 4, "--batch-size", 4, "--mixup", 0.2, "--augmentation", "affine", "--device", "cpu",
    "--checkpoint-every", 1,
)  # fmt: skip
TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node", 2, "-m", "cnnkit")
ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join([str(NETS), os.environ.get("PYTHONPATH", "")]),
    "PYTHONIOENCODING": "utf-8",
}


@pytest.fixture(autouse=True)
def settled_launch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let processes find the acting network, and take back the handlers that the launcher leaves in this one."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(NETS)
    numbers = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT]
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def kill_once(flag: Path) -> str:
    """Let the second process be killed before its sixth step, unless it was already."""
    return f"""
import os
from pathlib import Path
if step == 6 and rank == 1 and not Path({str(flag)!r}).exists():
    Path({str(flag)!r}).touch()
    os.kill(os.getpid(), 9)
"""


def start(launcher: Sequence[object], *arguments: object, act: str = "") -> subprocess.CompletedProcess[str]:
    """Train in processes that are not this one's children only."""
    return subprocess.run(
        [sys.executable, *map(str, launcher), "train", *map(str, RECIPE), *map(str, arguments)],
        env={**os.environ, **ENVIRONMENT, "ACT": act},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )


def outcome(run: Path) -> Any:
    """The weights and the curves."""
    card = networks.load_checkpoint(run / "best.safetensors", "best", trust_code=True)[1]
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    curves = [{n: v for n, v in row.items() if n not in {"seconds", "images_per_second"}} for row in rows]
    return card.weights_sha256, card.metrics, curves


@pytest.fixture(scope="module")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The run folder of two processes of torchrun that nobody disturbed, and what they printed."""
    runs = tmp_path_factory.mktemp("whole")
    ended = start(TORCHRUN, "--data", photos, "--runs-dir", runs)
    assert ended.returncode == 0, ended.stderr
    return runs / RUN, ended


def test_torchrun_makes_one_folder_and_one_process_speaks(
    whole: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    run, ended = whole
    assert [path.name for path in run.parent.iterdir()] == [RUN]
    assert [line.partition(" ")[0] for line in ended.stdout.splitlines()] == ["best", str(run / "best.safetensors")]
    lines = ended.stderr.splitlines()
    assert lines[0].endswith(", 2 processes")
    assert lines[1] == "2 classes: dark (10), light (10)"
    assert lines[2] == "images: 12×10 RGB to 8×8 RGB, contain"
    assert lines[3].endswith(f" → {run}")
    assert [line.split()[0] for line in lines[4:]] == ["epoch", "0", "1", "2", "3", "4"]


def test_a_process_that_is_killed_costs_nothing(
    whole: tuple[Path, Any], photos: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    monkeypatch.setenv("ACT", kill_once(tmp_path / "killed"))
    result = cli("train", *RECIPE, "--data", photos, "--runs-dir", tmp_path / "runs", "--nproc", 2, "--json")
    out, err = capfd.readouterr()
    assert (result.exit_code, json.loads(out)["status"]) == (0, "ok")
    assert result.stderr == ("warning: process 1 was killed by SIGKILL; all begin again from the last checkpoint.\n")
    assert "going on after step 2 of epoch 2" in err
    assert not [text for text in ("Traceback", "broke", "signal", "rror") if text in err]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [RUN]
    assert outcome(tmp_path / "runs" / RUN) == outcome(whole[0])


def test_a_process_of_torchrun_that_is_killed_costs_nothing_where_it_may_restart(
    whole: tuple[Path, Any], photos: Path, tmp_path: Path
) -> None:
    torchrun = (*TORCHRUN[:2], "--max-restarts", 1, *TORCHRUN[2:])
    ended = start(torchrun, "--data", photos, "--runs-dir", tmp_path / "runs", act=kill_once(tmp_path / "killed"))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("best epoch") == 1
    assert "going on after step 2 of epoch 2" in ended.stderr
    assert outcome(tmp_path / "runs" / RUN) == outcome(whole[0])


def test_signals_to_the_launcher_stop_all_and_the_run_goes_on(
    whole: tuple[Path, Any], photos: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    """With epochs of three steps, so that none of them can wait for a later step to agree."""
    arguments = ("--data", photos, "--runs-dir", tmp_path, "--nproc", 2)
    run = tmp_path / RUN
    going_on = ("--resume", run)
    cases = [
        (signal.SIGTERM, 143, "stopped by SIGTERM after step 3 of epoch 2. ", (), 5),
        (signal.SIGINT, 130, "stopped by Ctrl-C after step 3 of epoch 3. ", going_on, 2),
    ]
    for number, code, message, more, step in cases:
        # Until the launcher has passed the signal on.
        act = f"""
import os, signal, time
with open({str(tmp_path / "pids")!r}, "a") as file:
    file.write(f"{{os.getpid()}} ")
if step == {step} and rank == 0:
    os.kill(os.getppid(), {int(number)})
    deadline = time.monotonic() + 120
    while not signal.getsignal(signal.SIGTERM).__self__.signal and time.monotonic() < deadline:
        time.sleep(0.01)
"""
        monkeypatch.setenv("ACT", act)
        ended = cli("train", *RECIPE, *arguments, *more)
        out, err = capfd.readouterr()
        assert (ended.exit_code, ended.output, out) == (code, "", "")
        assert err.splitlines()[-1].startswith(message)
        assert err.endswith(f"Go on with: cnnkit train acting:Net --resume {run}\n")
        assert not [text for text in ("Traceback", "broke", "death signal", "rror") if text in err]
        workers = set(map(int, (tmp_path / "pids").read_text().split()))
        assert len(workers) == 2
        assert not [pid for pid in workers if psutil.pid_exists(pid)]
        (tmp_path / "pids").unlink()
    monkeypatch.delenv("ACT")
    assert cli("train", *RECIPE, *arguments, *going_on).exit_code == 0
    assert outcome(run) == outcome(whole[0])


def test_an_error_is_said_once_and_nothing_begins_again(photos: Path, tmp_path: Path, cli: Cli, capfd: Capture) -> None:
    result = cli("train", *RECIPE, "--data", photos, "--runs-dir", tmp_path, "--nproc", 2, "--batch-size", 3)
    assert (result.exit_code, result.output) == (2, "")
    assert capfd.readouterr() == ("", "error: a batch of 3 leaves less than two images for each of 2 processes.\n")
    assert list(tmp_path.iterdir()) == []


def test_more_processes_than_cores_are_refused_at_once(tmp_path: Path, cli: Cli) -> None:
    result = cli("train", "lenet", "--nproc", 999, "--device", "cpu", "--runs-dir", tmp_path / "runs")
    cores = os.cpu_count()
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"error: --nproc 999: this machine has {cores} core{'s' * (cores != 1)}.\n"


def launch(arguments: Sequence[str], runs_dir: Path, *, say: Callable[[str], None] = print) -> int:
    return launching.launch(2, lambda run: arguments, device="cpu", runs_dir=runs_dir, resume=None, say=say)


@pytest.mark.parametrize(("arguments", "code"), [(["--version"], 0), (["nosuch"], 2), (["predict", "nowhere.png"], 1)])
def test_the_exit_code_is_that_of_the_processes(
    arguments: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert launch(arguments, tmp_path / "runs") == code
    left = [*tmp_path.glob("torchelastic_*"), *tmp_path.glob("cnnkit-*")]
    assert left == [], "logs are left behind"
    assert runs.LAUNCH not in os.environ  # a later run of this process is not part of the launch


@pytest.fixture
def killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let so many processes be killed as soon as they start: `killed(3)`."""

    def prepare(times: int) -> None:
        lives = tmp_path / "lives"
        lives.mkdir()
        for number in range(times):
            (lives / str(number)).touch()
        (tmp_path / "sitecustomize.py").write_text(
            f"""
import os
for life in os.listdir({str(lives)!r}):
    try:
        os.unlink(os.path.join({str(lives)!r}, life))
    except FileNotFoundError:
        continue  # another process took it
    os.kill(os.getpid(), 9)
"""
        )
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return prepare


def test_processes_that_are_killed_before_there_is_a_run_begin_again(
    killed: Callable[[int], None], tmp_path: Path
) -> None:
    killed(1)
    said: list[str] = []
    assert launch(["--version"], tmp_path / "runs", say=said.append) == 0
    assert len(said) == 1
    assert re.fullmatch(r"process [01] was killed by SIGKILL; all begin again from the start", said[0])


def test_processes_that_are_killed_again_and_again_are_given_up(killed: Callable[[int], None], tmp_path: Path) -> None:
    killed(100)
    said: list[str] = []
    with pytest.raises(CnnkitError, match=r"killed by SIGKILL, once more after 3 restarts\. Nothing was saved\.$"):
        launch(["--version"], tmp_path / "runs", say=said.append)
    assert [text.partition("; ")[2] for text in said] == ["all begin again from the start"] * 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_more_processes_than_gpus_are_refused(tmp_path: Path) -> None:
    have = torch.cuda.device_count()
    with pytest.raises(DeviceError, match=f"this machine has {have} GPU"):
        launching.launch(have + 1, lambda run: [], device="cuda", runs_dir=tmp_path, resume=None, say=print)
