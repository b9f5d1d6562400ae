"""What a model reference means, and what each kind of it can do."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from torch import nn

from cnnkit import sources
from cnnkit.errors import CheckpointError, UnknownNameError, UsageError
from cnnkit.sources import find

if TYPE_CHECKING:
    from typer.testing import Result

WEIGHTS = "best.safetensors"
TRAINABLE = {"lenet", "alexnet", "torchvision/resnet18", "mypackage.nets:MyNet"}


@pytest.fixture
def here(tmp_path, monkeypatch, zoo_at):
    """Change into a folder with a run, a checkpoint, ONNX files, and a folder called like a network; one zoo entry."""
    for path in (
        "runs/lenet-1/best.safetensors",
        "m.safetensors",
        "m.onnx",
        "M.ONNX",
        "old.pt",
        "notes.txt",
        "seven.png",
        "lenet/best.safetensors",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    (tmp_path / "empty").mkdir()
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "index.json").write_text(
        '{"entries": [{"name": "lenet-mnist", "model": "lenet", "dataset": "mnist", "accuracy": 0.9, "files": {}}]}'
    )
    zoo_at(tmp_path / "zoo")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "name", "path", "trained"),
    [
        ("lenet", "lenet-mnist", None, True),
        ("alexnet", "alexnet", None, False),
        ("lenet-mnist", "lenet-mnist", None, True),
        ("runs/lenet-1", "runs/lenet-1", f"runs/lenet-1/{WEIGHTS}", True),
        ("runs/lenet-1/", "runs/lenet-1/", f"runs/lenet-1/{WEIGHTS}", True),
        ("./lenet", "./lenet", f"lenet/{WEIGHTS}", True),
        (f"runs/lenet-1/{WEIGHTS}", f"runs/lenet-1/{WEIGHTS}", f"runs/lenet-1/{WEIGHTS}", True),
        ("m.safetensors", "m.safetensors", "m.safetensors", True),
        ("m.onnx", "m.onnx", "m.onnx", True),
        ("M.ONNX", "M.ONNX", "M.ONNX", True),
        ("torchvision/resnet18", "torchvision/resnet18", None, False),
        ("mypackage.nets:MyNet", "mypackage.nets:MyNet", None, False),
    ],
)
@pytest.mark.usefixtures("here")
def test_a_reference_is_understood(text, name, path, trained):
    found = find(text)
    assert (found.text, found.name, found.trained) == (text, name, trained)
    assert (found.path and found.path.as_posix()) == path
    assert found.trainable is (text in TRAINABLE)
    assert found.has_layers is (not text.lower().endswith(".onnx"))
    assert found.runs_code is (":" in text)
    assert (found.run and found.run.name) == (
        Path(text).name if text in {"runs/lenet-1", "runs/lenet-1/", "./lenet"} else None
    )
    assert sources.is_model(text) is (text != "lenet" and ":" not in text), "other files may have these names"


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("nowhere.onnx", CheckpointError, r"there is no file nowhere\.onnx"),
        ("runs/best.safetensors", CheckpointError, "there is no file"),
        ("empty", CheckpointError, r"empty is a folder without a best\.safetensors"),
        ("old.pt", CheckpointError, "a pickle.*Use safetensors or ONNX"),
        ("gone.PTH", CheckpointError, "a pickle"),
        ("lenett", UnknownNameError, "no model 'lenett'. Did you mean lenet"),
        ("lenet-mnst", UnknownNameError, "Did you mean lenet-mnist"),
        ("zzzz", UnknownNameError, r"Known: alexnet, .*lenet-mnist.* Expected a name that cnnkit models lists, a run"),
        ("n.onnx", CheckpointError, r"there is no file n\.onnx\. Did you mean .*\bm\.onnx"),
        ("runs/lenet-2", UnknownNameError, r"no file or folder .*Did you mean runs.lenet-1\?"),
        ("gone/lenet", UnknownNameError, "no file or folder 'gone/lenet'. Expected a name"),
        ("notes.txt", CheckpointError, r"notes\.txt is no model\. Expected"),
        ("seven.png", UsageError, r"seven\.png is an image, .*: cnnkit predict seven\.png"),
        ("", UnknownNameError, "Expected a name"),
        (7, UsageError, "a int is no model"),
        ("x" * 5000, CheckpointError, "cannot look for 'xxx"),
    ],
)
@pytest.mark.usefixtures("here")
def test_what_cannot_be_understood_is_refused_with_what_would_do(text, error, said):
    with pytest.raises(error, match=said):
        find(text)
    if text:
        assert sources.is_model(str(text)) is str(text).endswith((".onnx", ".safetensors"))


def test_finding_imports_no_torch():
    code = (
        "import sys; from cnnkit.sources import find, offered; "
        "[find(text) for text in ('lenet', 'lenet-mnist', 'torchvision/resnet18', 'a:b')]; list(offered()); "
        "print([m for m in ('torch', 'torchvision', 'onnxruntime', 'numpy', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"


# Each kind through the protocol.


@pytest.fixture
def kinds(tiny_run: Path, tiny_onnx: Path, nets: None) -> dict[str, str]:
    return {
        "registered": "shapes-cnn",
        "without weights": "alexnet",
        "zoo": "shapes-cnn-basicshapes",
        "run": str(tiny_run),
        "checkpoint": str(tiny_run / WEIGHTS),
        "onnx": str(tiny_onnx),
        "torchvision": "torchvision/squeezenet1_1",
        "factory": "tinynets:Regular",
    }


SHAPES = {"without weights": (1, 224, 224), "onnx": None, "torchvision": (3, 224, 224), "factory": (3, 8, 8)}


@pytest.mark.parametrize(
    "kind", ["registered", "without weights", "zoo", "run", "checkpoint", "onnx", "torchvision", "factory"]
)
def test_every_kind_says_its_input_and_gives_its_network(kind: str, kinds: dict[str, str]) -> None:
    source = find(kinds[kind])
    assert source.input_shape() == SHAPES.get(kind, (3, 28, 28))
    if source.trainable:
        network = source.create(4, source.input_shape())
        assert isinstance(network, nn.Module)
        assert source.takes_shape() is (kind in {"registered", "without weights"})
    else:
        with pytest.raises((UsageError, CheckpointError)):
            source.create()
    if source.has_layers:
        parts = source.skeleton(source.input_shape()).state_dict()
        assert parts.keys() == source.network(source.input_shape()).state_dict().keys()
        assert source.preprocessing((3, 30, 40)).shape == (30, 40, 3)


@pytest.mark.parametrize("kind", ["registered", "zoo", "run", "checkpoint"])
def test_trained_weights_come_with_the_card_that_is_read_alone(kind: str, kinds: dict[str, str]) -> None:
    source = find(kinds[kind])
    network, card = source.weights()
    assert card == source.card()
    assert not network.training
    assert source.open(torch=True, device="cpu").engine == "PyTorch CPU"


@pytest.mark.parametrize("kind", ["registered", "zoo", "onnx"])
def test_what_has_an_onnx_file_is_opened_by_it(kind: str, kinds: dict[str, str]) -> None:
    source = find(kinds[kind])
    assert source.require_exported() == source.exported()
    assert source.open(device="cpu").engine == "onnxruntime CPU"


NO_FILE = ["alexnet", "torchvision/resnet18", "tinynets:Regular", "run"]


@pytest.mark.parametrize("command", [("serve",), ("verify",)])
@pytest.mark.parametrize("ref", NO_FILE)
def test_what_needs_an_onnx_file_ends_alike_for_all_kinds(
    command: tuple[str, ...], ref: str, kinds: dict[str, str], cli: "Callable[..., Result]"
) -> None:
    text = kinds.get(ref, ref)
    done = cli(*command, text)
    assert (done.exit_code, done.stdout) == (1, "")
    assert text in done.stderr
    assert ("cnnkit export" if ref == "run" else "cnnkit train") in done.stderr


@pytest.mark.parametrize("command", ["evaluate", "attack", "report", "mistakes"])
@pytest.mark.parametrize("ref", ["alexnet", "tinynets:Regular"])
def test_what_needs_weights_ends_alike_for_all_kinds(
    command: str, ref: str, kinds: dict[str, str], cli: "Callable[..., Result]", tmp_path: Path
) -> None:
    options = ["-o", tmp_path / "x.html"] if command == "report" else []
    done = cli(command, ref, *options)
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"{ref} has no trained weights. Train it first: cnnkit train {ref}" in " ".join(done.stderr.split())


def test_other_weights_of_torchvision_are_named_after_an_at_sign() -> None:
    usual, other = find("torchvision/vit_b_16"), find("torchvision/vit_b_16@IMAGENET1K_SWAG_E2E_V1")
    assert (usual.input_shape(), other.input_shape()) == ((3, 224, 224), (3, 384, 384))
    assert other.preprocessing((3, 384, 384)).interpolation == "bicubic"
    with pytest.raises(UnknownNameError, match="Did you mean IMAGENET1K_V1"):
        find("torchvision/resnet18@IMAGENET1K_V9").input_shape()


@pytest.mark.parametrize("ref", ["lenet", "alexnet", "torchvision/resnet18", "run"])
def test_only_what_has_no_card_can_be_described(ref: str, kinds: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="leave out --labels"):
        find(kinds.get(ref, ref), labels=["a", "b"])
