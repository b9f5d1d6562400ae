"""Starting several training processes on this machine, by torchrun's own engine."""

import logging
import os
import signal
import sys
import uuid
from collections.abc import Sequence

import torch
from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from cnnkit.errors import CnnkitError, DeviceError
from cnnkit.training.networks import choose_device

_RESTARTS = 3
"""How often a group is started again from its last checkpoint after one of its processes died."""


def launch(processes: int, arguments: Sequence[str], *, device: str) -> int:
    """Run `python -m cnnkit ARGUMENTS` in several processes and return the exit code.

    A process that dies takes the others with it, and all begin again from the last checkpoint.

    Raises:
        DeviceError: more processes than GPUs, or than cores without GPUs.
        CnnkitError: the processes died again and again.
    """
    cores = os.cpu_count() or 1
    place = choose_device(device)
    have = torch.cuda.device_count() if place.type == "cuda" else cores
    if processes > have:
        raise DeviceError(
            f"--nproc {processes}: this machine has {have} {'GPUs' if place.type == 'cuda' else 'cores'}."
        )
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // processes)))
    # Its log repeats, at length, what is said below.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=_RESTARTS,
        logs_specs=DefaultLogsSpecs(),
    )
    try:
        elastic_launch(config, sys.executable)("-m", "cnnkit", *arguments)
    except SignalException as stop:
        return 128 + stop.sigval
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode > 0:
            return int(failure.exitcode)  # it said what was wrong
        raise CnnkitError(
            f"process {rank} was killed by {signal.Signals(-failure.exitcode).name}, once more after {_RESTARTS} "
            "restarts. The run folder has the last checkpoint; go on with --resume."
        ) from error
    return 0
