"""From a split to the batches of an epoch: shuffled, varied, normalised, on the device, without work per image."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from cnnkit.data.arrays import map_array
from cnnkit.data.augmentations import augmentation
from cnnkit.data.decoding import as_it_is, ignore_signals, processors
from cnnkit.data.loaded import Split
from cnnkit.images import Preprocessing
from cnnkit.models.normalisation import Normalise
from cnnkit.pictures import Pixels
from cnnkit.recipe import Recipe
from cnnkit.training.randomness import derive, generator

_CHUNK_VALUES = 1 << 19
"""Values (2 MB of float32) that are prepared together: enough to make the calls cheap, few enough for the caches."""


def batch_sizes(images: int, recipe: Recipe, world: int) -> tuple[int, ...]:
    """Return how many images each batch of an epoch holds over all processes, the last one last.

    A left-over image alone has no batch statistics, and is left out; the next epoch leaves another one over.
    """
    whole, rest = divmod(images, recipe.batch_size)
    sizes = (recipe.batch_size,) * whole + (rest,) * (rest >= 2 * world or not whole)
    return sizes[: recipe.limit_batches] if recipe.limit_batches else sizes


class BatchLoader:
    """The batches of every epoch; which images they hold, and how varied, depends on the seed and the epoch only.

    Args:
        drawn: uint8 [classes, M, H, W, C], which stand in for the recipe's share of the images of their class.

    Attributes:
        steps: batches in an epoch.
    """

    def __init__(
        self,
        split: Split,
        form: Preprocessing,
        classes: int,
        recipe: Recipe,
        device: torch.device,
        *,
        rank: int = 0,
        world: int = 1,
        drawn: Tensor | None = None,
    ) -> None:
        self.recipe, self.classes, self.device, self.rank, self.world = recipe, classes, device, rank, world
        self.split = split
        if split.rows is None and _fits_on(device, split.images.nbytes):
            self.split = Split(split.images.to(device), split.targets.to(device))
        self.targets = self.split.targets.to(device)
        self.normalise = Normalise(form.mean, form.std).to(device)
        self.augmentation = augmentation(recipe.augmentation)
        self.drawn = None if drawn is None else drawn.to(device)
        self.steps = len(batch_sizes(len(split), recipe, world))
        self._plan: list[list[int]] = []
        self._loader: DataLoader[Pixels] | None = None
        self._chunk = max(1, _CHUNK_VALUES // (recipe.batch_size * form.height * form.width * form.channels))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor, int]]:
        """Yield the batches of an epoch from step `start` on.

        Yields:
            images: float32 [N, C, H, W] on the device, channels-last: this process's share of the batch.
            targets: int64 [N], or float32 [N, classes] where mixup shares them out.
            together: images in the batch over all processes.
        """
        seed = self.recipe.seed
        order = torch.randperm(len(self.split), generator=generator(seed, epoch, "order"))
        batches = list(torch.split(order, self.recipe.batch_size))[: self.steps]
        numbers = None
        if self.augmentation is not None:
            numbers = self.augmentation.draw(len(self.split), generator(seed, epoch, "augmentation")).to(self.device)
        standing_in = self._standing_in(epoch)
        shares = None
        if self.recipe.mixup:
            source = np.random.default_rng(derive(seed, epoch, "mixup"))
            shares = source.beta(self.recipe.mixup, self.recipe.mixup, self.steps)
        # Mixup needs the whole batch, of which each process then takes its share.
        loaded = batches if shares is not None else [self._share(batch) for batch in batches]
        for first, pixels, positions in self._loaded(loaded, start):
            images, targets = self._prepare(pixels, positions, numbers, standing_in)
            sizes = [len(batch) for batch in loaded[first : first + self._chunk]]
            parted = zip(torch.split(images, sizes), torch.split(targets, sizes), strict=True)
            for step, parts in enumerate(parted, first):
                together = len(batches[step])
                if shares is not None:
                    mixed = self._mix(*parts, shares[step])
                    yield self._share(mixed[0]), self._share(mixed[1]), together
                else:
                    yield *parts, together

    def _share(self, batch: Tensor) -> Tensor:
        return batch if self.world == 1 else batch.tensor_split(self.world)[self.rank]

    def _loaded(self, batches: list[Tensor], start: int) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield the first step of each chunk of batches, its uint8 pixels [N, H, W, C], and their positions [N]."""
        firsts = range(start, len(batches), self._chunk)
        chunks = [torch.cat(batches[first : first + self._chunk]) for first in firsts]
        if self.split.rows is None:
            home = self.split.images.device
            for first, positions in zip(firsts, chunks, strict=True):
                yield first, self.split.take(positions.to(home)).to(self.device), positions.to(self.device)
            return
        self._plan[:] = [positions.tolist() for positions in chunks]
        for first, positions, pixels in zip(firsts, chunks, self._stream(), strict=True):
            yield first, torch.from_numpy(pixels).to(self.device), positions.to(self.device)

    def _stream(self) -> DataLoader[Pixels]:
        """Return what reads the chunks of the plan in worker processes, which live as long as this object."""
        if self._loader is None:
            self._loader = DataLoader(
                _Stored(self.split),
                batch_sampler=self._plan,
                collate_fn=as_it_is,
                num_workers=max(1, processors() // self.world),
                persistent_workers=True,
                worker_init_fn=ignore_signals,
                generator=torch.Generator(),  # the global one is the network's
            )
        return self._loader

    def _standing_in(self, epoch: int) -> Tensor | None:
        """Return which drawing of its class stands in for each image in an epoch, int64 [N]; -1 where none does."""
        if self.drawn is None:
            return None
        numbers = torch.rand(len(self.split), generator=generator(self.recipe.seed, epoch, "drawn"))
        which = (numbers / self.recipe.drawn_digits * self.drawn.shape[1]).long()
        return torch.where(which < self.drawn.shape[1], which, -1).to(self.device)

    def _prepare(
        self, pixels: Tensor, positions: Tensor, numbers: Tensor | None, standing_in: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        targets = self.targets.index_select(0, positions)
        if self.drawn is not None and standing_in is not None:
            which = standing_in[positions]
            drawings = self.drawn[targets, which.clamp(min=0)]
            pixels = torch.where((which >= 0).view(-1, 1, 1, 1), drawings, pixels)
        if self.augmentation is not None and numbers is not None:
            pixels = self.augmentation.apply(pixels.permute(0, 3, 1, 2), numbers[positions]).permute(0, 2, 3, 1)
        images = self.normalise(pixels)
        if images.shape[1] == 1:
            # With one channel both orders are the same in memory; convolutions are faster by the strides of this one.
            images = images.flatten(1).view(images.shape)
        return images, targets

    def _mix(self, images: Tensor, targets: Tensor, share: float) -> tuple[Tensor, Tensor]:
        """Mix each image of a batch and its label with those of its neighbour (Zhang et al., 2018)."""
        one_hot = F.one_hot(targets, self.classes).float()
        return images.lerp(images.roll(1, 0), 1 - share), one_hot.lerp(one_hot.roll(1, 0), 1 - share)


def _fits_on(device: torch.device, size: int) -> bool:
    """Return whether images leave a GPU as much memory again; on the CPU they are in memory already."""
    return device.type != "cuda" or bool(size <= torch.cuda.mem_get_info(device)[0] / 2)


class _Stored(Dataset[Pixels]):
    """What worker processes read: several images at a time out of the memory map."""

    def __init__(self, split: Split) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.split)

    def __getitems__(self, positions: list[int]) -> Pixels:
        return self.split.take(torch.tensor(positions)).numpy()

    def __reduce__(self) -> tuple[Any, ...]:
        # Workers that are no forks get the name of the file, not a copy of what is too large for memory.
        split = self.split
        return _reopened, (split.file, tuple(split.images.shape), split.targets, split.rows)


def _reopened(file: Path, shape: tuple[int, ...], targets: Tensor, rows: Tensor) -> _Stored:
    return _Stored(Split(torch.from_numpy(map_array(file, shape)), targets, rows, file))
