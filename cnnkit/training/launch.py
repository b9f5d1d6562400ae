"""Starting several training processes on this machine, by torchrun's own engine."""

import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from cnnkit.data.decoding import processors
from cnnkit.errors import CnnkitError, DeviceError, LostProcessError
from cnnkit.models.networks import choose_device
from cnnkit.runfile import resume_command
from cnnkit.training.runs import LAUNCH, run_of_this_launch
from cnnkit.training.state import PREVIOUS, STATE
from cnnkit.words import counted

_RESTARTS = 3
"""How often a group is started again from its last checkpoint after one of its processes was killed."""

_SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")


def launch(
    processes: int,
    arguments: Callable[[Path | None], Sequence[str]],
    *,
    device: str,
    runs_dir: Path,
    resume: Path | None,
    say: Callable[[str], None],
) -> int:
    """Run `python -m cnnkit ARGUMENTS` in several processes and return the exit code.

    Where one is killed, the others end too, and all begin again from the last checkpoint. One that ends with an error
    has said what is wrong, and would say it again.

    Args:
        processes: how many.
        arguments: what gives the command line, from the run folder to go on with, or None for a new one.
        device: `auto`, `cpu` or `cuda`.
        runs_dir: where a new run folder goes.
        resume: the run folder that the first start goes on with.
        say: takes what the user should know meanwhile.

    Raises:
        DeviceError: more processes than GPUs, or than cores without GPUs.
        CnnkitError: processes were killed again and again.
    """
    cores = processors()
    place = choose_device(device)
    have = torch.cuda.device_count() if place.type == "cuda" else cores
    if processes > have:
        what = "GPU" if place.type == "cuda" else "core"
        raise DeviceError(f"--nproc {processes}: this machine has {counted(have, what)}.")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // processes)))
    # Processes write this name into their run folder, where it is looked for between two starts.
    name = os.environ[LAUNCH] = uuid.uuid4().hex
    try:
        for left in reversed(range(1 + _RESTARTS)):
            with tempfile.TemporaryDirectory(prefix="cnnkit-", ignore_cleanup_errors=True) as logs:
                ended = _start(processes, name, arguments(resume), logs)
            if isinstance(ended, int):
                return ended
            resume = run_of_this_launch(runs_dir, resume) or resume
            saved = resume is not None and any((resume / file).is_file() for file in (STATE, PREVIOUS))
            if left:
                say(f"{ended}; all begin again from {'the last checkpoint' if saved else 'the start'}")
    finally:
        del os.environ[LAUNCH]
    then = f"Go on with: {resume_command(resume)}" if saved and resume else "Nothing was saved."
    raise CnnkitError(f"{ended}, once more after {_RESTARTS} restarts. {then}")


def _start(processes: int, name: str, arguments: Sequence[str], logs: str) -> int | str:
    """Run the processes once; return the exit code, or what happened where one was killed."""
    # Under nohup and in the background of a script, some signals are to be ignored.
    signals = [s for s in _SIGNALS if hasattr(signal, s) and signal.getsignal(getattr(signal, s)) != signal.SIG_IGN]
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=name,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=logs),  # it would leave a folder of its own behind
        signals_to_handle=",".join(signals),
    )
    before = logging.root.manager.disable
    logging.disable()  # it would repeat, at length, what is said here
    try:
        elastic_launch(config, sys.executable)("-m", "cnnkit", *arguments)
    except SignalException as stop:
        return 128 + stop.sigval
    except ChildFailedError as error:
        codes = {rank: int(failure.exitcode) for rank, failure in error.failures.items()}
        if own := [code for code in codes.values() if code > 0 and code != LostProcessError.exit_code]:
            return max(own)
        # SIGTERM is what the others got then.
        killed = sorted((code == -signal.SIGTERM, rank) for rank, code in codes.items() if code < 0)
        if not killed:
            return "a process was lost"
        rank = killed[0][1]
        return f"process {rank} was killed by {signal.Signals(-codes[rank]).name}"
    finally:
        logging.disable(before)
    return 0
