"""Layers, shapes, parameters, multiply-adds and receptive fields of a network, found by running it without data."""

import copy
import inspect
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from cnnkit.errors import ForwardError, UsageError
from cnnkit.inspection import building, refusals, tracing
from cnnkit.inspection.building import Shape
from cnnkit.inspection.folding import folded
from cnnkit.inspection.results import ModelSummary
from cnnkit.inspection.rows import distinct, idle_modules, parameter_count, rows_of
from cnnkit.inspection.tracing import Trace
from cnnkit.models import building as builders
from cnnkit.sources import Ref, find


def summarize_network(
    ref: Ref,
    *,
    batch: int = 1,
    shape: Shape | Sequence[Shape] | None = None,
    depth: int | None = None,
    fold: bool = False,
    trust_code: bool = False,
) -> ModelSummary:
    """Summarise the network behind a model reference; the options and errors are those of `cnnkit.summarize`."""
    source = find(ref)
    name = source.text
    given_shapes = None if shape is None else building.shapes_of(shape)
    network, own = building.build(source, given_shapes, trust_code=trust_code)
    shapes = own if given_shapes is None else given_shapes
    for given, expected in zip(shapes or (), own or (), strict=False):
        if len(given) != len(expected):
            what = (
                "channels × height × width, as in 3x32x32" if len(expected) == 3 else f"like {refusals.sizes(expected)}"
            )
            raise UsageError(
                f"an input of {refusals.sizes(given)} is not {what}; {name} was made for {refusals.sizes(expected)}."
            )
    shapes = _inputs(network, shapes, name)
    device = building.META
    trace, fits = _attempt(network, shapes, batch, device, own)
    if trace.error is not None and building.needs_values(trace.error):
        device = torch.device("cpu")
        network = source.network(building.image_shape(shapes), trust_code=trust_code)
        trace, fits = _attempt(network, shapes, batch, device)
    return _summary(network, trace, shapes, device, name=name, batch=batch, depth=depth, fold=fold, fits=fits)


def summarize_module(
    network: nn.Module,
    shape: Shape | Sequence[Shape],
    *,
    name: str = "",
    batch: int = 1,
    depth: int | None = None,
    fold: bool = False,
) -> ModelSummary:
    """Summarise a module by running it once on zeros [batch, *shape], on its own device (`meta` costs nothing).

    The module is left as it was: no hooks, and the training mode that it had.

    Raises:
        UsageError: the module takes another number of inputs.
        ForwardError: a layer refuses what it gets; `result` has the rows up to it.
    """
    shapes = _inputs(network, building.shapes_of(shape), name or type(network).__name__)
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    trace, fits = _attempt(network, shapes, batch, device)
    return _summary(network, trace, shapes, device, name=name, batch=batch, depth=depth, fold=fold, fits=fits)


def _inputs(network: nn.Module, shapes: tuple[Shape, ...] | None, name: str) -> tuple[Shape, ...]:
    """Make sure that there are as many inputs as the network takes.

    Raises:
        UsageError: there are not, or it is not one to look into.
    """
    scripted = [path for path, module in network.named_modules() if isinstance(module, torch.jit.ScriptModule)]
    if scripted:
        raise UsageError(
            f"{scripted[0] or name} is a TorchScript module, which shows no layers; give what it was made from."
        )
    signature = inspect.signature(network.forward)
    free = [parameter for parameter in signature.parameters.values() if parameter.default is parameter.empty]
    needed = [p.name for p in free if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
    by_keyword = [parameter.name for parameter in free if parameter.kind is parameter.KEYWORD_ONLY]
    if by_keyword:
        raise UsageError(f"{name} needs {', '.join(by_keyword)} by keyword, and summary gives tensors by place only.")
    if shapes is None and needed:
        more = f" for each of {', '.join(needed)}" if len(needed) > 1 else ""
        raise UsageError(f"{name} does not say its input; give channels × height × width, as in --input 3x32x32{more}.")
    shapes = shapes or ()
    try:
        signature.bind(*shapes)
    except TypeError:
        raise UsageError(
            f"{name} takes {', '.join(needed) or 'no inputs'}, and {len(shapes)} "
            f"input{' was' if len(shapes) == 1 else 's were'} given; say one for each, as in "
            "--input 1x28x28 --input 10."
        ) from None
    return shapes


def _attempt(
    network: nn.Module,
    shapes: tuple[Shape, ...],
    batch: int,
    device: torch.device,
    own: tuple[Shape, ...] | None = None,
) -> tuple[Trace, Shape | None]:
    """Run a network; where a layer refuses what it gets, look for an input that goes through.

    Raises:
        UsageError: there can be no tensor of such a size.
    """
    whole: set[int] = set()

    # The first run gives lazy layers their shapes; what would fit is tried on networks that have none yet.
    lazy = any(map(is_lazy, (*network.parameters(), *network.buffers())))
    fresh = builders.copied(network) if lazy else None

    def run(given: tuple[Shape, ...], network: nn.Module = network) -> Trace:
        try:
            inputs = [
                torch.zeros(batch, *size, device=device, dtype=torch.int64 if place in whole else None)
                for place, size in enumerate(given)
            ]
        except (RuntimeError, TypeError) as error:  # more than a number or, for a real run, than the memory holds
            listed = " and ".join(map(refusals.sizes, given))
            raise UsageError(
                f"a batch of {batch} of {listed} is larger than a tensor can be here; give less."
            ) from error
        trace = tracing.run(network, inputs)
        fed = _whole_numbers(trace, inputs)
        if fed is None:
            return trace
        whole.add(fed)
        return run(given, network)

    trace = run(shapes)
    if trace.error is None or len(shapes) != 1 or device.type != "meta" or building.needs_values(trace.error):
        return trace, None
    own_shape = own[0] if own is not None and len(own) == 1 else None
    if lazy and fresh is None:
        return trace, None

    def attempt(shape: Shape) -> Trace:
        return run((shape,), network if fresh is None else copy.deepcopy(fresh))

    return trace, refusals.fitting_input(attempt, trace, shapes[0], own_shape)


def _whole_numbers(trace: Trace, inputs: list[Tensor]) -> int | None:
    """Return the input that an embedding wants whole numbers of, as words are told by."""
    if trace.refused_by is None or not isinstance(trace.refused_by[0].module, nn.Embedding | nn.EmbeddingBag):
        return None
    given = trace.refused_by[1]
    places = [place for place, tensor in enumerate(inputs) if given and tensor is given[0]]
    return places[0] if places and inputs[places[0]].is_floating_point() else None


def _summary(
    network: nn.Module,
    trace: Trace,
    shapes: tuple[Shape, ...],
    device: torch.device,
    *,
    name: str,
    batch: int,
    depth: int | None,
    fold: bool,
    fits: Shape | None,
) -> ModelSummary:
    rows = rows_of(network, trace)
    listed = [row for row in rows if depth is None or row.depth <= depth]
    parents = {row.name.rpartition(".")[0] for row in listed}
    listed = [replace(row, is_leaf=row.name not in parents) for row in listed]
    parameters = distinct(network.parameters())
    tensors = [*parameters, *(b for b in network.buffers() if not is_lazy(b))]
    idle = () if trace.error else idle_modules(network, {row.name for row in rows}, trace.used)
    top = [network.get_submodule(path) for path in (*idle, *(row.name for row in rows if row.depth == 1))]
    listed_parameters = distinct(p for module in top for p in module.parameters())
    registered = {id(parameter) for parameter in parameters}
    failure = None
    if trace.error is not None:
        failure = replace(refusals.failure_of(trace), fitting_input=fits)
    summary = ModelSummary(
        model=name or type(network).__name__,
        input_shapes=shapes,
        batch=batch,
        layers=folded(listed) if fold else tuple(listed),
        parameters=parameter_count(parameters),
        trainable_parameters=parameter_count(p for p in parameters if p.requires_grad),
        multiply_adds=sum(record.multiply_adds for record in trace.records.values()),
        size_mb=sum(t.numel() * t.element_size() for t in tensors) / 1e6,
        memory_mb=sum(row.memory_mb for row in rows if row.is_leaf),
        own_parameters=parameter_count(parameters) - parameter_count(listed_parameters),
        idle=idle,
        idle_parameters=parameter_count(distinct(p for n in idle for p in network.get_submodule(n).parameters())),
        unregistered_parameters=parameter_count(p for key, p in trace.used.items() if key not in registered),
        device=device.type,
        failure=failure,
    )
    if failure is not None:
        raise ForwardError(refusals.told(summary), result=summary) from trace.error
    return summary
