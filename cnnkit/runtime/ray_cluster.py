"""Connecting to Ray: a cluster that is there, or processes of this machine, without Ray's own remarks."""

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from cnnkit.errors import ClusterError, MissingDependencyError

# Results go to standard output and errors are raised here; Ray's own remarks are for who asks for them.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray warns of how Ray Data starts its workers: https://github.com/ray-project/ray/issues/57733
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DATA_LOG_LEVEL": "CRITICAL",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@contextmanager
def connected(ray: Any, workers: int | None) -> Iterator[None]:
    """Connect to a cluster, or start one of processes, unless this process is connected to one already.

    Raises:
        ClusterError: it cannot be reached or started.
    """
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        if address:
            _require_listening(address)
        with _muted():
            if address:
                ray.init(log_to_driver=False, logging_level=logging.CRITICAL)
            else:
                ray.init(
                    address="local",
                    num_cpus=workers,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                )
    except Exception as error:  # Ray raises its own types and those of Python
        where = f"reach the cluster at RAY_ADDRESS={address}" if address else "start its processes"
        reason = " ".join(str(error).split())[:300]
        raise ClusterError(f"Ray could not {where}: {reason}") from error
    try:
        with suppress(ValueError):  # not in the main thread
            # Ray's own handler prints a stack of C++ and exits with a code of its own.
            signal.signal(signal.SIGTERM, on_sigterm)
        yield
    finally:
        ray.shutdown()


@contextmanager
def _muted() -> Iterator[None]:
    """Send nowhere what is written to standard error below Python: Ray prints there which log level it was given."""
    usual = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(usual, 2)
        os.close(usual)


def _require_listening(address: str) -> None:
    """Raise an `OSError` where nobody answers at `host:port`; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        with socket.create_connection((host, int(port)), timeout=5):
            pass


def import_ray() -> Any:
    """Return the module of Ray, quiet unless the environment says otherwise.

    Raises:
        MissingDependencyError: Ray or its data library is not installed.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray.data
    except ImportError as error:
        raise MissingDependencyError(
            f'--engine ray needs Ray Data; this installation lacks {error.name}. Run: pip install "ray[data]"'
        ) from error
    return ray
