"""`cnnkit` whose server works on no batch while there is the file $GATE, so that a test knows what is under way.

A program by itself: the workers of a server begin by running it again.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from cnnkit.cli import main
from cnnkit.serving.batching.instance import ModelInstance
from cnnkit.serving.batching.job import Job

_run = ModelInstance.run


def run_behind_the_gate(model: ModelInstance, jobs: Sequence[Job]) -> list[Exception | None]:
    gate = Path(os.environ["GATE"])
    while gate.exists():
        time.sleep(0.01)
    return _run(model, jobs)


if __name__ in {"__main__", "__mp_main__"}:  # the server, a worker
    ModelInstance.run = run_behind_the_gate
    ModelInstance.is_quick = property(lambda _: False, lambda *_: None)  # the event loop does not wait at the gate

if __name__ == "__main__":
    main()
