"""The crash test in small: `scripts/kill_training.py` kills few trainings, and finds what it is there to find."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "kill_training.py"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no fork, or no safe one")


def test_training_that_is_killed_ends_as_if_nothing_had_happened() -> None:
    arguments = ["--kills", "4", "--aimed", "2", "--seed", "1"]
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, encoding="utf-8", timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    rows = dict(line.strip("| ").split(" | ") for line in ended.stdout.splitlines() if " | " in line.strip("| "))
    kills = int(rows["kills"])
    assert kills >= 4
    assert int(rows["… inside a save"]) >= 2
    assert rows["kills whose run ended as if nothing had happened"] == f"{kills} of {kills}"
    assert int(rows["checkpoints read after kills"]) > kills
    assert rows["unreadable ones, and other problems"] == "0"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kill_training", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def own_run(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of `tiny_run` that a test may damage."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("state.safetensors", "state.safetensors: "),
        ("state.previous.safetensors", "state.previous.safetensors: "),
        ("best.safetensors", "best.safetensors is not a whole safetensors file"),
        ("run.toml", "cannot read the recipe"),
    ],
)
def test_whatever_is_damaged_is_found(name: str, problem: str, script: ModuleType, own_run: Path) -> None:
    found = script.Found()
    assert list(script.unreadable(own_run, found)) == []
    assert found.read == 3
    path = own_run / name
    path.write_bytes(b"=" + path.read_bytes()[1:])
    (said,) = script.unreadable(own_run, found)
    assert problem in said


def test_a_run_without_its_best_checkpoint_is_found(script: ModuleType, own_run: Path) -> None:
    (own_run / "best.safetensors").unlink()
    assert list(script.unreadable(own_run, script.Found())) == ["there are curves and no best checkpoint"]
