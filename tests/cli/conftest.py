"""The installed `cnnkit` as a process, for what only a process shows."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

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
            timeout=120,
            check=False,
        )

    return run
