"""What needs an NVIDIA GPU; elsewhere these are skipped, and say so."""

import numpy as np
import pytest
import torch

import cnnkit
from cnnkit.results import TrainingStarted

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU that PyTorch can use"),
]


def test_training_runs_on_the_gpu_and_its_checkpoint_on_the_cpu(tmp_path):
    from cnnkit.api import train_events

    recipe = cnnkit.default_recipe("shapes-cnn", epochs=2)
    started, *_, finished = (
        e for e in train_events(recipe, runs_dir=tmp_path, device="cuda") if not hasattr(e, "total")
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
    # TF32 keeps ten bits of the mantissa.
    np.testing.assert_allclose(gpu.network.logits(pixels), cpu.network.logits(pixels), rtol=0.02, atol=0.05)
