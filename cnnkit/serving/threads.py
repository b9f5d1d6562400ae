"""Work outside the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(threads: Executor, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Call a function in one of some threads, and return what it returns."""
    return await asyncio.get_running_loop().run_in_executor(threads, partial(function, *arguments, **named))
