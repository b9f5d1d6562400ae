"""The crash test: training is killed again and again, and has to end as if nothing had happened.

    python scripts/kill_training.py [--kills 200] [--aimed 50] [--seed 0]

A run trains shapes-cnn on a small image folder, with dropout, augmentation, mixup, averaged weights and a checkpoint
every other step. It is killed by SIGKILL after a random time or, aimed, between the moment that a temporary file of a
save is seen and 3 ms later; a kill counts as inside a save where it left such a file or hit between the two renames.
After each kill every checkpoint in the run folder is read. Then the run is resumed, perhaps to be killed again, until
it ends; its weights, optimizer, random generators and curves are compared with those of a run that nobody disturbed.

Each training is a process of its own that runs the command line, forked from this one, which has PyTorch loaded. Exit
code 1: an unreadable checkpoint, a run that ended otherwise, or a file left over.
"""

import argparse
import csv
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from cnnkit import cli
from cnnkit.data import shapes
from cnnkit.errors import CnnkitError
from cnnkit.models import networks
from cnnkit.render import plots, training
from cnnkit.sources.checkpoint import load_checkpoint
from cnnkit.sources.files import BEST
from cnnkit.training import loop, runs
from cnnkit.training.state import PREVIOUS, STATE, read_state

LOADED = (plots, training, loop)
"""What the command line would import; forked processes have it already."""

OPTIONS = (
    "--epochs", "4", "--batch-size", "8", "--checkpoint-every", "2", "--augmentation", "drawings", "--mixup", "0.2",
    "--ema", "0.9", "--device", "cpu",
)  # fmt: skip
RUN = "shapes-cnn-images-1"
PER_CLASS = 40
SAVES = 15
"""Of the files that a run writes, one among the first so many is aimed at; there are twice as many."""
LONGEST_DELAY, PATIENCE = 0.003, 300.0


@dataclass
class Found:
    """What the test has seen so far."""

    kills: int = 0
    before: int = 0
    inside: int = 0
    runs: int = 0
    read: int = 0
    begun_anew: int = 0
    as_if_nothing: int = 0
    problems: list[str] = field(default_factory=list)


def draw_images(folder: Path) -> None:
    """Write a small image folder."""
    images, targets = shapes.draw_shapes(PER_CLASS, seed=0)
    for index, (pixels, target) in enumerate(zip(images, targets, strict=True)):
        place = folder / shapes.CLASSES[target]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{index:03}.png")


def fork_training(place: Path, arguments: list[str]) -> int:
    """Start `cnnkit train` as a child of this process and return its process number."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        log = os.open(place / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.argv = ["cnnkit", "train", *arguments]
        cli.main()
    except SystemExit as leave:
        code = leave.code if isinstance(leave.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def start(place: Path, images: Path) -> int:
    """Start a run, or go on with the one that is there."""
    run = place / RUN
    if run.is_dir():
        return fork_training(place, ["--resume", str(run), "--checkpoint-every", "2", "--device", "cpu"])
    return fork_training(place, ["shapes-cnn", "--data", str(images), "--runs-dir", str(place), *OPTIONS])


def ended(child: int) -> int | None:
    """Return the exit code of a child; None while it runs."""
    pid, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if pid else None


def temporaries(folder: Path) -> Iterator[str]:
    """Yield the names of files that are being written."""
    try:
        with os.scandir(folder) as entries:
            yield from (entry.name for entry in entries if entry.name.startswith(".cnnkit."))
    except FileNotFoundError:
        return


def wait_for_time(child: int, seconds: float) -> int | None:
    """Wait; return the exit code of a child that ended meanwhile."""
    until = time.perf_counter() + seconds
    while (code := ended(child)) is None and time.perf_counter() < until:
        time.sleep(min(0.001, max(0.0, until - time.perf_counter())))
    return code


def wait_for_save(child: int, run: Path, which: int, delay: float) -> int | None:
    """Wait until the `which`-th file is being written, and so many seconds more; or until the child ended."""
    seen: set[str] = set()
    until = time.perf_counter() + PATIENCE
    while (code := ended(child)) is None and time.perf_counter() < until:
        seen.update(temporaries(run))
        if len(seen) >= which:
            until = time.perf_counter() + delay
            while time.perf_counter() < until:
                pass
            break
    return code


def unreadable(run: Path, found: Found) -> Iterator[str]:
    """Read every checkpoint of a run; yield what is wrong with any."""
    for name in (STATE, PREVIOUS):
        if (run / name).is_file():
            with tempfile.TemporaryDirectory(dir=run.parent) as alone:
                # By itself, so that no other generation stands in for it.
                (Path(alone) / STATE).hardlink_to(run / name)
                try:
                    read_state(Path(alone))
                    found.read += 1
                except CnnkitError as error:
                    yield f"{name}: {error}"
    if (run / BEST).is_file():
        try:
            load_checkpoint(run / BEST, BEST)
            found.read += 1
        except CnnkitError as error:
            yield str(error)
    try:
        runs.recipe_of(run)
    except CnnkitError as error:
        yield str(error)
    if curves(run) and not (run / BEST).is_file():
        yield "there are curves and no best checkpoint"


def curves(run: Path) -> list[dict[str, str]]:
    """Return the curves without their times."""
    if not (run / "metrics.csv").is_file():
        return []
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [{n: v for n, v in row.items() if n not in {"seconds", "images_per_second"}} for row in rows]


def outcome(run: Path) -> dict[str, Any]:
    """Return what has to be the same in the end."""
    card = load_checkpoint(run / BEST, BEST)[1]
    state = read_state(run)
    assert state is not None  # noqa: S101
    tensors, facts = state
    return {
        "weights": card.weights_sha256,
        "metrics": card.metrics,
        "optimizer and generators": networks.weights_hash(tensors),
        "position": (facts["epoch"], facts["step"]),
        "curves": curves(run),
    }


def kill(child: int, run: Path, found: Found) -> None:
    """Kill a training and look at what it left."""
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    found.kills += 1
    if not run.is_dir():
        found.before += 1
        return
    half = any(temporaries(run)) or ((run / PREVIOUS).is_file() and not (run / STATE).is_file())
    found.inside += half
    found.begun_anew += not (run / STATE).is_file() and not (run / PREVIOUS).is_file()
    found.problems += [f"kill {found.kills}: {problem}" for problem in unreadable(run, found)]


@dataclass
class Wanted:
    """How often to kill, and how often inside a save."""

    kills: int
    aimed: int
    dice: random.Random

    def more(self, found: Found) -> bool:
        """Return whether another kill is wanted."""
        return found.kills < self.kills or found.inside < self.aimed

    def aims(self, found: Found) -> bool:
        """Return whether the next kill aims at a save; about half of those miss, and chance spreads them."""
        left, aims_left = max(1, self.kills - found.kills), self.aimed - found.inside
        return aims_left > 0 and self.dice.random() * left < 2 * aims_left


def torment(place: Path, images: Path, wanted: Wanted, found: Found, whole: dict[str, Any], seconds: float) -> None:
    """Train one run to its end, and kill it on the way as often as chance has it."""
    run, dice, first = place / RUN, wanted.dice, found.kills + 1
    while True:
        child = start(place, images)
        if not wanted.more(found):
            code = wait_for_time(child, PATIENCE)
        elif wanted.aims(found):
            code = wait_for_save(child, run, dice.randint(1, SAVES), dice.uniform(0, LONGEST_DELAY))
        else:
            code = wait_for_time(child, dice.uniform(0, seconds))
        if code is not None:
            break
        kill(child, run, found)
    found.runs += 1
    which = f"the run with the kills {first} to {found.kills}"
    if code != 0:
        found.problems.append(f"{which} ended with exit code {code}: {(place / 'log').read_text('utf-8')[-2000:]}")
        return
    found.problems += [f"{which}: {problem}" for problem in unreadable(run, found)]
    found.problems += [f"{which} left {name}" for name in temporaries(run)]
    now = outcome(run)
    found.problems += [f"{which} ended with other {what}" for what, value in whole.items() if now[what] != value]
    found.as_if_nothing += (found.kills - first + 1) if now == whole else 0


def print_summary(found: Found, seconds: float) -> None:
    """Print a table for the docs, and what went wrong."""
    rows = {
        "kills": found.kills,
        "… inside a save": found.inside,
        "… before there was a run folder": found.before,
        "… before the first state, so that the run began anew": found.begun_anew,
        "runs, each resumed until it ended": found.runs,
        "kills whose run ended as if nothing had happened": f"{found.as_if_nothing} of {found.kills}",
        "checkpoints read after kills": found.read,
        "unreadable ones, and other problems": len(found.problems),
        "minutes": f"{seconds / 60:.1f}",
    }
    print("| crash test | |\n| --- | ---: |")
    for what, count in rows.items():
        print(f"| {what} | {count} |")
    for problem in found.problems:
        print(f"problem: {problem}")


def main() -> None:
    """Run the crash test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--aimed", type=int, default=50, help="of them inside a save")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # threads do not survive a fork
    wanted, found = Wanted(arguments.kills, arguments.aimed, random.Random(arguments.seed)), Found()  # noqa: S311
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = str(Path(folder) / "cache")
        images = Path(folder) / "images"
        draw_images(images)
        place = Path(folder) / "whole"
        place.mkdir()
        started = time.perf_counter()
        code = wait_for_time(start(place, images), PATIENCE)
        seconds = time.perf_counter() - started
        if code != 0:
            sys.exit(f"training ends with exit code {code}: {(place / 'log').read_text('utf-8')}")
        whole = outcome(place / RUN)
        while wanted.more(found):
            place = Path(folder) / f"run-{found.runs + 1}"
            place.mkdir()
            torment(place, images, wanted, found, whole, seconds)
            shutil.rmtree(place)
            if sys.stderr.isatty():
                print(f"{found.kills} kills, {len(found.problems)} problems", end="\r", file=sys.stderr)
    print_summary(found, time.perf_counter() - began)
    sys.exit(1 if found.problems else 0)


if __name__ == "__main__":
    main()
