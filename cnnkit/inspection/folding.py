"""Runs of layers that are alike, told as one."""

from collections.abc import Sequence
from dataclasses import replace

from cnnkit.inspection.results import ModuleRow

Block = list[ModuleRow]


def folded(rows: Sequence[ModuleRow]) -> tuple[ModuleRow, ...]:
    """Replace blocks alike, one after another in the same module, by one whose first row says how many they are.

    Alike are blocks with the same classes, shapes and numbers, whatever their names; their receptive fields grow, and
    the last one's is kept.

    Args:
        rows: each below the one that contains it.
    """
    return tuple(row for block in _fold(_blocks(rows)) for row in block)


def _blocks(rows: Sequence[ModuleRow]) -> list[Block]:
    """Split rows into those of the uppermost depth, each with what it contains."""
    blocks: list[Block] = []
    for row in rows:
        if not blocks or row.depth <= blocks[-1][0].depth:
            blocks.append([])
        blocks[-1].append(row)
    return blocks


def _fold(blocks: list[Block]) -> list[Block]:
    found: list[Block] = []
    before = None
    for block in blocks:
        inner = [block[0], *(row for part in _fold(_blocks(block[1:])) for row in part)]
        key = _key(inner)
        if found and key == before:
            last = found[-1]
            last[:] = [
                replace(row, receptive_field=new.receptive_field, receptive_field_lost=new.receptive_field_lost)
                for row, new in zip(last, inner, strict=True)
            ]
            last[0] = replace(last[0], repeats=last[0].repeats + 1)
        else:
            found.append(inner)
        before = key
    return found


def _key(block: Block) -> list[ModuleRow]:
    start = len(block[0].name)
    # What the blocks themselves are called tells them apart, what is in them must have the same names.
    return [replace(row, name=row.name[start:], order=0, receptive_field=(), receptive_field_lost="") for row in block]
