"""What every model file from outside passes before this process opens it.

`trial` starts another process for a file that is not known, `child`: `preparing` makes of it what runs there, with the
model that `reading` makes of its bytes and by the operators that `operators` allows, and it runs. What passed is
remembered by `known`, and made again here, from the same bytes; `checking` is all of this in turn.
"""

from cnnkit.runtime.guard.checking import check, check_with_card, proven_content
from cnnkit.runtime.guard.known import remember
from cnnkit.runtime.guard.operators import OPERATORS
from cnnkit.runtime.guard.preparing import Checked
from cnnkit.runtime.guard.reading import MAX_FILE_BYTES, graph_sha256
from cnnkit.runtime.guard.trial import allow, end_all

__all__ = [
    "MAX_FILE_BYTES", "OPERATORS", "Checked", "allow", "check", "check_with_card", "end_all", "graph_sha256",
    "proven_content", "remember",
]  # fmt: skip
