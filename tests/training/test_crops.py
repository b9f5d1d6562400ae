"""Crops: every output is a crop of its input, and depends on seed, epoch and index only."""

from itertools import product

import pytest
import torch
from torch.nn import functional as F

from cnnkit.data.augmentations.crops import Crops
from cnnkit.training.randomness import generator

SHIFT = 3
COUNT = 400


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Noise, in which no crop looks like another: float32 [400, 3, 12, 10] in [0, 1)."""
    return torch.rand(COUNT, 3, 12, 10, generator=torch.Generator().manual_seed(0))


def possible(image: torch.Tensor, shift: int) -> dict[tuple[bool, int, int], torch.Tensor]:
    """Return all crops of an image, padded by PyTorch's own reflection: by (mirrored, down, across)."""
    _, height, width = image.shape
    tall, wide = min(shift, height - 1), min(shift, width - 1)
    padded = F.pad(image[None], (wide, wide, tall, tall), mode="reflect")[0]
    crops = {}
    for down, across in product(range(2 * tall + 1), range(2 * wide + 1)):
        crop = padded[:, down : down + height, across : across + width]
        crops[False, down, across], crops[True, down, across] = crop, crop.flip(2)
    return crops


def which(image: torch.Tensor, crop: torch.Tensor, shift: int = SHIFT) -> tuple[bool, int, int]:
    found = [key for key, other in possible(image, shift).items() if torch.equal(crop, other)]
    assert len(found) == 1
    return found[0]


def test_each_output_is_one_of_the_crops_of_its_input_and_all_are_drawn(images: torch.Tensor) -> None:
    vary = Crops(SHIFT)
    varied = vary.apply(images, vary.draw(COUNT, generator(0, 1, "augmentation")))
    keys = [which(image, crop) for image, crop in zip(images, varied, strict=True)]
    assert 160 < sum(mirrored for mirrored, _, _ in keys) < 240
    for axis in (1, 2):
        counts = torch.bincount(torch.tensor([key[axis] for key in keys]), minlength=2 * SHIFT + 1)
        assert counts.min() > COUNT / 7 * 0.6
    assert len({key[1:] for key in keys}) == (2 * SHIFT + 1) ** 2


def test_the_ends_of_the_random_numbers_are_the_farthest_crops(images: torch.Tensor) -> None:
    ends = torch.tensor([-1.0, 1.0 - 2**-23])
    numbers = torch.cartesian_prod(ends, ends, ends)
    for shift in (1, 2, 4):
        for image, crop, row in zip(images, Crops(shift).apply(images[:8], numbers), numbers, strict=False):
            far = 2 * shift
            assert which(image, crop, shift) == (row[0] < 0, far * (row[1] > 0), far * (row[2] > 0))


def test_an_image_varies_with_seed_epoch_and_index_and_not_with_its_batch(images: torch.Tensor) -> None:
    vary = Crops(SHIFT)
    numbers = vary.draw(COUNT, generator(3, 2, "augmentation"))
    whole = vary.apply(images, numbers)
    order = torch.tensor([7, 2, 399])
    assert torch.equal(vary.apply(images[order], numbers[order]), whole[order])
    assert torch.equal(vary.apply(images, vary.draw(COUNT, generator(3, 2, "augmentation"))), whole)
    assert torch.equal(vary.draw(20, generator(3, 2, "augmentation")), numbers[:20])
    for seed, epoch in ((3, 3), (4, 2)):
        other = vary.apply(images, vary.draw(COUNT, generator(seed, epoch, "augmentation")))
        assert (other != whole).flatten(1).any(1).float().mean() > 0.9
    twins = vary.apply(images[:1].expand(COUNT, -1, -1, -1), numbers)
    assert len(torch.unique(twins.flatten(1), dim=0)) > 80


def test_nothing_asked_for_changes_nothing(images: torch.Tensor) -> None:
    still = Crops(0, hflip=False)
    assert torch.equal(still.apply(images, still.draw(COUNT, generator(0, 1, "augmentation"))), images)


@pytest.mark.parametrize("channels_last", [False, True])
def test_stored_pixels_give_the_same_as_floats(images: torch.Tensor, channels_last: bool) -> None:
    stored = (images * 255).to(torch.uint8)
    if channels_last:
        stored = stored.contiguous(memory_format=torch.channels_last)
    vary = Crops(SHIFT)
    numbers = vary.draw(COUNT, generator(0, 1, "augmentation"))
    varied = vary.apply(stored, numbers)
    assert varied.dtype == torch.uint8
    assert varied.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(vary.apply(stored.float() / 255, numbers), varied.float() / 255)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 5), (28, 28), (33, 17)])
def test_an_image_smaller_than_the_shift_is_shifted_as_far_as_reflection_goes(height: int, width: int) -> None:
    vary = Crops(4)
    given = torch.rand(50, 1, height, width, generator=torch.Generator().manual_seed(1))
    varied = vary.apply(given, vary.draw(50, generator(0, 1, "augmentation")))
    for image, crop in zip(given, varied, strict=True):
        assert any(torch.equal(crop, other) for other in possible(image, 4).values())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_gpu_gives_the_same_bits_and_can_record_it(images: torch.Tensor) -> None:
    vary = Crops(SHIFT)
    numbers = vary.draw(COUNT, generator(0, 1, "augmentation"))
    there, theirs = images.cuda(), numbers.cuda()
    vary.apply(there, theirs)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        varied = vary.apply(there, theirs)
    graph.replay()
    assert torch.equal(varied.cpu(), vary.apply(images, numbers))
