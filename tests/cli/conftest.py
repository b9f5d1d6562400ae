"""The installed `cnnkit` as a process, for what only a process shows."""

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def program() -> str:
    """The installed console script."""
    found = shutil.which("cnnkit", path=str(Path(sys.executable).parent)) or shutil.which("cnnkit")
    assert found, "cnnkit is not installed beside this Python"
    return found


@pytest.fixture
def process(program: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the console script: `process("models", cwd=folder, env={"NAME": "value"})`."""

    def run(
        *arguments: object, cwd: Path | None = None, env: dict[str, str] | None = None, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, "PYTHONIOENCODING": "utf-8", **(env or {})},
            input=input,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture
def acting(monkeypatch: pytest.MonkeyPatch) -> str:
    """The reference of a network that does what $ACT says, see `acting.py`; importable as a user's own package is."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return "acting:Net"


@pytest.fixture
def train(
    photos: Path, tmp_path: Path, cli: Callable[..., Any], acting: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Train the acting network, in this process, for four epochs of three steps: `train("runs", act="...")`.

    The run folder is `tmp_path / "runs" / "acting-Net-photos-1"`.
    """

    def run(runs: str, *options: object, act: str = "") -> Any:
        arguments = ("--data", photos, "--epochs", 4, "--batch-size", 4, "--augmentation", "affine", "--mixup", 0.2)
        with monkeypatch.context() as patch:
            patch.setenv("ACT", act)
            return cli("train", acting, *arguments, "--runs-dir", tmp_path / runs, "--device", "cpu", *options)

    return run


@pytest.fixture
def outcome() -> Callable[[Path], Any]:
    """What two runs have in common that differ in speed only: `outcome(run)` is their weights and their curves."""

    def read(run: Path) -> Any:
        from cnnkit.sources.checkpoint import load_checkpoint

        card = load_checkpoint(run / "best.safetensors", "best", trust_code=True)[1]
        with (run / "metrics.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        curves = [{n: v for n, v in row.items() if n not in {"seconds", "images_per_second"}} for row in rows]
        return card.weights_sha256, card.metrics, curves

    return read
