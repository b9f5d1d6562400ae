"""`cnnkit predict` with models of other people, and with a zoo that is damaged."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from cnnkit.card import CARD_KEY

Cli = Callable[..., Any]


@pytest.fixture(scope="session")
def foreign(photos_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of somebody else's: float32 [N, 1, 28, 28], no card."""
    import cnnkit

    path = cnnkit.export(photos_run, tmp_path_factory.mktemp("foreign") / "foreign.onnx", raw_input=True).path
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def statistics(photos_run: Path) -> tuple[str, str]:
    """Mean and deviation that the network of `photos_run` was trained with, as options."""
    from cnnkit.sources import find

    form = find(str(photos_run)).weights()[1].preprocessing
    return f"--mean={form.mean[0]}", f"--std={form.std[0]}"


def test_a_foreign_file_is_used_and_what_was_assumed_is_said(
    foreign: Path, statistics: tuple[str, str], photos: Path, cli: Cli
) -> None:
    result = cli("predict", photos / "light" / "00.png", "-m", foreign, *statistics)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[3].split()[0] == "1"
    for part in (
        "assumed: input image: float32 [batch, 1, 28, 28], layout NCHW",
        "assumed: no labels given: classes are numbered",
        "assumed: output logits: logits of 2 classes",
    ):
        assert part in result.stdout


def test_labels_name_the_classes_of_a_foreign_file(
    foreign: Path, statistics: tuple[str, str], photos: Path, tmp_path: Path, cli: Cli
) -> None:
    (tmp_path / "labels.txt").write_text("night\n\nday\n", "utf-8")
    options = ("-m", foreign, *statistics, "--labels", tmp_path / "labels.txt", "--json")
    found = json.loads(cli("predict", photos / "light" / "00.png", photos / "dark" / "00.png", *options).stdout)
    assert [p["scores"][0]["label"] for p in found["data"]["predictions"]] == ["day", "night"]
    assert not any("numbered" in assumption for assumption in found["data"]["assumptions"])


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--mean=0.5,0.5,0.5"], 2, "--mean needs 1 value, one for each channel; got 3"),
        (["--std=0"], 2, "--std must be positive"),
        (["--preprocess=imagenet"], 2, "--preprocess imagenet is for 3 channels; this network has 1"),
        (["--labels=absent.txt"], 1, "cannot read the labels in absent.txt"),
        (["--labels=three.txt"], 1, "three.txt has 3 labels; "),
    ],
)
def test_options_that_do_not_fit_a_foreign_file_are_said(
    options: list[str],
    code: int,
    message: str,
    foreign: Path,
    photos: Path,
    tmp_path: Path,
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "three.txt").write_text("a\nb\nc\n")
    monkeypatch.chdir(tmp_path)
    result = cli("predict", photos / "dark" / "00.png", "-m", foreign, *options)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "not an ONNX file"), (b"noise" * 100, "not an ONNX file"), (None, "there is no file net.onnx")],
)
def test_a_file_that_is_no_network_is_an_error(
    content: bytes | None, message: str, photos: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "net.onnx").write_bytes(content)
    result = cli("predict", photos / "dark" / "00.png", "-m", "net.onnx")
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr


def test_a_card_that_does_not_match_its_file_is_refused(
    photos_onnx: Path, photos: Path, tmp_path: Path, cli: Cli
) -> None:
    model = onnx.load(photos_onnx)
    (entry,) = (prop for prop in model.metadata_props if prop.key == CARD_KEY)
    entry.value = entry.value.replace('["dark","light"]', '["dark","light","other"]')
    onnx.save(model, tmp_path / "net.onnx")
    result = cli("predict", photos / "dark" / "00.png", "-m", tmp_path / "net.onnx")
    assert result.exit_code == 1
    assert "does not match its model card" in result.stderr


@pytest.fixture
def zoo(photos_onnx: Path, zoo_at: Callable[[Path], Path], tmp_path: Path) -> Path:
    """A zoo of one entry, `digits`, that is really the network of the photographs."""
    content = photos_onnx.read_bytes()
    entry = {
        "name": "digits",
        "model": "softmax-regression",
        "dataset": "photos",
        "accuracy": 1.0,
        "files": {"model.onnx": hashlib.sha256(content).hexdigest()},
    }
    (tmp_path / "zoo" / "digits").mkdir(parents=True)
    (tmp_path / "zoo" / "digits" / "model.onnx").write_bytes(content)
    (tmp_path / "zoo" / "index.json").write_text(json.dumps({"entries": [entry]}))
    return zoo_at(tmp_path / "zoo")


@pytest.mark.usefixtures("zoo")
@pytest.mark.parametrize("options", [[], ["-m", "digits"], ["-m", "softmax-regression"]])
def test_the_zoos_digits_are_the_default(options: list[str], photos: Path, cli: Cli) -> None:
    result = cli("predict", photos / "dark" / "00.png", *options)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1].startswith("model digits, onnxruntime")


def test_a_damaged_zoo_file_is_refused(zoo: Path, photos: Path, cli: Cli) -> None:
    path = zoo / "digits" / "model.onnx"
    path.write_bytes(path.read_bytes() + b"\0")
    result = cli("predict", photos / "dark" / "00.png")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"error: {path} is damaged: its SHA-256 is not that of the index. Reinstall cnnkit.\n"


def test_an_absent_zoo_file_is_an_error(zoo: Path, photos: Path, cli: Cli) -> None:
    (zoo / "digits" / "model.onnx").unlink()
    result = cli("predict", photos / "dark" / "00.png", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["errors"][0]["code"] == "zoo"


@pytest.mark.usefixtures("zoo")
def test_an_unknown_model_gets_the_close_ones(photos: Path, cli: Cli) -> None:
    result = cli("predict", photos / "dark" / "00.png", "-m", "digit")
    assert result.exit_code == 1
    assert "there is no model 'digit'. Did you mean digits" in result.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_never_becomes_a_cpu(
    photos_onnx: Path, photos_run: Path, photos: Path, cli: Cli
) -> None:
    for ref in (photos_onnx, photos_run):
        result = cli("predict", photos / "dark" / "00.png", "-m", ref, "--device", "cuda")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "error: --device cuda: " in result.stderr
