"""The quick tier: `pytest -p tests.quick` runs the tests that start no process, open no browser and send no signal.

No test says this of itself. One that is about to start a process, to send a signal or to export a network, which takes
a second, is left out at that point, so that the tier is never wrong about it. Other tests that take seconds are marked
`slow`.
"""

import multiprocessing.process
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import settings

EVENTS = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.kill", "os.killpg", "signal.pthread_kill")
# Matplotlib lists the fonts of this machine by it when it is used for the first time.
ALLOWED = ("fc-list",)
REASON = "starts a process, sends a signal or exports a network: for the whole suite"


class Watch:
    """Ends a test that is about to start a process or to send a signal."""

    def __init__(self) -> None:
        self.running = self.tried = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Hear of an event of `sys.addaudithook`."""
        if event in EVENTS and not (event == "subprocess.Popen" and str(arguments[0]) in ALLOWED):
            self.leave_out()

    def leave_out(self) -> None:
        if self.running:
            self.tried = True
            pytest.skip(REASON)

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that leaves a test out before it does what the function does."""

        def watched(*arguments: Any, **options: Any) -> Any:
            self.leave_out()
            return function(*arguments, **options)

        return watched

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        self.running, self.tried = True, False
        try:
            return (yield)
        finally:
            self.running = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        try:
            return (yield)
        finally:
            # What went wrong for want of the process, in another thread for example, is no failure.
            if self.tried:
                pytest.skip(REASON)


def pytest_configure(config: pytest.Config) -> None:
    watch = Watch()
    config.pluginmanager.register(watch, "quick-watch")
    sys.addaudithook(watch)
    # A process of the method `spawn` has no event of its own.
    for owner, name in ((multiprocessing.process.BaseProcess, "start"), (torch.onnx, "export")):
        setattr(owner, name, watch.before(getattr(owner, name)))


def pytest_sessionstart() -> None:
    settings.register_profile("quick", settings(), max_examples=20)
    settings.load_profile("quick")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is slow or needs a GPU or a browser."""
    left = [item for item in items if is_left_out(item)]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if not is_left_out(item)]


def is_left_out(item: pytest.Item) -> bool:
    marked = any(item.get_closest_marker(name) for name in ("slow", "gpu"))
    return marked or "chromium" in getattr(item, "fixturenames", ())
