"""From a run that was traced to what is said of each module: a row with its shapes, its parameters and its work."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from cnnkit.inspection.results import ModuleRow
from cnnkit.inspection.tracing import Record, Trace


def rows_of(network: nn.Module, trace: Trace) -> list[ModuleRow]:
    """Return a row for each module that ran, and for each that only holds such, as a ModuleList does."""
    records = {name: record for name, record in trace.records.items() if name}
    children: dict[str, list[str]] = defaultdict(list)
    order: dict[str, int] = {}
    for name, record in records.items():
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            inner = ".".join(parts[:end])
            if inner not in order:
                order[inner] = record.order
                children[".".join(parts[: end - 1])].append(inner)
    rows: list[ModuleRow] = []
    failed = trace.refused_by[0].name if trace.refused_by else None

    def add(name: str) -> tuple[int, float]:
        """Append a row and all below it; return their multiply-adds and bytes."""
        record = records.get(name)
        place = len(rows)
        rows.append(_row(name, network.get_submodule(name), record, order[name], failed=name == failed))
        below = [add(child) for child in children[name]]
        work = (record.multiply_adds if record else 0) + sum(part for part, _ in below)
        written = sum(part for _, part in below) if below else record.output_bytes if record else 0
        rows[place] = replace(rows[place], multiply_adds=work, memory_mb=written / 1e6, is_leaf=not children[name])
        return work, written

    for name in children[""]:
        add(name)
    return rows


def _row(name: str, module: nn.Module, record: Record | None, order: int, *, failed: bool) -> ModuleRow:
    parameters = distinct(module.parameters())
    return ModuleRow(
        name=name,
        kind=type(module).__name__,
        depth=name.count(".") + 1,
        output_shape=record.output_shape[1:] if record and record.output_shape else (),
        parameters=parameter_count(parameters),
        multiply_adds=0,
        is_leaf=True,
        input_shape=record.input_shape[1:] if record and record.input_shape else (),
        kernel=_kernel(module, record),
        trainable_parameters=parameter_count(p for p in parameters if p.requires_grad),
        receptive_field=record.field if record else (),
        receptive_field_lost=record.lost_in if record else "",
        calls=record.calls if record else 0,
        order=order,
        failed=failed,
    )


def _kernel(module: nn.Module, record: Record | None) -> tuple[int, ...]:
    """Return the size of a window, spelt out for each dimension of the image."""
    size: Any = getattr(module, "kernel_size", None)
    if isinstance(size, int):
        count = len(record.input_shape) - 2 if record and record.input_shape else 1
        return (size,) * max(count, 1)
    whole = isinstance(size, list | tuple) and all(isinstance(part, int) for part in size)
    return tuple(size) if whole else ()


def idle_modules(network: nn.Module, listed: set[str], used: Mapping[int, nn.Parameter]) -> tuple[str, ...]:
    """Return the outermost modules that did not run, and whose parameters nothing else used."""
    found: list[str] = []
    for name, module in network.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in found)
        own = [id(parameter) for parameter in module.parameters()]
        if name and name not in listed and not inside and own and not any(key in used for key in own):
            found.append(name)
    return tuple(found)


def distinct(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """Return parameters once each, without those of lazy modules that never ran."""
    return list({id(p): p for p in parameters if not is_lazy(p)}.values())


def parameter_count(parameters: Iterable[nn.Parameter]) -> int:
    """Return how many numbers are in parameters."""
    return sum(p.numel() for p in parameters)
