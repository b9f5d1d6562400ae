"""Running a network once, to see what each module is given and gives, and what work and shapes come of it."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from cnnkit.inspection import receptive
from cnnkit.inspection.counting import counter_of
from cnnkit.inspection.shapes import ShapeCache
from cnnkit.words import counted


@dataclass(slots=True)
class Record:
    """What was seen of a module in all its calls.

    Attributes:
        name: dotted path, empty for the network itself.
        order: place in the order in which modules were first called.
        calls: times it was called.
        input_shape: with the batch, of the first tensor of the first call.
        output_shape: with the batch, of the first tensor of the last call; None where there is none.
        output_bytes: of all outputs that it made, as far as they are not inputs or views of them.
        multiply_adds: of its own operators, without those of modules in it.
        field: receptive field of the last output, for each axis of the image; nothing where none is known.
        lost_in: the operator, and why, after which it is not known; empty where it is, or no image plays a part.
    """

    module: nn.Module
    name: str
    order: int
    calls: int = 0
    input_shape: tuple[int, ...] | None = None
    output_shape: tuple[int, ...] | None = None
    output_bytes: int = 0
    multiply_adds: int = 0
    field: tuple[int, ...] = ()
    lost_in: str = ""


@dataclass(slots=True)
class Trace:
    """A run of a network.

    Attributes:
        records: of the modules that were called, by name, in the order of their first call; the network itself first.
        used: the parameters that an operator took, by identity.
        error: that ended it.
        refused_by: the innermost module that was running then, and what it was given.
    """

    records: dict[str, Record] = field(default_factory=dict)
    used: dict[int, nn.Parameter] = field(default_factory=dict)
    error: Exception | None = None
    refused_by: tuple[Record, tuple[Tensor, ...]] | None = None


def run(network: nn.Module, inputs: Sequence[Tensor]) -> Trace:
    """Run a network in evaluation mode; what it raises is kept in the trace.

    It is left as it was: no hooks, and the training mode that each module had.
    """
    modes = {module: module.training for module in network.modules()}
    fast = torch.backends.mha.get_fastpath_enabled()
    trace = Trace()
    stack: list[tuple[Record, tuple[Tensor, ...]]] = []
    try:
        network.eval()
        # One fused operator for a whole block of a transformer would hide its layers.
        torch.backends.mha.set_fastpath_enabled(False)
        for place, given in enumerate(inputs):
            receptive.start(given, place)
        # Not in inference mode, where composite operators would be seen in place of what they consist of.
        with _hooked(network, trace.records, stack), _Operators(stack, trace.used), torch.no_grad():
            network(*inputs)
    except Exception as error:  # whatever a network raises
        trace.error = error
        trace.refused_by = stack[-1] if stack else None
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, training in modes.items():
            module.training = training
    return trace


@contextmanager
def _hooked(
    network: nn.Module, records: dict[str, Record], stack: list[tuple[Record, tuple[Tensor, ...]]]
) -> Iterator[None]:
    """Keep the stack of running modules, and record what each is given and gives."""
    names = {module: name for name, module in network.named_modules()}
    places: dict[nn.Module, list[int]] = {}

    def before(module: nn.Module, args: object, kwargs: object) -> None:
        name = names[module]
        record = records.get(name)
        given = tuple(tensors(args)) + tuple(tensors(kwargs))
        if record is None:
            record = records[name] = Record(module, name, len(records))
            record.input_shape = tuple(given[0].shape) if given else None
        record.calls += 1
        places.setdefault(module, []).append(len(stack))
        stack.append((record, given))

    def after(module: nn.Module, args: object, kwargs: object, output: object) -> None:
        place = places[module].pop()
        record, given = stack[place]
        # Modules that failed, in a network that went on, are still above it.
        del stack[place:]
        made = tuple(tensors(output))
        if not made:
            return
        record.output_shape = tuple(made[0].shape)
        record.field, record.lost_in = receptive.field_of(made[0]), receptive.lost_in(made[0])
        known = {_storage(tensor) for tensor in given}
        for tensor in made:
            if _storage(tensor) not in known:
                record.output_bytes += tensor.numel() * tensor.element_size()

    handles = [
        handle
        for module in names
        for handle in (
            module.register_forward_pre_hook(before, with_kwargs=True),
            module.register_forward_hook(after, with_kwargs=True),
        )
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True, slots=True)
class _Operator:
    """How an operator is counted and followed; composite ones are replaced by what they consist of."""

    count: Callable[..., int] | None
    follow: receptive.Operator
    composite: bool


def _check_transposed(image: Tensor, weight: Tensor, *rest: Any) -> None:
    """Refuse what a transposed convolution refuses, and lets pass where there are no values to multiply."""
    transposed = rest[4]
    if transposed and image.dim() == weight.dim() and image.shape[1] != weight.shape[0]:
        raise RuntimeError(f"expected an input of {counted(weight.shape[0], 'channel')}, but got {image.shape[1]}")


def _is_composite(function: Any) -> bool:
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(function.name(), "CompositeImplicitAutograd"))


class _Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the work of every operator for the innermost running module, and follows receptive fields.

    A tensor that a network makes on the CPU, beside an input without values, loses its own where the two meet.
    """

    def __init__(self, stack: list[tuple[Record, tuple[Tensor, ...]]], used: dict[int, nn.Parameter]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._stack = stack
        self._used = used
        self._known: dict[Any, _Operator] = {}
        self._shapes = ShapeCache()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        known = self._known.get(func)
        if known is None:
            known = self._known[func] = _Operator(counter_of(func), receptive.operator_of(func), _is_composite(func))
        if known.composite:  # as in a network that is in inference mode by itself
            with self:
                return func.decompose(*args, **kwargs)
        if func is torch.ops.aten.convolution.default:
            _check_transposed(*args)
        try:
            result = self._shapes.call(func, args, kwargs)
        except RuntimeError:
            if all(tensor.is_meta for tensor in tensors((args, kwargs))):
                raise
            result = func(*tree_map(_without_values, args), **tree_map(_without_values, kwargs))
        if known.count is not None and self._stack:
            self._stack[-1][0].multiply_adds += known.count(*args, **kwargs, out_val=result)
        self._used.update({id(argument): argument for argument in args if isinstance(argument, nn.Parameter)})
        receptive.follow(known.follow, result, args, kwargs)
        return result


def _without_values(value: Any) -> Any:
    return value.to("meta") if isinstance(value, Tensor) else value


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata if tensor.layout == torch.strided else id(tensor)


def tensors(value: object) -> Iterator[Tensor]:
    """Yield the tensors in a value of lists, tuples, mappings and dataclasses."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors(item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from tensors(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for each in dataclasses.fields(value):
            yield from tensors(getattr(value, each.name))
