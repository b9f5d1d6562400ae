"""Install the server as the Dockerfile does, in a folder of its own, and say what it takes on disk.

    python scripts/image_size.py [--group server-gpu]

The image is this and its base, python:3.13-slim.
"""

import argparse
import platform
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def size(path: Path) -> int:
    """Return the bytes in a file or a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_dir())


def steps(group: str, target: Path, work: Path) -> list[list[str]]:
    """Return the commands of the Dockerfile's first stage, with its folders and its pip exchanged for ours."""
    pip = work / "bin" / "pip"
    text = (ROOT / "Dockerfile").read_text("utf-8").replace("/opt/cnnkit", str(target)).replace("${PACKAGES}", group)
    commands = [part for line in text.splitlines() if line.startswith("RUN ") for part in line[4:].split(" && ")]
    programs = {"pip": str(pip), "python": sys.executable}
    return [[programs[first], *rest] for first, *rest in map(shlex.split, commands)]


def main() -> None:
    """Install, and print the largest parts and their sum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--group", default="server", choices=["server", "server-gpu"])
    group = parser.parse_args().group
    with tempfile.TemporaryDirectory() as folder:
        work, target = Path(folder) / "pip", Path(folder) / "cnnkit"
        subprocess.run([sys.executable, "-m", "venv", work], check=True)
        for step in steps(group, target, work):
            subprocess.run(step, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        packages = next(target.glob("lib/python*/site-packages"))
        parts = sorted(((size(part), part.name) for part in packages.iterdir()), reverse=True)
        for taken, name in parts[:12]:
            print(f"{taken / 1e6:7.1f} MB  {name}")
        print(
            f"{size(target) / 1e6:7.1f} MB  in all: {group}, Python {platform.python_version()}, {platform.machine()}"
        )


if __name__ == "__main__":
    main()
