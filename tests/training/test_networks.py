"""Networks by name, and checkpoints: what is written comes back, and nothing else does."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from cnnkit.card import CARD_KEY, ModelCard
from cnnkit.errors import CheckpointError, DeviceError, OutputError, UnknownNameError, UsageError
from cnnkit.images import Preprocessing
from cnnkit.training import building, networks

LABELS = tuple("0123456789")
CARD = ModelCard(
    model="mlp", labels=LABELS, preprocessing=Preprocessing(1, 28, 28, (0.1,), (0.5,)), dataset="mnist", trained=True
)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "mlp.safetensors"
    networks.save_checkpoint(path, networks.create_model("mlp"), CARD)
    return path


@pytest.mark.usefixtures("nets")
@pytest.mark.parametrize(
    ("name", "classes", "expected"),
    [
        ("lenet", None, 61_706),
        ("lenet", 3, 61_706 - 7 * 85),
        ("torchvision/squeezenet1_1", None, 1_235_496),
        ("torchvision/squeezenet1_1", 10, 1_235_496 - 990 * 513),
        ("tinynets:Linear", None, 2 * 193),
        ("tinynets:silent", 7, 7 * 193),
        ("tinynets:anything", 4, 4 * 193),
        ("tinynets:fixed", 3, 5 * 193),  # it takes no number of classes, so it keeps its own
    ],
)
def test_a_network_is_built_with_the_classes_asked_for(name: str, classes: int | None, expected: int) -> None:
    assert parameters(networks.create_model(name, classes)) == expected


@pytest.mark.usefixtures("nets")
@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("tinynets:text", UsageError, "tinynets:text returned str; expected an nn.Module"),
        ("tinynets:absent", UsageError, "cannot import 'tinynets:absent'"),
        ("tinynets:NOT_CALLABLE", UsageError, "is not callable"),
        ("nosuchpackage.nets:Net", UsageError, "No module named 'nosuchpackage'"),
        ("torchvision/resnet81", UnknownNameError, "Did you mean .*resnet18"),
        ("torchvision/fasterrcnn_resnet50_fpn", UnknownNameError, "no torchvision classification model"),
        ("lenett", UnknownNameError, "Did you mean lenet"),
    ],
)
def test_what_cannot_be_built_is_said(name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        networks.create_model(name)


@pytest.mark.usefixtures("nets")
@pytest.mark.parametrize("name", ["tinynets:Needy", "tinynets:failing"])
def test_a_factory_that_breaks_is_the_users_error(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        networks.create_model(name)


def test_a_checkpoint_is_not_a_network_to_build(checkpoint: Path) -> None:
    with pytest.raises(UsageError, match="names trained weights"):
        networks.create_model(str(checkpoint))


@pytest.mark.usefixtures("nets")
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("alexnet", (1, 224, 224)),
        ("torchvision/resnet18", (3, 224, 224)),
        ("torchvision/inception_v3", (3, 299, 299)),
        ("torchvision/efficientnet_b7", (3, 600, 600)),
        ("tinynets:Linear", (3, 8, 8)),
        ("tinynets:silent", None),
    ],
)
def test_the_input_is_the_networks_own(name: str, shape: tuple[int, int, int] | None) -> None:
    assert building.input_shape(name) == shape


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_heads_are_left_out(name: str) -> None:
    network = networks.create_model(f"torchvision/{name}", 2)
    assert not [part for part, _ in network.named_parameters() if part.lower().startswith("aux")]


@pytest.mark.parametrize("name", ["mlp", "digit-cnn"])  # the second has integer buffers
def test_weights_and_card_come_back(name: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = networks.create_model(name).to(memory_format=torch.channels_last)
    card = networks.save_checkpoint(tmp_path / "a.safetensors", network, replace(CARD, model=name))
    loaded, found = networks.load_checkpoint(tmp_path / "a.safetensors", "a")
    assert found == card
    assert not loaded.training
    assert (
        card.weights_sha256 == networks.weights_hash(loaded.state_dict()) == networks.weights_hash(network.state_dict())
    )
    assert all(torch.equal(loaded.state_dict()[key], value) for key, value in network.state_dict().items())


@pytest.mark.usefixtures("nets")
def test_tied_weights_come_back(tmp_path: Path) -> None:
    card = replace(CARD, model="tinynets:Tied", labels=("a", "b"))
    network = networks.create_model("tinynets:Tied", 2)
    networks.save_checkpoint(tmp_path / "a.safetensors", network, card)
    loaded, _ = networks.load_checkpoint(tmp_path / "a.safetensors", "a", trust_code=True)
    assert torch.equal(loaded.state_dict()["again.weight"], network.state_dict()["fc.weight"])


def test_the_hash_sees_names_types_shapes_and_values_but_not_the_order() -> None:
    state = {"a": torch.zeros(2, 3), "b": torch.ones(4)}
    same = {"b": torch.ones(4), "a": torch.zeros(3, 2).t()}
    others = [
        {"a": torch.zeros(2, 3), "c": torch.ones(4)},
        {"a": torch.zeros(3, 2), "b": torch.ones(4)},
        {"a": torch.zeros(2, 3, dtype=torch.int32), "b": torch.ones(4)},
        {"a": torch.zeros(2, 3), "b": torch.tensor([1.0, 1.0, 1.0, 1.0000001])},
    ]
    assert networks.weights_hash(same) == networks.weights_hash(state)
    assert networks.weights_hash(state) not in {networks.weights_hash(other) for other in others}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "is damaged: its weights are not those"),
        (lambda data: data[: len(data) // 2], "not a whole safetensors file"),
        (lambda data: data + b"\0", "not a whole safetensors file"),
        (lambda _: b"", "not a whole safetensors file"),
        (lambda _: b"\x80\x04K\x01.", "not a whole safetensors file"),
        (lambda _: b"\xff" * 64, "not a whole safetensors file"),
    ],
    ids=["one bit", "truncated", "prolonged", "empty", "pickle", "noise"],
)
def test_damaged_bytes_are_refused(checkpoint: Path, damage, message: str) -> None:
    checkpoint.write_bytes(damage(checkpoint.read_bytes()))
    with pytest.raises(CheckpointError, match=f"mlp.safetensors.*{message}"):
        networks.load_checkpoint(checkpoint, checkpoint.name)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "has no model card"),
        ({"format": "pt"}, "has no model card"),
        ({CARD_KEY: "{}"}, "the model card in x is not valid"),
        ({CARD_KEY: "not json"}, "the model card in x is not valid"),
    ],
)
def test_a_card_is_required(metadata: dict[str, str] | None, message: str) -> None:
    data = safetensors.torch.save({"weight": torch.zeros(2)}, metadata)
    with pytest.raises(CheckpointError, match=message):
        networks.load_checkpoint(data, "x")


@pytest.mark.usefixtures("nets")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "lenet"}, "does not fit the network 'lenet'"),
        ({"labels": ("a", "b")}, "does not fit the network 'mlp'.*size mismatch"),
        ({"model": "mlp2"}, "holds weights of 'mlp2', which cannot be built here"),
        ({"model": "torchvision/nosuch"}, "cannot be built here"),
        ({"model": "nosuchpackage:Net"}, "cannot be built here"),
        ({"model": "tinynets:text"}, "cannot be built here"),
    ],
)
def test_weights_of_another_network_are_refused(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    networks.save_checkpoint(path, networks.create_model("mlp"), replace(CARD, **changes))
    with pytest.raises(CheckpointError, match=message):
        networks.load_checkpoint(path, "a", trust_code=True)


@pytest.mark.usefixtures("nets")
@pytest.mark.parametrize("named", ["tinynets:Linear", "torch:os.abort", "os:abort"])
def test_code_that_a_card_names_is_not_imported_unasked(named: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    networks.save_checkpoint(path, networks.create_model("mlp"), replace(CARD, model=named))
    with pytest.raises(CheckpointError, match=f"names code to import as its network, '{named}'.*--trust-code"):
        networks.load_checkpoint(path, "a")


@pytest.mark.parametrize("name", ["absent.safetensors", ""], ids=["absent", "folder"])
def test_an_unreadable_file_is_said(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        networks.load_checkpoint(tmp_path / name, "it")


def test_a_checkpoint_that_cannot_be_written_leaves_the_older_one(checkpoint: Path) -> None:
    before = checkpoint.read_bytes()
    with pytest.raises(OutputError):
        networks.save_checkpoint(checkpoint / "below" / "a.safetensors", networks.create_model("mlp"), CARD)
    assert checkpoint.read_bytes() == before
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


@pytest.mark.usefixtures("no_zoo")
def test_an_architecture_without_entry_says_how_to_train_it() -> None:
    with pytest.raises(CheckpointError, match="Train it first: cnnkit train lenet"):
        networks.load_network("lenet")


def test_an_onnx_file_has_no_pytorch_weights(tiny_onnx: Path) -> None:
    with pytest.raises(CheckpointError, match="has no PyTorch weights"):
        networks.load_network(str(tiny_onnx))


def test_a_run_folder_and_its_checkpoint_are_the_same_network(tiny_run: Path) -> None:
    (_, one), (_, other) = (networks.load_network(str(ref)) for ref in (tiny_run, tiny_run / "best.safetensors"))
    assert one == other
    assert one.weights_sha256


def test_a_torch_network_normalises_as_its_card_says() -> None:
    network = networks.create_model("mlp").eval()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), np.uint8)
    found = networks.TorchNetwork(network, CARD, "cpu").logits(pixels)
    expected = network(torch.from_numpy(((pixels / 255 - 0.1) / 0.5).astype(np.float32)).permute(0, 3, 1, 2))
    assert found.dtype == np.float32
    assert found.shape == (3, 10)
    np.testing.assert_allclose(found, expected.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("wanted", ["gpu", "cuda:x", "cuda:-1", "mps", "", "CPU", "auto:1"])
def test_a_device_that_nobody_makes_is_wrong_usage(wanted: str) -> None:
    with pytest.raises(UsageError, match="expected auto, cpu, cuda or cuda:N"):
        networks.choose_device(wanted)


@pytest.mark.parametrize("wanted", ["cuda", "cuda:0", "cuda:99"])
def test_cuda_that_is_not_there_is_an_error_and_never_the_cpu(wanted: str) -> None:
    if torch.cuda.is_available() and wanted != "cuda:99":
        assert networks.choose_device(wanted).type == "cuda"
        return
    with pytest.raises(DeviceError, match=f"--device {wanted}: "):
        networks.choose_device(wanted)


def test_auto_takes_what_is_there() -> None:
    assert networks.choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert networks.choose_device("cpu").type == "cpu"
