"""A network that does something to its own process at a chosen moment, so that no test has to guess one.

ACT is Python that runs before each training step, with `step`, counted from 1 in each process, `rank` and `network`;
and with step 0 when the network is built. ACT_EARLY runs once, before images are loaded.
"""

import copy
import os

from torch import Tensor, nn

exec(os.environ.get("ACT_EARLY", ""))


class Net(nn.Module):
    """One linear layer under dropout, which shows whether random numbers go on where they stood."""

    input_shape = (3, 8, 8)

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.3)
        self.fc = nn.Linear(192, num_classes)
        self.step = 0
        self.act()

    def __deepcopy__(self, memo: dict[int, object]) -> "Net":
        """Return a network that does nothing else: a copy is tried before the run, or averages the weights."""
        copied = Net.__new__(Net)
        nn.Module.__init__(copied)
        copied.dropout, copied.fc = copy.deepcopy(self.dropout, memo), copy.deepcopy(self.fc, memo)
        copied.act, copied.step = lambda: None, 0
        return copied

    def act(self) -> None:
        names = {"step": self.step, "rank": int(os.environ.get("RANK", "0")), "network": self}
        exec(os.environ.get("ACT", ""), names)

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.step += 1
            self.act()
        return self.fc(self.dropout(images.flatten(1)))
