"""`cnnkit explain`: folders, pages, classes and layers, on PyTorch networks and on ONNX files."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

Cli = Callable[..., Any]
IMAGES = Path(__file__).parents[2] / "docs" / "images"
SEVEN, TRIANGLE = IMAGES / "seven.png", IMAGES / "triangle.png"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_default_model_explains_a_digit_into_a_folder_of_the_images_name(
    here: Path, cli: Cli, stands_alone: Callable[[Path], str]
) -> None:
    result = cli("explain", SEVEN)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "7          100.00%" in result.stdout
    last = result.stdout.splitlines()[-1]
    assert last == f"{Path('explain-seven', 'index.html')} and 15 PNG files beside it"
    text = stands_alone(here / "explain-seven" / "index.html")
    assert "digits says 7 (100.00%) · PyTorch CPU" in text
    assert "thin strokes thickened" in text
    for layer in ("block1.conv1", "block1.pool", "block2.conv2", "block2.pool"):
        assert layer in text


def test_the_articles_network_shows_its_twelve_layers(
    here: Path, cli: Cli, stands_alone: Callable[[Path], str]
) -> None:
    result = cli("explain", TRIANGLE, "-m", "shapes-cnn", "-o", "t", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    assert (found["command"], found["status"], found["errors"]) == ("explain", "ok", [])
    data = found["data"]
    shapes = [(layer["layer"], layer["shape"]) for layer in data["layers"]]
    assert len(shapes) == 12
    assert shapes[:4] == [
        ("block1.conv1", [32, 28, 28]),
        ("block1.conv2", [32, 26, 26]),
        ("block1.pool", [32, 13, 13]),
        ("block1.dropout", [32, 13, 13]),
    ]
    assert data["target"]["label"] == data["prediction"]["scores"][0]["label"] == "triangles"
    assert data["grad_cam"] == {"layer": "block3.relu2", "shape": [3, 3]}
    gradients = data["integrated_gradients"]
    assert gradients["total"] == pytest.approx(gradients["difference"], rel=0.01)
    assert data["occlusion"]["lowest"] < 0.1
    assert data["folder"] == "t"
    assert sorted(data["files"]) == sorted(path.name for path in (here / "t").iterdir())
    assert [name for name in data["files"] if name.startswith("maps-")][2] == "maps-03-block1.pool.png"
    assert "What speaks for triangles" in stands_alone(here / "t" / "index.html")


def test_an_onnx_file_gets_its_occlusion(
    here: Path, cli: Cli, photos_onnx: Path, photos: Path, stands_alone: Callable[[Path], str]
) -> None:
    result = cli("explain", photos / "dark" / "00.png", "-m", photos_onnx, "-o", "o")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "An ONNX file shows what goes in and what comes out, but no layers" in result.stdout
    assert sorted(path.name for path in (here / "o").iterdir()) == [
        "explanation.json", "index.html", "input.png", "occlusion.png",
    ]  # fmt: skip
    text = stands_alone(here / "o" / "index.html")
    assert "onnxruntime CPU" in text
    assert "Grad-CAM" not in text.replace("no Grad-CAM", "")


def test_a_run_and_its_file_lose_the_same_by_occlusion(
    here: Path, cli: Cli, photos_run: Path, photos_onnx: Path, photos: Path
) -> None:
    from cnnkit import explain

    image = photos / "light" / "03.png"
    found = [explain(image, model, device="cpu") for model in (photos_run, photos_onnx)]
    assert [one.target.label for one in found] == ["light", "light"]
    np.testing.assert_allclose(found[0].occlusion.values, found[1].occlusion.values, atol=1e-4)


def test_an_onnx_file_of_somebody_else_takes_what_predict_takes(
    here: Path, cli: Cli, photos: Path, photos_onnx: Path
) -> None:
    model = onnx.load(photos_onnx)
    del model.metadata_props[:]
    onnx.save(model, here / "foreign.onnx")
    (here / "labels.txt").write_text("night\nday\n")
    image = photos / "dark" / "00.png"
    result = cli(
        "explain", image, "-m", "foreign.onnx", "--labels", "labels.txt", "--target", "day", "-o", "f", "--json"
    )
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)["data"]
    assert [score["label"] for score in data["prediction"]["scores"]] == ["night", "day"]
    assert data["assumptions"]
    page = (here / "f" / "index.html").read_text("utf-8")
    assert "Assumed: " in page
    assert "foreign.onnx says night" in page


def test_the_terminal_shows_it_and_nothing_is_written(here: Path, cli: Cli) -> None:
    result = cli("explain", SEVEN, "-m", "lenet", "--terminal")
    assert (result.exit_code, result.stderr) == (0, "")
    for said in ("the image", "Grad-CAM for 7", "occlusion for 7", "conv1, 5 of 6 maps", "seven.png", "100.00%"):
        assert said in result.stdout
    assert max(map(len, result.stdout.splitlines())) < 120
    assert list(here.iterdir()) == []


def test_the_terminal_and_a_folder_go_together(here: Path, cli: Cli) -> None:
    result = cli("explain", SEVEN, "-m", "lenet", "--terminal", "-o", "both")
    assert result.stdout.splitlines()[-1].startswith(str(Path("both", "index.html")))
    assert (here / "both" / "index.html").is_file()


def test_another_class_and_another_layer(here: Path, cli: Cli) -> None:
    result = cli("explain", SEVEN, "-m", "lenet", "--target", "1", "--layer", "conv1", "-o", "one")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "explained: 1" in result.stdout
    found = json.loads((here / "one" / "explanation.json").read_text("utf-8"))
    assert found["target"]["label"] == "1"
    assert found["grad_cam"] == {"layer": "conv1", "shape": [28, 28]}


def test_a_network_without_convolutions_says_what_it_lacks(here: Path, cli: Cli) -> None:
    result = cli("explain", SEVEN, "-m", "softmax-regression", "-o", "s")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "no convolution whose maps are larger than a pixel, so there is no Grad-CAM" in result.stdout
    assert (here / "s" / "integrated-gradients.png").is_file()
    assert not (here / "s" / "grad-cam.png").exists()


def test_without_captum_the_rest_works_and_a_layer_is_an_error(
    here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    result = cli("explain", SEVEN, "-m", "lenet", "-o", "l")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "Run: pip install captum" in result.stdout
    assert (here / "l" / "maps-01-conv1.png").is_file()
    result = cli("explain", SEVEN, "-m", "lenet", "--layer", "conv1", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["errors"][0]["code"] == "missing-dependency"


def test_a_folder_is_used_again_but_never_taken_from_others(here: Path, cli: Cli) -> None:
    for model in ("lenet", "softmax-regression"):
        assert cli("explain", SEVEN, "-m", model, "-o", "again").exit_code == 0
    assert not list((here / "again").glob("maps-*"))
    (here / "again" / "notes.txt").write_text("mine")
    result = cli("explain", SEVEN, "-m", "lenet", "-o", "again")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "again holds notes.txt, which is no explanation. Choose another folder." in result.stderr


@pytest.mark.usefixtures("nets")
def test_code_of_the_user_is_imported_only_with_trust(here: Path, cli: Cli, photos: Path) -> None:
    import cnnkit

    recipe = cnnkit.default_recipe("tinynets:Parallel", data=str(photos), epochs=1, batch_size=4)
    list(cnnkit.train(recipe, runs_dir=here / "runs", device="cpu"))
    arguments = ("explain", photos / "dark" / "00.png", "-m", here / "runs" / "tinynets-Parallel-photos-1", "-o", "own")
    refused = cli(*arguments)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "--trust-code" in refused.stderr
    result = cli(*arguments, "--trust-code", "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)["data"]
    assert [layer["layer"] for layer in data["layers"]] == ["left", "right", "middle", "drop"]
    assert data["grad_cam"]["layer"] == "smooth"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere.png"], 1, "cannot read nowhere.png"),
        (["text.png"], 1, "text.png is not an image in one of the formats PNG, JPEG"),
        ([SEVEN, "-m", "nosuch"], 1, "nosuch"),
        (
            [SEVEN, "-m", "alexnet"],
            1,
            "alexnet has no trained weights. Train it first: cnnkit train alexnet",
        ),
        ([SEVEN, "-m", "torchvision/resnet81"], 1, "there is no torchvision classification model 'resnet81'"),
        ([SEVEN, "-m", "lenet", "--layer", "conv9"], 1, "there is no layer 'conv9'. Did you mean conv2 or conv1"),
        ([SEVEN, "-m", "lenet", "--layer", "fc1"], 2, "the layer fc1 gives 120 values and no maps"),
        (
            [SEVEN, "-m", "shapes-cnn", "--target", "triangle"],
            1,
            "there is no class 'triangle'. Did you mean triangles",
        ),
        ([SEVEN, "-m", "lenet", "--mean", "0.5"], 2, "lenet knows its input, labels and scores; leave out --mean"),
        ([SEVEN, "-m", "net.onnx", "--layer", "conv1"], 2, "runs on onnxruntime, which shows no layers"),
        ([SEVEN, "-o", "/proc/nowhere"], 1, "cannot write into /proc/nowhere"),
        ([SEVEN, "-o", "text.png"], 1, "cannot write into text.png"),
        ([SEVEN, "--device", "tpu"], 2, "there is no device 'tpu'"),
        ([SEVEN, SEVEN], 2, "unexpected extra argument"),
    ],
)
def test_what_makes_no_sense_is_one_error_and_leaves_no_folder(
    arguments: list[Any], code: int, message: str, here: Path, cli: Cli, photos_onnx: Path
) -> None:
    (here / "text.png").write_text("this is no image")
    shutil.copy(photos_onnx, here / "net.onnx")
    result = cli("explain", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(path.name for path in here.iterdir()) == ["net.onnx", "text.png"]


def test_an_image_that_has_the_form_already_says_so(here: Path, cli: Cli) -> None:
    Image.new("RGB", (28, 28), "white").save(here / "plain.png")
    assert cli("explain", "plain.png", "-m", "shapes-cnn").exit_code == 0
    page = (here / "explain-plain" / "index.html").read_text("utf-8")
    assert "nothing, it had the form that the network takes" in page
    # On a plain image a patch of its own colour hides nothing.
    found = json.loads((here / "explain-plain" / "explanation.json").read_text("utf-8"))
    assert found["occlusion"]["lowest"] == pytest.approx(found["target"]["probability"], abs=1e-6)
