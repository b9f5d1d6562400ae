"""What needs an NVIDIA GPU; elsewhere these are skipped, and say so."""

import copy
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import cnnkit
from cnnkit.errors import OutOfMemoryError
from cnnkit.recipe import Recipe
from cnnkit.training.results import EpochRecord, TrainingEvent, TrainingFinished, TrainingStarted, TrainingStopped
from tests.expecting import expect_error

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU that PyTorch can use"),
]
GPU = "cuda"


def train(recipe: Recipe, runs: Path, *, device: str = GPU, **options: Any) -> list[TrainingEvent]:
    from cnnkit.training import loop

    return [
        event
        for event in loop.train_events(recipe, runs_dir=runs, device=device, **options)
        if not hasattr(event, "total")
    ]


def records_of(events: list[TrainingEvent]) -> list[EpochRecord]:
    return [event for event in events if isinstance(event, EpochRecord)]


def weights_of(run: Path) -> str:
    from cnnkit.sources.checkpoint import load_checkpoint

    return load_checkpoint(run / "best.safetensors", "best", trust_code=True)[1].weights_sha256


def stop_at(call: int) -> Callable[[], bool]:
    asked = itertools.count(1)
    return lambda: next(asked) == call


def test_training_runs_on_the_gpu_and_its_checkpoint_on_the_cpu(tmp_path):
    recipe = cnnkit.default_recipe("shapes-cnn", epochs=2)
    started, *_, finished = (
        e for e in cnnkit.train.steps(recipe, runs_dir=tmp_path, device="cuda") if not hasattr(e, "total")
    )
    assert isinstance(started, TrainingStarted)
    assert started.device.startswith("cuda")
    on_gpu = cnnkit.evaluate(finished.checkpoint, device="cuda")
    on_cpu = cnnkit.evaluate(finished.checkpoint, device="cpu")
    assert on_gpu.accuracy == pytest.approx(on_cpu.accuracy, abs=0.01)


@pytest.mark.parametrize("entry", ["digits", "lenet-mnist", "shapes-cnn-basicshapes"])
def test_the_cuda_provider_gives_the_logits_of_the_cpu(entry):
    gpu, cpu = (cnnkit.load(entry, device=device) for device in ("cuda", "cpu"))
    assert gpu.network.engine == "onnxruntime CUDA"
    pixels = np.random.default_rng(0).integers(0, 256, (33, *cpu.card.preprocessing.shape), np.uint8)
    # The tolerance of the parity certificate: TF32, which keeps ten bits of the mantissa, is off.
    np.testing.assert_allclose(gpu.network.logits(pixels), cpu.network.logits(pixels), atol=1e-4)


def test_a_gpu_that_was_not_asked_for_by_name_is_named(tmp_path):
    started = train(Recipe(model="lenet", data="shapes", epochs=1, limit_batches=1), tmp_path, device="auto")[0]
    assert started.device == "cuda (the GPU that PyTorch found)"


# One step, recorded and replayed.

OPTIMIZERS = [
    {"optimizer": "sgd", "learning_rate": 0.1},
    {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    {"optimizer": "adam"},
    {"optimizer": "adamw", "weight_decay": 0.1, "clip_norm": 0.3},
    {"optimizer": "rmsprop", "momentum": 0.5},
    {"optimizer": "adam", "ema": 0.8, "label_smoothing": 0.1, "clip_norm": 1.0},
    {"optimizer": "sgd", "learning_rate": 0.1, "ema": 0.9999},
]


@pytest.mark.parametrize("fields", OPTIMIZERS, ids=str)
def test_a_recorded_step_does_what_a_step_on_the_cpu_does(fields):
    from cnnkit.training.classification import Classification
    from cnnkit.training.step import TrainingStep

    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))
    recipe, costs = Recipe(batch_size=12, **fields), torch.tensor([1.0, 0.5, 2.0, 1.0])
    on_gpu, on_cpu = (Classification(4, costs.to(place), recipe.label_smoothing) for place in (GPU, "cpu"))
    there = TrainingStep(copy.deepcopy(network).to(GPU), on_gpu, recipe, torch.device(GPU))
    here = TrainingStep(network, on_cpu, recipe, torch.device("cpu"))
    source = torch.Generator().manual_seed(1)
    for number in range(20):
        # Every fifth batch is smaller, and cannot be replayed; every third rate is another one.
        size = 7 if number % 5 == 4 else 12
        images, targets = torch.randn(size, 3, 4, 4, generator=source), torch.randint(4, (size,), generator=source)
        rate = recipe.learning_rate / (1 + number // 3)
        for step in (there, here):
            step.network.train()
            step(images.to(step.device), targets.to(step.device), rate=rate, together=size)
    assert there._recording is not None, "the last steps were replayed"
    assert here._recording is None
    assert there.totals.images == here.totals.images == 16 * 12 + 4 * 7
    assert there.totals.means()[0] == pytest.approx(here.totals.means()[0], rel=1e-3)
    for one, other in ((there.network, here.network), (there.kept, here.kept)):
        expected = other.state_dict()
        found = {name: tensor.cpu() for name, tensor in one.state_dict().items()}
        torch.testing.assert_close(found, expected, rtol=0.01, atol=2e-3)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
def test_a_recorded_optimizer_reads_its_rate_on_the_gpu(optimizer):
    from cnnkit.training.optimisation import make_optimizer

    (group,) = make_optimizer(Recipe(optimizer=optimizer), nn.Linear(2, 2).to(GPU), captured=True).param_groups
    assert group["lr"].device.type == GPU
    assert group["lr"].item() == pytest.approx(1e-3)


@pytest.mark.parametrize("targets", ["indices", "shares"])
def test_replaying_takes_the_images_and_targets_of_the_call(targets):
    from cnnkit.training.classification import Classification
    from cnnkit.training.step import TrainingStep

    torch.manual_seed(0)
    step = TrainingStep(
        nn.Sequential(nn.Flatten(), nn.Linear(48, 4)).to(GPU),
        Classification(3),
        Recipe(batch_size=8),
        torch.device(GPU),
    )
    for number in range(8):
        images = torch.full((8, 3, 4, 4), float(number), device=GPU)
        wanted = torch.arange(8, device=GPU) % 4
        given = torch.eye(4, device=GPU)[wanted] if targets == "shares" else wanted
        with torch.inference_mode():
            expected = nn.functional.cross_entropy(step.network(images), wanted, reduction="sum").item()
        step.totals.clear()
        step(images, given, rate=0.01, together=8)
        assert step.totals.loss.item() == pytest.approx(expected, rel=1e-4), number
    assert step._recording is not None


class Branching(nn.Module):
    """Looks at its own results."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(48, 4)

    def forward(self, images):
        logits = self.fc(images.flatten(1))
        return logits if logits.sum().item() > 1e9 else logits * 2


class Replacing(Branching):
    """Puts a new tensor in the place of its buffer in each step."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("moving", torch.zeros(4))

    def forward(self, images):
        logits = self.fc(images.flatten(1))
        if self.training:
            self.moving = 0.9 * self.moving + 0.1 * logits.detach().mean(0)
        return logits - self.moving


class Swelling(Branching):
    """Takes more memory than there is, in the step that is recorded."""

    def forward(self, images):
        if torch.cuda.is_current_stream_capturing():
            torch.empty(1 << 50, device=images.device)
        return self.fc(images.flatten(1))


@pytest.mark.parametrize(("make", "said"), [(Branching, "captur"), (Replacing, "buffer moving")])
def test_a_network_that_cannot_be_recorded_is_trained_as_on_the_cpu_and_said(make, said):
    from cnnkit.training.classification import Classification
    from cnnkit.training.step import TrainingStep

    torch.manual_seed(0)
    network, recipe = make(), Recipe(optimizer="sgd", batch_size=8, ema=0.9)
    there = TrainingStep(copy.deepcopy(network).to(GPU), Classification(4), recipe, torch.device(GPU))
    here = TrainingStep(network, Classification(4), recipe, torch.device("cpu"))
    for _ in range(10):
        images, targets = torch.randn(8, 3, 4, 4), torch.arange(8) % 4
        for step in (there, here):
            step(images.to(step.device), targets.to(step.device), rate=0.1, together=8)
    (notice,) = there.notices
    assert said in notice
    for one, other in ((there.network, here.network), (there.kept, here.kept)):
        found = {name: tensor.cpu() for name, tensor in one.state_dict().items()}
        torch.testing.assert_close(found, other.state_dict(), rtol=0.01, atol=2e-3)


def test_too_little_memory_to_record_is_said_as_that():
    from cnnkit.models.memory import is_out_of_memory
    from cnnkit.training.classification import Classification
    from cnnkit.training.step import TrainingStep

    step = TrainingStep(Swelling().to(GPU), Classification(4), Recipe(batch_size=8), torch.device(GPU))
    images, targets = torch.randn(8, 3, 4, 4, device=GPU), torch.arange(8, device=GPU) % 4
    for _ in range(3):
        step(images, targets, rate=0.1, together=8)
    with pytest.raises(RuntimeError) as caught:
        step(images, targets, rate=0.1, together=8)
    assert is_out_of_memory(caught.value)
    assert step.notices == []


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_half_precision_learns_and_keeps_float32_weights(precision, optimizer):
    from cnnkit.training.classification import Classification
    from cnnkit.training.step import TrainingStep

    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4)).to(GPU)
    recipe = Recipe(optimizer=optimizer, momentum=0.5, precision=precision, clip_norm=5.0, batch_size=32)
    step = TrainingStep(network, Classification(4), recipe, torch.device(GPU))
    source = torch.Generator().manual_seed(1)
    losses = []
    for _ in range(60):
        targets = torch.randint(4, (32,), generator=source)
        images = torch.randn(32, 3, 6, 6, generator=source) + targets.view(-1, 1, 1, 1)
        step.totals.clear()
        step(images.to(GPU), targets.to(GPU), rate=0.01, together=32)
        losses.append(step.totals.means()[0])
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:5])
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert all(torch.isfinite(p).all() for p in network.parameters())
    if precision == "fp16":
        assert 1 <= step.scaler.get_scale() <= 2**17


@pytest.mark.usefixtures("few_shapes")
def test_attacks_on_the_gpu_find_what_those_on_the_cpu_find():
    options = {"data": "shapes", "only": ["fgsm", "fooling"], "epsilons": [0.02, 0.1], "seed": 1}
    there, here = (cnnkit.attack("shapes-cnn", device=device, **options) for device in (GPU, "cpu"))
    assert there.engine == "PyTorch CUDA"
    assert there.attacks[0].accuracies == pytest.approx(here.attacks[0].accuracies, abs=0.1)
    assert there.fooling.fooled == here.fooling.fooled == 3


# Whole runs.

EVERYTHING = {
    "optimizer": "sgd", "momentum": 0.9, "nesterov": True, "learning_rate": 0.01, "schedule": "cosine",
    "warmup_epochs": 0.5, "weight_decay": 1e-4, "clip_norm": 1.0, "ema": 0.9, "mixup": 0.4, "label_smoothing": 0.1,
    "class_weights": "balanced", "normalisation": "standard", "augmentation": "affine",
}  # fmt: skip
RUNS = {
    "plain": {"model": "lenet", "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9},
    "adam": {"model": "lenet", "learning_rate": 2e-3, "schedule": "one-cycle"},
    "everything": {"model": "tinynets:Regular", **EVERYTHING},
    "dropout": {"model": "shapes-cnn", "augmentation": "drawings"},
    "rmsprop": {"model": "digit-cnn", "optimizer": "rmsprop", "momentum": 0.5, "augmentation": "digits"},
    "bf16": {"model": "tinynets:Regular", **EVERYTHING, "precision": "bf16"},
    "fp16": {"model": "tinynets:Regular", **EVERYTHING, "precision": "fp16"},
    "adversarial": {"model": "tinynets:Regular", **EVERYTHING, "adversarial_training": 0.1, "adversarial_steps": 2},
    "fp16 rmsprop": {"model": "tinynets:Regular", "optimizer": "rmsprop", "precision": "fp16"},
}


def recipe_named(name: str, **changes: Any) -> Recipe:
    # 48 images in batches of 7 are seven steps, the last of six images: each epoch has some of all kinds.
    return Recipe(**{"data": "shapes", "batch_size": 7, "epochs": 4, **RUNS[name], **changes})


@pytest.mark.usefixtures("few_shapes", "nets")
@pytest.mark.parametrize("name", ["plain", "adam"])
def test_the_curves_are_those_of_the_cpu(name, tmp_path):
    recipe = recipe_named(name)
    there, here = (records_of(train(recipe, tmp_path / device, device=device)) for device in (GPU, "cpu"))
    for field in ("train_loss", "validation_loss"):
        found, expected = ([getattr(record, field) for record in records] for records in (there, here))
        # TF32 keeps ten bits of the mantissa, and what it loses grows with the steps.
        assert found[0] == pytest.approx(expected[0], rel=0.01)
        assert found == pytest.approx(expected, rel=0.1)
    assert [r.learning_rate for r in there] == [r.learning_rate for r in here]


@pytest.mark.usefixtures("few_shapes", "nets")
@pytest.mark.parametrize("name", RUNS)
def test_a_run_on_the_gpu_is_repeated_bit_for_bit(name, tmp_path):
    runs = [train(recipe_named(name), tmp_path / str(number))[-1].run for number in range(2)]
    assert weights_of(runs[0]) == weights_of(runs[1])


@pytest.mark.usefixtures("few_shapes", "nets")
@pytest.mark.parametrize("name", RUNS)
def test_a_run_on_the_gpu_is_resumed_bit_for_bit(name, tmp_path):
    from cnnkit.training.runs import recipe_of
    from cnnkit.training.state import read_state

    # Asked after each of the seven steps, and on the images that are measured.
    straight = train(recipe_named(name), tmp_path / "straight")[-1].run
    for call in (1, 2, 5, 7, 8, 12, 31):
        stopped = train(recipe_named(name), tmp_path / str(call), stop=stop_at(call))[-1]
        assert isinstance(stopped, TrainingStopped)
        finished = train(recipe_of(stopped.run), tmp_path, resume=stopped.run)[-1]
        assert isinstance(finished, TrainingFinished)
        found, expected = read_state(finished.run), read_state(straight)
        assert found is not None
        assert expected is not None
        assert [n for n, t in found[0].items() if not torch.equal(t.nan_to_num(), expected[0][n].nan_to_num())] == []
        assert weights_of(finished.run) == weights_of(straight)


@pytest.mark.usefixtures("few_shapes", "nets")
def test_whoever_draws_numbers_on_the_gpu_between_events_changes_nothing(tmp_path):
    from cnnkit.training import loop

    expected = train(recipe_named("dropout"), tmp_path / "straight")[-1].run
    for _ in loop.train_events(recipe_named("dropout"), runs_dir=tmp_path / "noisy", device=GPU):
        torch.rand(3, device=GPU)
        torch.rand(3)
    assert weights_of(tmp_path / "noisy" / expected.name) == weights_of(expected)


@pytest.mark.usefixtures("nets")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_precision_learns_what_is_easy(precision, photos, tmp_path):
    recipe = Recipe(
        model="tinynets:Regular",
        data=str(photos),
        epochs=30,
        batch_size=4,
        precision=precision,
        normalisation="standard",
        ema=0.8,
        clip_norm=1.0,
    )
    finished = train(recipe, tmp_path)[-1]
    assert (finished.validation_accuracy, finished.test_accuracy) == (1.0, 1.0)


@pytest.mark.usefixtures("few_shapes", "nets")
def test_a_run_that_was_begun_on_the_gpu_goes_on_on_the_cpu_with_a_note(tmp_path):
    from cnnkit.progress import Notice
    from cnnkit.training.runs import recipe_of

    run = train(recipe_named("adam"), tmp_path, stop=stop_at(9))[-1].run
    events = train(recipe_of(run), tmp_path, device="cpu", resume=run)
    (note,) = (event.text for event in events if isinstance(event, Notice))
    assert "device cuda → cpu" in note
    assert [record.epoch for record in records_of(events)] == [2, 3, 4]


@pytest.mark.usefixtures("nets")
def test_images_out_of_a_file_reach_the_gpu_as_they_are(tmp_path):
    from cnnkit.data.loaded import Split
    from cnnkit.images import Preprocessing
    from cnnkit.training.loader import BatchLoader

    pixels = np.random.default_rng(0).integers(0, 256, (50, 6, 5, 3), np.uint8)
    mapped = np.memmap(tmp_path / "images", np.uint8, "w+", shape=pixels.shape)
    mapped[:] = pixels
    targets, rows = torch.arange(50) % 4, torch.arange(50)
    form = Preprocessing(3, 6, 5, (0.1, 0.2, 0.3), (0.5, 0.25, 1.0))
    recipe = Recipe(batch_size=8, augmentation="affine", mixup=0.4)
    splits = (Split(torch.from_numpy(mapped), targets, rows), Split(torch.from_numpy(pixels), targets))
    streamed, held = (list(BatchLoader(split, form, 4, recipe, torch.device(GPU)).epoch(1)) for split in splits)
    assert len(streamed) == len(held) == 7
    for (images, shares, together), (others, wanted, total) in zip(streamed, held, strict=True):
        assert images.device.type == shares.device.type == GPU
        assert torch.equal(images, others)
        assert torch.equal(shares, wanted)
        assert together == total


@pytest.mark.usefixtures("few_shapes")
@pytest.mark.parametrize("megabytes", [2, 12])
def test_a_gpu_without_room_is_an_error_with_advice(megabytes, tmp_path):
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + megabytes * 2**20) / total)
    try:
        # 1.2 million weights are 5 MB, their gradients and the optimizer's averages 15 more.
        with expect_error(OutOfMemoryError, "cuda", "batches of 7"):
            train(Recipe(model="dropout-cnn", data="shapes", batch_size=7, epochs=1), tmp_path)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert list(tmp_path.iterdir()) == []
    assert train(Recipe(model="dropout-cnn", data="shapes", batch_size=7, epochs=1), tmp_path)[-1].best_epoch == 1


@pytest.mark.slow
@pytest.mark.usefixtures("few_shapes")
def test_a_compiled_network_trains_on_the_gpu(tmp_path):
    pytest.importorskip("triton")
    compiled, plain = (
        records_of(train(recipe_named("plain", compile=flag), tmp_path / str(flag))) for flag in (True, False)
    )
    assert compiled[-1].train_loss == pytest.approx(plain[-1].train_loss, rel=0.1)
