"""Recording a step as a CUDA graph: what a failed attempt means, and what it must leave behind."""

from collections.abc import Callable

from torch import Tensor, nn

from cnnkit.models.memory import causes, is_out_of_memory

_SLOWER = "the step cannot be recorded as a CUDA graph, so each of its kernels is launched by itself, which is slower"


def try_to_record(record: Callable[[], None], network: nn.Module) -> str:
    """Call what records a step; return why it cannot be recorded, as a sentence without its full stop, "" if it was.

    Nothing that is recorded is computed, so that a network that it fails for is as it was before.

    Raises:
        RuntimeError: there is too little memory, which no other way to compute would change.
    """
    buffers = _places(network)
    try:
        record()
    except RuntimeError as error:
        _put_back(buffers)
        if is_out_of_memory(error):
            raise
        return f"{_SLOWER} ({_first_cause(error)})"
    # A replay would read the tensor that was there during the recording, and write into another one.
    moved = [name for (module, leaf, name), buffer in buffers.items() if getattr(module, leaf) is not buffer]
    if not moved:
        return ""
    _put_back(buffers)
    return f"{_SLOWER} (the network puts a new tensor in the place of its buffer {moved[0]})"


def _places(network: nn.Module) -> dict[tuple[nn.Module, str, str], Tensor]:
    """Return the buffers of a network, each by its module, its name there and its whole name."""
    found = {}
    for name, buffer in network.named_buffers():
        owner, _, leaf = name.rpartition(".")
        found[network.get_submodule(owner), leaf, name] = buffer
    return found


def _put_back(buffers: dict[tuple[nn.Module, str, str], Tensor]) -> None:
    for (module, leaf, _), buffer in buffers.items():
        setattr(module, leaf, buffer)


def _first_cause(error: BaseException) -> str:
    """Return the first line of what began it: the end of a broken recording raises an error of its own."""
    *_, first = causes(error)
    return str(first).strip().partition("\n")[0].rstrip(".") or type(first).__name__
