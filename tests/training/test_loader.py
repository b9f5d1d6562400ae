"""The batches of an epoch: which images, in which order, how varied, and for which process."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from cnnkit.data.arrays import map_array
from cnnkit.data.loaded import Split
from cnnkit.images import Preprocessing
from cnnkit.recipe import Recipe
from cnnkit.training import loader as batches_module
from cnnkit.training.loader import BatchLoader
from cnnkit.training.randomness import capture

CPU = torch.device("cpu")
FORM = Preprocessing(3, 6, 5, (0.1, 0.2, 0.3), (0.5, 0.25, 1.0))
CLASSES = 4
Batch = tuple[Tensor, Tensor, int]


def make_split(count: int) -> Split:
    """Images that tell by their first pixel which they are."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, *FORM.shape), np.uint8)
    pixels[:, 0, 0, 0], pixels[:, 0, 0, 1] = np.arange(count) % 256, np.arange(count) // 256
    return Split(torch.from_numpy(pixels), torch.arange(count) % CLASSES)


def make(split: Split, *, rank: int = 0, world: int = 1, **fields: object) -> BatchLoader:
    return BatchLoader(split, FORM, CLASSES, Recipe(**{"batch_size": 8, **fields}), CPU, rank=rank, world=world)


def make_drawn(count: int, share: float, seed: int = 0) -> BatchLoader:
    """BatchLoader in which drawings, whose first pixels are 10 and a class, stand in for a share of the images."""
    drawn = torch.zeros(CLASSES, 3, *FORM.shape, dtype=torch.uint8)
    drawn[..., 0, 0, 0], drawn[..., 0, 0, 1] = torch.arange(CLASSES)[:, None], 255
    drawn[..., 0, 0, 2] = torch.arange(3)
    recipe = Recipe(batch_size=8, drawn_digits=share, seed=seed)
    return BatchLoader(make_split(count), FORM, CLASSES, recipe, CPU, drawn=drawn)


def drawn_in(batches: BatchLoader, epoch: int = 1) -> list[tuple[int, int] | None]:
    """For each image of an epoch the class and number of the drawing that it is; None where it is none."""
    found: list[tuple[int, int] | None] = []
    for images, _, _ in batches.epoch(epoch):
        pixels = (images[:, :, 0, 0] * torch.tensor(FORM.std) + torch.tensor(FORM.mean)) * 255
        found += [(a, c) if b == 255 else None for a, b, c in pixels.round().int().tolist()]
    return found


def whose(images: Tensor) -> list[int]:
    """Which images these are, told by their first pixels."""
    first = images[:, :2, 0, 0] * torch.tensor(FORM.std[:2]) + torch.tensor(FORM.mean[:2])
    return (first * 255).round().long().matmul(torch.tensor([1, 256])).tolist()


def epoch_of(batches: BatchLoader, epoch: int = 1) -> list[int]:
    return [index for images, _, _ in batches.epoch(epoch) for index in whose(images)]


def assert_same(found: list[Batch], expected: list[Batch]) -> None:
    assert len(found) == len(expected)
    for (images, targets, together), (wanted, indices, total) in zip(found, expected, strict=True):
        assert torch.equal(images, wanted)
        assert torch.equal(targets, indices)
        assert together == total


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let three batches of eight be prepared together, so that few images make several chunks."""
    monkeypatch.setattr(batches_module, "_CHUNK_VALUES", 3 * 8 * 6 * 5 * 3)


@settings(deadline=None, derandomize=True, max_examples=60)
@example(count=33, size=8, epoch=1)
@example(count=34, size=8, epoch=1)
@given(count=st.integers(2, 90), size=st.integers(1, 40), epoch=st.integers(1, 50))
def test_every_image_comes_once_an_epoch_but_for_one_that_is_left_over_alone(count: int, size: int, epoch: int) -> None:
    batches = make(make_split(count), batch_size=size)
    sizes, seen = [], []
    for images, targets, together in batches.epoch(epoch):
        assert len(images) == len(targets) == together
        assert torch.equal(targets, torch.tensor(whose(images)) % CLASSES), "each target stays with its image"
        sizes.append(together)
        seen += whose(images)
    alone = count % size == 1 and count > size
    assert len(seen) == len(set(seen)) == count - alone
    assert len(sizes) == batches.steps
    assert sizes[:-1] == [size] * (batches.steps - 1)
    assert sizes[-1] == min(size, count) if alone or count % size == 0 else count % size


def test_a_single_image_is_a_batch_where_there_are_no_others() -> None:
    assert [together for *_, together in make(make_split(1)).epoch(1)] == [1]


def test_the_order_depends_on_seed_and_epoch_only() -> None:
    split = make_split(100)
    order = epoch_of(make(split, seed=3), 2)
    torch.rand(7)
    assert epoch_of(make(split, seed=3, batch_size=9, mixup=0.0), 2)[:99] == order[:99]
    assert order != sorted(order)
    others = [epoch_of(make(split, seed=3), 3), epoch_of(make(split, seed=4), 2)]
    assert order != others[0] != others[1] != order


def test_another_image_is_left_over_in_each_epoch() -> None:
    batches = make(make_split(33))
    left = {(set(range(33)) - set(epoch_of(batches, epoch))).pop() for epoch in range(1, 9)}
    assert len(left) > 3


def test_images_come_normalised_and_channels_last() -> None:
    split = make_split(20)
    for images, _, _ in make(split).epoch(1):
        assert images.dtype == torch.float32
        assert images.is_contiguous(memory_format=torch.channels_last)
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (FORM.mean, FORM.std))
        expected = (split.images[whose(images)].permute(0, 3, 1, 2) / 255 - mean) / std
        torch.testing.assert_close(images, expected)


def test_drawings_of_their_class_stand_in_for_a_share_of_the_images() -> None:
    batches = make_drawn(800, 0.25)
    found = drawn_in(batches)
    targets = torch.cat([targets for _, targets, _ in batches.epoch(1)]).tolist()
    there = [(drawing, target) for drawing, target in zip(found, targets, strict=True) if drawing is not None]
    assert 150 < len(there) < 250
    assert all(drawing[0] == target for drawing, target in there)
    assert {drawing[1] for drawing, _ in there} == {0, 1, 2}
    assert drawn_in(make_drawn(800, 0.25)) == found
    assert drawn_in(batches, 2) != found != drawn_in(make_drawn(800, 0.25, seed=1))
    assert not any(drawn_in(make_drawn(80, 0.0)))


@pytest.mark.usefixtures("small_chunks")
def test_from_any_step_on_the_same_drawings_stand_in() -> None:
    whole = list(make_drawn(77, 0.4).epoch(3))
    for start in (0, 1, 5, 9):
        assert_same(list(make_drawn(77, 0.4).epoch(3, start)), whole[start:])


VARIED = [
    {},
    {"augmentation": "drawings"},
    {"augmentation": "digits"},
    {"augmentation": "crops"},
    {"mixup": 0.4},
    {"augmentation": "affine", "mixup": 1.0},
]


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("fields", VARIED, ids=str)
def test_from_any_step_on_an_epoch_goes_on_as_if_it_had_begun_there(fields: dict[str, object]) -> None:
    batches = make(make_split(77), **fields)
    whole = list(batches.epoch(2))
    assert len(whole) == batches.steps == 10
    for start in range(11):
        assert_same(list(batches.epoch(2, start)), whole[start:])


@pytest.mark.parametrize("fields", VARIED, ids=str)
def test_how_many_batches_are_prepared_together_changes_nothing(
    fields: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    split, found = make_split(77), []
    for values in (1, 5 * 8 * 90, 10**9):
        monkeypatch.setattr(batches_module, "_CHUNK_VALUES", values)
        found.append(list(make(split, **fields).epoch(1)))
    assert_same(found[0], found[1])
    assert_same(found[0], found[2])


@pytest.mark.parametrize("fields", VARIED, ids=str)
@pytest.mark.parametrize("world", [2, 3])
def test_what_the_processes_get_together_is_the_batch_of_one(world: int, fields: dict[str, object]) -> None:
    split = make_split(76)
    one = make(split, **fields)
    several = [make(split, rank=rank, world=world, **fields) for rank in range(world)]
    left_over = 76 % 8
    # Where they are too few for two each, all leave them out.
    assert {batches.steps for batches in several} == {9 + (left_over >= 2 * world)}
    for (images, targets, together), *parts in zip(one.epoch(1), *(b.epoch(1) for b in several), strict=False):
        assert torch.equal(torch.cat([part[0] for part in parts]), images)
        assert torch.equal(torch.cat([part[1] for part in parts]), targets)
        assert {part[2] for part in parts} == {together}
        assert all(len(part[0]) >= 2 for part in parts)


@settings(deadline=None, derandomize=True, max_examples=80)
@given(count=st.integers(2, 70), size=st.integers(2, 40), world=st.integers(1, 5))
def test_every_process_gets_two_images_of_each_batch_wherever_there_are_enough(
    count: int, size: int, world: int
) -> None:
    if size < 2 * world or count < 2 * world:
        return  # refused before there are any batches
    split = make_split(count)
    several = [make(split, batch_size=size, rank=rank, world=world) for rank in range(world)]
    sizes = [[len(images) for images, _, _ in batches.epoch(1)] for batches in several]
    assert {len(found) for found in sizes} == {several[0].steps}
    assert min(map(min, sizes)) >= 2


@pytest.mark.parametrize("fields", VARIED, ids=str)
def test_a_limit_takes_the_first_batches_of_the_epoch(fields: dict[str, object]) -> None:
    split = make_split(77)
    whole = list(make(split, **fields).epoch(1))
    limited = make(split, limit_batches=3, **fields)
    assert limited.steps == 3
    # The shares of mixup are drawn together and so do not depend on how many there are.
    assert_same(list(limited.epoch(1)), whole[:3])
    assert make(split, limit_batches=30).steps == 10


def test_a_varied_image_depends_on_seed_epoch_and_itself_only() -> None:
    split = make_split(40)
    varied = {}
    for size in (8, 13):
        batches = make(split, augmentation="drawings", batch_size=size, seed=2)
        order = [i for b in make(split, batch_size=size, seed=2).epoch(5) for i in whose(b[0])]
        images = torch.cat([images for images, _, _ in batches.epoch(5)])
        varied[size] = dict(zip(order, images, strict=True))
    common = varied[8].keys() & varied[13].keys()
    assert len(common) >= 39
    assert all(torch.equal(varied[8][index], varied[13][index]) for index in common)
    again = torch.cat([images for images, _, _ in make(split, augmentation="drawings", seed=2).epoch(6)])
    assert not torch.allclose(again.mean(), torch.stack(list(varied[8].values())).mean(), atol=1e-7)


def test_varied_images_are_pixels_as_if_they_had_been_stored() -> None:
    for images, _, _ in make(make_split(20), augmentation="drawings").epoch(1):
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (FORM.mean, FORM.std))
        pixels = (images * std + mean) * 255
        torch.testing.assert_close(pixels, pixels.round(), atol=1e-3, rtol=0)


def test_mixup_mixes_images_and_labels_by_the_same_share() -> None:
    split = make_split(80)
    plain, mixed = (list(make(split, mixup=alpha, seed=5).epoch(1)) for alpha in (0.0, 0.4))
    found = []
    for (images, targets, _), (blend, labels, together) in zip(plain, mixed, strict=True):
        assert (labels.shape, labels.dtype, together) == ((8, CLASSES), torch.float32, 8)
        torch.testing.assert_close(labels.sum(1), torch.ones(8))
        one_hot = torch.eye(CLASSES)[targets]
        other = targets.roll(1) != targets
        share = labels[other, targets[other]][0].item()
        found.append(share)
        torch.testing.assert_close(blend, share * images + (1 - share) * images.roll(1, 0), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(labels, share * one_hot + (1 - share) * one_hot.roll(1, 0))
    assert len(set(found)) == len(found), "each batch has a share of its own"
    assert all(0 <= share <= 1 for share in found)


def test_the_shares_of_mixup_are_beta_distributed() -> None:
    pairs = [labels[0] for _, labels, _ in make(make_split(800), mixup=0.2, batch_size=2).epoch(1)]
    # Only of two classes it shows which is the larger share; that of Beta(0.2, 0.2), which crowds at the ends, is this.
    larger = [pair.max().item() for pair in pairs if (pair > 0).sum() == 2]
    drawn = np.random.default_rng(0).beta(0.2, 0.2, 100_000)
    assert np.mean(larger) == pytest.approx(np.maximum(drawn, 1 - drawn).mean(), abs=0.03)


@pytest.mark.parametrize("fields", VARIED, ids=str)
def test_the_global_random_numbers_stay_as_they_are(fields: dict[str, object]) -> None:
    before = capture(CPU)
    list(make(make_split(20), **fields).epoch(1))
    torch.testing.assert_close(capture(CPU), before, rtol=0, atol=0, equal_nan=True)


def test_an_epoch_that_is_begun_can_be_left_and_begun_again() -> None:
    batches = make(make_split(40), augmentation="affine")
    first = next(batches.epoch(1))
    assert_same([next(batches.epoch(1))], [first])
    one, other = batches.epoch(1), batches.epoch(2)
    mingled = [next(one), next(other), next(one), next(other)]
    assert_same(mingled[::2], list(batches.epoch(1))[:2])
    assert_same(mingled[1::2], list(batches.epoch(2))[:2])


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[Split], Split]:
    """Put the images of a split into a larger array of a file, in another order, and map it."""

    def put(split: Split) -> Split:
        rows = np.random.default_rng(1).permutation(len(split) + 9)[: len(split)]
        pixels = np.zeros((len(split) + 9, *split.images.shape[1:]), np.uint8)
        pixels[rows] = split.images.numpy()
        np.save(tmp_path / "images.npy", pixels)
        mapped = map_array(tmp_path / "images.npy", pixels.shape)
        return Split(torch.from_numpy(mapped), split.targets, torch.from_numpy(rows), tmp_path / "images.npy")

    return put


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be two worker processes, wherever this runs."""
    monkeypatch.setattr(batches_module, "processors", lambda: 2)


def workers() -> set[int]:
    """The living processes that this one started."""
    children = psutil.Process().children(recursive=True)
    return {child.pid for child in children if child.status() != psutil.STATUS_ZOMBIE}


streams = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine with a single core


@streams
@pytest.mark.usefixtures("two_cores", "small_chunks")
@pytest.mark.parametrize("fields", [{}, {"augmentation": "drawings", "mixup": 0.4, "limit_batches": 7}], ids=str)
def test_images_out_of_a_file_make_the_same_batches(
    fields: dict[str, object], stored: Callable[[Split], Split]
) -> None:
    split = make_split(77)
    streamed, held = make(stored(split), **fields), make(split, **fields)
    assert streamed.steps == held.steps
    before = capture(CPU)
    for epoch, first in ((1, 0), (2, 0), (3, 5), (4, 0)):
        assert_same(list(streamed.epoch(epoch, first)), list(held.epoch(epoch, first)))
    torch.testing.assert_close(capture(CPU), before, rtol=0, atol=0, equal_nan=True)


@streams
@pytest.mark.usefixtures("two_cores", "small_chunks")
@pytest.mark.parametrize("taken", [1, 3, 4, 9])
def test_a_streamed_epoch_that_is_left_does_not_show_in_the_next(taken: int, stored: Callable[[Split], Split]) -> None:
    split = make_split(77)
    streamed, held = make(stored(split)), make(split)
    epoch = streamed.epoch(1)
    assert_same([next(epoch) for _ in range(taken)], list(held.epoch(1))[:taken])
    epoch.close()
    assert_same(list(streamed.epoch(2)), list(held.epoch(2)))


@streams
@pytest.mark.usefixtures("two_cores")
def test_processes_stream_their_own_part_only(stored: Callable[[Split], Split]) -> None:
    split = make_split(32)
    parts = [list(make(stored(split), rank=rank, world=2).epoch(1)) for rank in range(2)]
    for (images, _, _), one, other in zip(make(split).epoch(1), *parts, strict=True):
        assert torch.equal(torch.cat([one[0], other[0]]), images)


@streams
@pytest.mark.usefixtures("two_cores", "small_chunks")
def test_worker_processes_serve_all_epochs_and_end_with_the_batches(stored: Callable[[Split], Split]) -> None:
    before = workers()
    batches = make(stored(make_split(77)))
    list(batches.epoch(1))
    begun = workers() - before
    assert len(begun) == 2
    epoch = batches.epoch(2)
    next(epoch)
    assert workers() - before == begun
    del epoch, batches
    assert workers() - before == set()


def test_a_worker_that_is_no_fork_opens_the_file_itself(stored: Callable[[Split], Split]) -> None:
    split = make_split(40)
    there = stored(split)
    passed = pickle.dumps(batches_module._Stored(there))
    assert len(passed) < there.images.numel()
    found = pickle.loads(passed)
    assert len(found) == 40
    positions = [7, 0, 39, 7]
    assert np.array_equal(found.__getitems__(positions), split.images[positions].numpy())
