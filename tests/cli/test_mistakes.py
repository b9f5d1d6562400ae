"""`cnnkit mistakes`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

Cli = Callable[..., Any]
FILES = ["mistakes.html", "mistakes.json", "mistakes.png"]


@pytest.mark.usefixtures("few_shapes")
@pytest.mark.parametrize("kind", ["run", "file"])
def test_tables_and_files_are_written(
    kind: str, tiny_run: Path, tiny_onnx: Path, tmp_path: Path, cli: Cli, stands_alone: Callable[[Path], str]
) -> None:
    ref = {"run": tiny_run, "file": tiny_onnx}[kind]
    result = cli("mistakes", ref, "-o", tmp_path / "out", "--device", "cpu")
    assert result.exit_code == 0
    flat = " ".join(result.stdout.split())
    assert " of 30 images wrong" in flat
    assert "Confident and wrong" in flat
    assert "Most confused" in flat
    assert [line for line in result.stderr.splitlines() if line] == [
        str(tmp_path / "out" / name) for name in ("mistakes.html", "mistakes.png", "mistakes.json")
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES
    with Image.open(tmp_path / "out" / "mistakes.png") as sheet:
        assert sheet.size[0] > 112
    text = stands_alone(tmp_path / "out" / "mistakes.html")
    by = {"run": "the input of the layer", "file": "the logits"}[kind]
    assert f"whose features, {by}" in text


@pytest.mark.usefixtures("few_shapes")
def test_json_is_what_the_file_holds(tiny_run: Path, tmp_path: Path, cli: Cli) -> None:
    result = cli("mistakes", tiny_run, "-o", tmp_path, "--top", "3", "--json", "--device", "cpu")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found == json.loads((tmp_path / "mistakes.json").read_text("utf-8"))
    data = found["data"]
    assert set(data) == {
        "model", "data", "split", "engine", "images", "seen", "wrong", "accuracy", "worst", "confused", "candidates",
        "mislabelled", "training_images", "nearest_by", "no_nearest_because", "versions", "seconds", "exposure",
        "duplicates", "warnings", "assumptions",
    }  # fmt: skip
    assert len(data["worst"]) == 3
    assert set(data["worst"][0]) == {"source", "label", "predicted", "probability", "label_probability", "nearest"}


def test_a_network_without_mistakes_is_no_error(photos_run: Path, tmp_path: Path, cli: Cli) -> None:
    result = cli("mistakes", photos_run, "-o", tmp_path, "--split", "all")
    assert result.exit_code == 0
    assert "no mistake in 20 images" in " ".join(result.stdout.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES


@pytest.mark.parametrize("which", ["run", "file", "checkpoint"])
def test_the_folder_is_named_after_the_network(
    which: str,
    photos_run: Path,
    photos_onnx: Path,
    tmp_path: Path,
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    ref = {"run": photos_run, "file": photos_onnx, "checkpoint": photos_run / "best.safetensors"}[which]
    assert cli("mistakes", ref).exit_code == 0
    expected = {"run": photos_run.name, "file": "photos", "checkpoint": photos_run.name}[which]
    assert [path.name for path in tmp_path.iterdir()] == [f"mistakes-{expected}"]


def test_a_folder_that_cannot_be_written_is_found_before_the_work(
    photos_run: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cnnkit.data import loaded as data

    monkeypatch.setattr(data, "load", lambda *_, **__: pytest.fail("the images were loaded"))
    (tmp_path / "file").touch()
    result = cli("mistakes", photos_run, "-o", tmp_path / "file")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error: cannot write into {tmp_path / 'file'}")


def test_classes_that_do_not_match_are_named(tiny_onnx: Path, photos: Path, tmp_path: Path, cli: Cli) -> None:
    result = cli("mistakes", tiny_onnx, "--data", photos, "-o", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (1, "")
    assert (
        "photos has 2 classes that the network does not know: dark and light. It knows circles, squares and triangles."
        in result.stderr
    )
    assert not (tmp_path / "out").exists()


def test_images_without_labels_are_an_error(photos_run: Path, photos: Path, tmp_path: Path, cli: Cli) -> None:
    result = cli("mistakes", photos_run, "--data", photos / "dark", "-o", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "has no class folders with images; expected at least one folder a class" in " ".join(result.stderr.split())


def test_an_option_for_foreign_files_is_not_ignored(tmp_path: Path, cli: Cli) -> None:
    result = cli("mistakes", "shapes-cnn", "--data", "shapes", "--preprocess", "imagenet", "-o", tmp_path)
    assert result.exit_code == 2
    assert "knows its input, labels and scores; leave out" in " ".join(result.stderr.split())


def test_a_network_without_weights_says_how_to_get_them(no_zoo: Path, tmp_path: Path, cli: Cli) -> None:
    result = cli("mistakes", "lenet", "-o", tmp_path)
    assert result.exit_code == 1
    assert "cnnkit train lenet" in result.stderr
