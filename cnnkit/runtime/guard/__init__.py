"""What every model file from outside passes before this process opens it.

`reading` makes one model of a file, `operators` looks at what it may use, `trial` runs it in another process, `known`
remembers what passed; `checking` is all of them in turn.
"""

from cnnkit.runtime.guard.checking import Checked, check, check_with_card, proven_content
from cnnkit.runtime.guard.known import remember
from cnnkit.runtime.guard.operators import OPERATORS
from cnnkit.runtime.guard.reading import MAX_FILE_BYTES, graph_sha256
from cnnkit.runtime.guard.trial import allow, end_all

__all__ = [
    "MAX_FILE_BYTES", "OPERATORS", "Checked", "allow", "check", "check_with_card", "end_all", "graph_sha256",
    "proven_content", "remember",
]  # fmt: skip
