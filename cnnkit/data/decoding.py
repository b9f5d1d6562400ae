"""All images of a folder, decoded by worker processes."""

import math
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from cnnkit.data.walking import Stat, stat
from cnnkit.depth import Range, Span, misfit, value_range
from cnnkit.errors import DataError, ImageError
from cnnkit.images import Original, Preprocessing, prepare
from cnnkit.pictures import Pixels
from cnnkit.progress import LoadProgress

_CHUNK, _CHUNK_BYTES = 64, 16 * 2**20
"""Files that are decoded together, and what they decode to, at most."""

_FEW_FILES, _FEW_BYTES = 2000, 16 * 2**20
"""What is decoded in this process: about as much as it decodes while workers start and end."""

_LITTLE = 0.5
"""Share of an image's area below which its fit is said to keep little of it."""

Files = Sequence[tuple[str, Stat]]
Keep = Callable[[int, Pixels], object]


@dataclass(frozen=True)
class Facts:
    """What was found while a folder was decoded.

    Attributes:
        damaged: why a file cannot be used, by its name; its pixels are black.
        originals: number of images by size and mode, such as `32×32 RGB`.
        deep: images of more than 8 bits a channel.
        value_range: the values of deep images that became black and white; None where there are none.
        misfits: names of deep images that the range hardly fits.
        coarse: 16-bit images of which only the upper 8 bits can be read.
        frames: images of which only the first of several frames is used.
        little_kept: names of images of which the fit keeps less than half of the area.
    """

    damaged: dict[str, str] = field(default_factory=dict)
    originals: dict[str, int] = field(default_factory=dict)
    deep: int = 0
    value_range: tuple[float, float] | None = None
    misfits: list[str] = field(default_factory=list)
    coarse: int = 0
    frames: int = 0
    little_kept: list[str] = field(default_factory=list)


def decode(folder: Path, files: Files, form: Preprocessing, keep: Keep) -> Generator[LoadProgress, None, Facts]:
    """Decode the files of a folder, hand consecutive images [N, H, W, C] to `keep` with the place of the first one.

    The range of the values of images deeper than 8 bits belongs to the folder. Where the form does not say it, it is
    found in all of these images, and they are decoded again.

    Raises:
        DataError: a file changed while it was read.
    """
    facts, spans = yield from _pass(folder, files, form, keep)
    if spans and form.value_range is None:
        found = value_range(Span.join(spans.values()))
        deep = sorted(spans)
        again = [files[place] for place in deep]
        known = replace(form, value_range=found)
        yield from _pass(
            folder, again, known, lambda at, pixels: [keep(deep[at + i], p[None]) for i, p in enumerate(pixels)]
        )
        facts = replace(facts, value_range=found, misfits=_misfits(files, spans, found))
    return facts


def _pass(
    folder: Path, files: Files, form: Preprocessing, keep: Keep
) -> Generator[LoadProgress, None, tuple[Facts, dict[int, Span]]]:
    """Decode files once; returns what was found, and the values of deep images by their places."""
    count = len(files)
    few = count <= _FEW_FILES and sum(size for _, (size, *_) in files) <= _FEW_BYTES
    workers = 0 if few else processors()
    # A few large photos, too, are shared out among all.
    share = math.ceil(count / (4 * max(1, workers)))
    chunks = _Chunks(folder, files, form, max(1, min(_CHUNK, _CHUNK_BYTES // math.prod(form.shape), share)))
    loader = DataLoader(
        chunks,
        batch_size=None,
        collate_fn=as_it_is,
        num_workers=min(workers, len(chunks)),
        worker_init_fn=ignore_signals,
        generator=torch.Generator(),  # the global one is the network's
    )
    damaged: dict[str, str] = {}
    changed: list[str] = []
    originals = Counter[str]()
    spans: dict[int, Span] = {}
    little: list[str] = []
    coarse = frames = done = 0
    for pixels, chunk in loader:
        keep(done, pixels)
        for place, (found, problem) in enumerate(chunk, done):
            if found is None:
                name = files[place][0]
                damaged |= {name: problem} if problem else {}
                changed += [] if problem else [name]
                continue
            originals[f"{found.width}×{found.height} {found.mode}"] += 1
            if found.span is not None:
                spans[place] = found.span
            coarse += found.coarse
            frames += found.first_of_frames
            little += [files[place][0]] if found.kept < _LITTLE else []
        done += len(pixels)
        yield LoadProgress("images", done, count)
    if changed:
        raise DataError(
            f"{folder / changed[0]} changed while it was read. Run the command again when nothing writes there."
        )
    given = form.value_range
    misfits = _misfits(files, spans, given) if given is not None else []
    facts = Facts(damaged, dict(originals), len(spans), given if spans else None, misfits, coarse, frames, little)
    return facts, spans


def _misfits(files: Files, spans: Mapping[int, Span], values: Range) -> list[str]:
    return [files[place][0] for place, span in sorted(spans.items()) if misfit(span, values)]


def ignore_signals(_: int) -> None:
    """Let a worker leave signals to the process that it works for, which may still need it to save and stop."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def processors() -> int:
    """Return how many worker processes make sense: fewer than there are cores, where this one may use only some."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


_Chunk = tuple[Pixels, list[tuple[Original | None, str]]]
"""Pixels, and for each image what it was, or None and the problem; without a problem it changed while it was read."""


class _Chunks(Dataset[_Chunk]):
    """What worker processes do: decode several files, and say which cannot be used."""

    def __init__(self, folder: Path, files: Files, form: Preprocessing, size: int) -> None:
        self.folder, self.files, self.form, self.size = folder, files, form, size

    def __len__(self) -> int:
        return math.ceil(len(self.files) / self.size)

    def __getitem__(self, index: int) -> _Chunk:
        part = self.files[index * self.size : (index + 1) * self.size]
        pixels = np.zeros((len(part), *self.form.shape), np.uint8)
        found: list[tuple[Original | None, str]] = []
        for position, (name, before) in enumerate(part):
            file = self.folder / name
            try:
                prepared = prepare(file, self.form)
                if stat(file) != before:
                    found.append((None, ""))
                    continue
                pixels[position] = prepared.pixels
                found.append((prepared.original, ""))
            except (ImageError, OSError) as error:
                found.append((None, str(error) or type(error).__name__))
        return pixels, found


def as_it_is(batch: object) -> object:
    """Collate nothing: what a data set gives is a batch already.

    An array is left one: it goes through a pipe; a tensor would need shared memory, which containers have little of.
    """
    return batch
