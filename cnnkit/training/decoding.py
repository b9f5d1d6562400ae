"""All images of a folder, decoded by worker processes."""

import math
import os
import signal
import sys
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from cnnkit.errors import DataError, ImageError
from cnnkit.images import Preprocessing, prepare
from cnnkit.pictures import Pixels
from cnnkit.results import LoadProgress
from cnnkit.training.folders import Listing, stat
from cnnkit.words import counted

_CHUNK, _CHUNK_BYTES = 64, 16 * 2**20
"""Files that are decoded together, and what they decode to, at most."""

_FEW_FILES, _FEW_BYTES = 2000, 16 * 2**20
"""What is decoded in this process: about as much as it decodes while workers start and end."""


def decode(
    listing: Listing, form: Preprocessing, keep: Callable[[slice, Pixels], object]
) -> Generator[LoadProgress, None, None]:
    """Decode the files of a folder, and hand each chunk [N, H, W, C] in turn to `keep`, with where it belongs.

    Raises:
        DataError: files that are not usable images, by name.
    """
    count = len(listing.files)
    few = count <= _FEW_FILES and sum(size for size, _ in listing.files.values()) <= _FEW_BYTES
    workers = 0 if few else processors()
    # A few large photos, too, are shared out among all.
    share = math.ceil(count / (4 * max(1, workers)))
    chunks = _Chunks(listing, form, max(1, min(_CHUNK, _CHUNK_BYTES // math.prod(form.shape), share)))
    loader = DataLoader(
        chunks,
        batch_size=None,
        collate_fn=as_it_is,
        num_workers=min(workers, len(chunks)),
        worker_init_fn=ignore_signals,
        generator=torch.Generator(),  # the global one is the network's
    )
    done = 0
    bad: list[str] = []
    for pixels, problems in loader:
        bad += problems
        if not bad:
            keep(slice(done, done + len(pixels)), pixels)
        done += len(pixels)
        yield LoadProgress("images", done, count)
    if bad:
        shown = " ".join(sorted(bad)[:5])
        raise DataError(f"{len(bad):,} of {counted(count, 'file')} cannot be used: {shown} Remove or repair them.")


def ignore_signals(_: int) -> None:
    """Let a worker leave signals to the process that it works for, which may still need it to save and stop."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def processors() -> int:
    """Return how many worker processes make sense: fewer than there are cores, where this one may use only some."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


_Chunk = tuple[Pixels, list[str]]


class _Chunks(Dataset[_Chunk]):
    """What worker processes do: decode several files, and say which cannot be used."""

    def __init__(self, listing: Listing, form: Preprocessing, size: int) -> None:
        self.folder, self.files, self.form, self.size = listing.folder, list(listing.files.items()), form, size

    def __len__(self) -> int:
        return math.ceil(len(self.files) / self.size)

    def __getitem__(self, index: int) -> _Chunk:
        part = self.files[index * self.size : (index + 1) * self.size]
        pixels = np.zeros((len(part), *self.form.shape), np.uint8)
        bad = []
        for position, (name, before) in enumerate(part):
            file = self.folder / name
            try:
                pixels[position] = prepare(file, self.form).pixels
                if stat(file) != before:
                    bad.append(f"{file} changed while it was read.")
            except (ImageError, OSError) as error:
                bad.append(str(error))
        return pixels, bad


def as_it_is(batch: Any) -> Any:
    """Collate nothing: what a data set gives is a batch already.

    An array is left one: it goes through a pipe; a tensor would need shared memory, which containers have little of.
    """
    return batch
