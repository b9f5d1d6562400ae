"""`cnnkit predict`: files, folders, globs and standard input, good images and bad ones."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

Cli = Callable[..., Any]


@pytest.fixture
def predict(cli: Cli, photos_onnx: Path) -> Cli:
    """Predict with the network that tells dark photographs from light ones."""

    def run(*arguments: object, input: bytes | None = None) -> Any:
        return cli("predict", *arguments, "--model", photos_onnx, "--device", "cpu", input=input)

    return run


def labels(result: Any) -> list[str]:
    return [found["scores"][0]["label"] for found in json.loads(result.stdout)["data"]["predictions"]]


def test_one_image_gets_a_table_with_bars_and_the_model_is_named(predict: Cli, photos: Path, photos_onnx: Path) -> None:
    result = predict(photos / "dark" / "00.png")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == str(photos / "dark" / "00.png")
    assert lines[1].split() == ["class", "probability"]
    assert lines[3].split()[0] == "dark"
    assert "█" in lines[3]
    assert lines[4].split()[0] == "light"
    assert "seen as: colour to grey; contain from 12×10 to 28×28" in result.stdout
    assert lines[-1] == f"model {photos_onnx}, onnxruntime CPU"


def test_json_has_every_score_and_step(predict: Cli, photos: Path, photos_onnx: Path) -> None:
    result = predict(photos / "light" / "00.png", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, result.stderr, found["status"], found["errors"]) == (0, "", "ok", [])
    assert set(found["data"]) == {"model", "engine", "assumptions", "predictions"}
    assert (found["data"]["model"], found["data"]["assumptions"]) == (str(photos_onnx), [])
    (prediction,) = found["data"]["predictions"]
    assert set(prediction) == {"source", "scores", "steps", "warnings", "independent"}
    assert [score["label"] for score in prediction["scores"]] == ["light", "dark"]
    assert sum(score["probability"] for score in prediction["scores"]) == pytest.approx(1)


def test_folders_and_files_come_in_order(predict: Cli, photos: Path) -> None:
    result = predict(photos / "light" / "03.png", photos / "dark", "--json")
    assert result.exit_code == 0
    assert labels(result) == ["light"] + ["dark"] * 10
    sources = [Path(p["source"]).name for p in json.loads(result.stdout)["data"]["predictions"]]
    assert sources == ["03.png", *(f"{index:02}.png" for index in range(10))]


def test_a_folder_is_searched_to_the_bottom(predict: Cli, photos: Path) -> None:
    assert labels(predict(photos, "--json")) == ["dark"] * 10 + ["light"] * 10


def test_what_a_folder_holds_and_cannot_be_read_is_said(predict: Cli, own_photos: Path) -> None:
    (own_photos / "dark" / "phone.heic").write_bytes(b"x")
    (own_photos / "light" / "gone.png").symlink_to("nowhere.png")
    (own_photos / "light" / "notes.txt").write_text("beside them")
    shutil.copytree(own_photos / "dark", own_photos / "__MACOSX")
    shutil.copytree(own_photos / "dark", own_photos / ".thumbnails")
    result = predict(own_photos, "--json")
    assert labels(result) == ["dark"] * 10 + ["light"] * 10
    assert f"{own_photos}: 3 files are left out: 1 broken link, 1 .heic and 1 .txt, such as" in result.stderr
    assert "onvert" in result.stderr
    (own_photos / "only").mkdir()
    (own_photos / "dark" / "phone.heic").rename(own_photos / "only" / "phone.heic")
    result = predict(own_photos / "only")
    assert result.exit_code == 1
    assert "; 1 .heic file is left out: phone.heic" in result.stderr
    assert "onvert" in result.stderr


@pytest.mark.parametrize("pattern", ["*/0[12].png", "dark/0?.png", "**/05.png"])
@pytest.mark.parametrize("absolute", [False, True])
def test_a_quoted_glob_is_opened(
    pattern: str, absolute: bool, predict: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    expected = sorted(photos.glob(pattern))
    result = predict(photos / pattern if absolute else pattern, "--json")
    assert labels(result) == [path.parent.name for path in expected]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(predict: Cli, photos: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "dark" / "00.png", tmp_path / "a[1].png")
    assert labels(predict(tmp_path / "a[1].png", "--json")) == ["dark"]


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF"])
def test_standard_input_is_an_image(format: str, predict: Cli, photos: Path) -> None:
    content = io.BytesIO()
    with Image.open(photos / "light" / "00.png") as image:
        image.save(content, format)
    result = predict("-", "--json", input=content.getvalue())
    assert (result.exit_code, labels(result)) == (0, ["light"])


def test_many_images_get_a_row_each(predict: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    result = predict("dark", "light", "--batch-size", 3)
    lines = result.stdout.splitlines()
    assert lines[0] == "20 images"
    assert [line.split()[1] for line in lines[3:23]] == ["dark"] * 10 + ["light"] * 10
    assert lines[3].startswith(str(Path("dark") / "00.png"))


@pytest.mark.parametrize(("top", "count"), [(1, 1), (2, 2), (9, 2)])
def test_top_says_how_many_classes(top: int, count: int, predict: Cli, photos: Path) -> None:
    found = json.loads(predict(photos / "dark" / "00.png", "--top", top, "--json").stdout)
    assert len(found["data"]["predictions"][0]["scores"]) == count


def noise(path: Path) -> str:
    path.write_bytes(b"this is no image")
    return "is not an image in one of the formats PNG"


def half(path: Path) -> str:
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)).save(content, "PNG")
    path.write_bytes(content.getvalue()[:2000])
    return "is damaged"


def nothing(path: Path) -> str:
    path.write_bytes(b"")
    return "is empty"


def huge(path: Path) -> str:
    Image.new("1", (10_000, 6_000)).save(path)
    return "has 60,000,000 pixels, more than 50,000,000"


def absent(path: Path) -> str:
    return f"cannot read {path}"


@pytest.mark.parametrize("make", [noise, half, nothing, huge, absent])
def test_a_bad_image_is_named_and_the_others_go_on(
    make: Callable[[Path], str], predict: Cli, photos: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.png"
    message = make(bad)
    images = (photos / "dark" / "00.png", bad, photos / "light" / "00.png")
    result = predict(*images)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert str(bad) in result.stderr
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert "00.png" in result.stdout
    as_json = predict(*images, "--json")
    found = json.loads(as_json.stdout)
    assert (as_json.exit_code, as_json.stderr, found["status"]) == (1, "", "error")
    assert labels(as_json) == ["dark", "light"]
    assert len(found["errors"]) == 1
    assert found["errors"][0]["code"] in {"image", "image-format", "image-too-large"}
    assert str(bad) in found["errors"][0]["message"]


def test_nothing_but_bad_images_is_an_error(predict: Cli, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        noise(tmp_path / name)
    result = predict(tmp_path)
    assert result.exit_code == 1
    assert result.stderr.count("error: ") == 2


@pytest.mark.parametrize(
    ("argument", "message"),
    [("empty", "the folder empty has no images"), ("*.jpeg", "nothing matches *.jpeg"), ("-", "the image is empty")],
)
def test_no_image_at_all_is_an_error(
    argument: str, message: str, predict: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    result = predict(argument, input=b"")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert message in result.stderr


def test_a_run_predicts_as_its_file_does(cli: Cli, photos: Path, photos_run: Path, photos_onnx: Path) -> None:
    found = [
        json.loads(cli("predict", photos, "-m", ref, "--json").stdout)["data"] for ref in (photos_run, photos_onnx)
    ]
    assert found[0]["engine"] == "PyTorch CPU"
    for one, other in zip(*(data["predictions"] for data in found), strict=True):
        assert one["scores"][0]["label"] == other["scores"][0]["label"]
        assert one["scores"][0]["probability"] == pytest.approx(other["scores"][0]["probability"], abs=1e-5)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--top", "0"], 2, "0 is not a whole number"),
        (["--batch-size", "0"], 2, "0 is not a whole number"),
        (["--preprocess", "imgnet"], 2, "'imgnet' is not one of imagenet, mnist"),
        (["--mean", "a,b"], 2, "--mean 'a,b': expected numbers separated by commas"),
        (["--std", ""], 2, "--std ''"),
        (["--mean", "0.5"], 2, "carries a model card that says its labels and preprocessing"),
        (["--device", "tpu"], 2, "there is no device 'tpu'; expected auto, cpu, cuda or cuda:N"),
        (["--engine", "spark"], 2, "'spark' is not one of local, ray"),
        (["--workers", "2"], 2, "--workers are those of Ray; add --engine ray"),
        (["--engine", "ray", "--workers", "0"], 2, "0 is not a whole number"),
        (["--engine", "ray", "--device", "cuda:1"], 2, "Ray assigns the GPUs"),
        (["--engine", "ray", "--mean", "0.5"], 2, "carries a model card that says its labels and preprocessing"),
        (["-o", "found.txt"], 2, "expected a name that ends in .csv, .jsonl, .parquet"),
        (["-o", "/proc/nowhere/found.csv"], 1, "cannot write into /proc/nowhere"),
    ],
)
def test_wrong_usage_exits_2(
    options: list[str], code: int, message: str, cli: Cli, photos: Path, photos_onnx: Path
) -> None:
    result = cli("predict", photos / "dark" / "00.png", "-m", photos_onnx, *options)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("as_json", [False, True])
def test_a_pipe_of_another_encoding_gets_what_it_can_take(
    encoding: str,
    as_json: bool,
    photos: Path,
    photos_onnx: Path,
    tmp_path: Path,
    process: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    image = shutil.copy(photos / "dark" / "00.png", tmp_path / "東京.png")
    arguments = ("predict", image, "-m", photos_onnx, *["--json"] * as_json)
    result = process(*arguments, env={"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"})
    assert (result.returncode, result.stderr) == (0, "")
    assert "dark" in result.stdout


@pytest.mark.slow
def test_predictions_of_a_network_that_was_never_trained_say_so(tmp_path: Path, photos: Path, cli: Cli) -> None:
    import cnnkit

    cnnkit.export("torchvision/squeezenet1_1", tmp_path / "random.onnx", shape=(3, 64, 64))
    result = cli("predict", photos / "dark" / "00.png", "-m", tmp_path / "random.onnx")
    assert result.exit_code == 0
    assert "The weights are random" in result.stdout


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_file_has_every_image_and_the_terminal_a_line(
    suffix: str, predict: Cli, photos: Path, photos_onnx: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.png"
    noise(bad)
    path = tmp_path / "new" / f"found.{suffix}"
    result = predict(photos / "dark", bad, photos / "light", "-o", path, "--top", 1)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {bad} is not an image")
    assert result.stdout.splitlines() == [
        f"{path}: 20 images and 1 that could not be read",
        f"model {photos_onnx}, onnxruntime CPU",
    ]
    if suffix == "parquet":
        rows = parquet.read_table(path).to_pylist()
    elif suffix == "jsonl":
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    else:
        rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    assert [row["label"] or None for row in rows] == ["dark"] * 10 + [None] + ["light"] * 10
    assert [Path(row["source"]).name for row in rows[9:12]] == ["09.png", "bad.png", "00.png"]
    assert "is not an image" in rows[10]["error"]


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A folder of two 12-bit images, one of 8 bits, and one of several frames."""
    ramp = np.linspace(0, 4095, 28 * 28).reshape(28, 28).astype(np.uint16)
    (tmp_path / "deep").mkdir()
    for name in ("a", "b"):
        Image.fromarray(ramp).save(tmp_path / "deep" / f"{name}.png")
    plain = Image.fromarray((ramp >> 4).astype(np.uint8))
    plain.save(tmp_path / "deep" / "c.png")
    plain.save(tmp_path / "deep" / "d.tif", save_all=True, append_images=[plain])
    return tmp_path / "deep"


SUMMED_UP = [
    "2 of 4 images: the range of values is guessed from each image by itself",
    "1 of 4 images: only the first of several frames or pages is used",
]


def test_what_may_make_predictions_wrong_is_summed_up(predict: Cli, deep: Path, tmp_path: Path) -> None:
    for arguments in ([], ["-o", tmp_path / "a.jsonl"]):
        assert predict(deep, *arguments).stderr.splitlines() == [f"warning: {line}." for line in SUMMED_UP]
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text("utf-8").splitlines()]
    guessed = ["16-bit to 8-bit, range 0–4095 guessed from this image"]
    assert [row["warnings"] for row in rows] == [guessed, guessed, [], ["first of several pages"]]
    found = json.loads(predict(deep, "--json").stdout)
    assert found["warnings"] == SUMMED_UP
    assert [each["warnings"] for each in found["data"]["predictions"]] == [row["warnings"] for row in rows]
    assert predict(deep / "a.png").stderr == "warning: the range of values is guessed from each image by itself.\n"


def test_json_names_the_file_in_place_of_predictions(predict: Cli, photos: Path, tmp_path: Path) -> None:
    result = predict(photos / "dark" / "00.png", "-o", tmp_path / "a.csv", "--json")
    data = json.loads(result.stdout)["data"]
    assert set(data) == {"model", "engine", "assumptions", "output"}
    assert data["output"] == {"path": str(tmp_path / "a.csv"), "images": 1, "errors": 0}


def test_standard_input_has_a_name_in_the_file(predict: Cli, photos: Path, tmp_path: Path) -> None:
    result = predict("-", "-o", tmp_path / "a.csv", input=(photos / "dark" / "00.png").read_bytes())
    assert (result.exit_code, result.stderr) == (0, "")
    assert (tmp_path / "a.csv").read_text("utf-8").splitlines()[1].startswith("image 1,dark,")


def test_ray_does_not_read_standard_input(predict: Cli) -> None:
    result = predict("-", "--engine", "ray", input=b"")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Ray workers read the images themselves, and cannot read standard input" in result.stderr


def test_ray_runs_no_checkpoint(cli: Cli, photos: Path, photos_run: Path) -> None:
    result = cli("predict", photos, "-m", photos_run, "--engine", "ray")
    assert result.exit_code == 1
    assert f"Export it first: cnnkit export {photos_run} --onnx" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")
def test_a_signal_leaves_no_half_file(photos: Path, photos_onnx: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    shutil.copytree(photos, images)
    # Opened for reading, it waits for a writer that never comes.
    os.mkfifo(images / "z.png")
    output = tmp_path / "new" / "a.csv"
    arguments = ["predict", images / "dark", images / "z.png", "-m", photos_onnx, "-o", output, "--batch-size", 5]
    running = subprocess.Popen([sys.executable, "-m", "cnnkit", *map(str, arguments)], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 300
    while not output.parent.is_dir() and time.monotonic() < deadline:
        time.sleep(0.05)
    running.terminate()
    assert running.wait(60) == 143
    running.communicate()
    assert list(output.parent.iterdir()) == []
