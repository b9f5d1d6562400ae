"""The scores of a network before a softmax or sigmoid at its end.

Those saturate: where a probability is 1 to the last digit, its gradient is zero, whatever the layers below do. The
order of the classes is the same before and after, so an attack may follow the scores before.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_SQUASHING = {"softmax", "sigmoid", "log_sigmoid", "special_expit", "tanh"}
"""Functions by name; layers, functions and methods are told by the same ones."""


class _Watch(TorchFunctionMode):
    """Remembers what the last squashing function took and gave."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: Any = None
        self.given: Any = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        result = func(*args, **named)
        if getattr(func, "__name__", "") in _SQUASHING:
            self.taken, self.given = args[0] if args else named.get("input"), result
        return result


def unsquashed(network: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Run a network; return its scores [N, classes], and the same before a squashing function at its end."""
    with _Watch() as watch:
        scores: Tensor = network(inputs)
    before = watch.taken
    if watch.given is not scores or not isinstance(before, Tensor) or before.dim() != 2:
        return scores, scores
    # A softmax over the batch, say, does not keep the order.
    kept = scores.gather(1, before.argmax(1, keepdim=True)) == scores.amax(1, keepdim=True)
    return scores, before if kept.all() else scores
