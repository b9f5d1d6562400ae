import json
import os
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

DRAWINGS = Path(os.environ.get("DRAWINGS", ""))


def cnnkit(*arguments, stdin=None):
    return subprocess.run(
        [sys.executable, "-m", "cnnkit", *map(str, arguments)], input=stdin, capture_output=True, check=False
    )


@pytest.mark.parametrize("command", [["--help"], ["models"], ["datasets"], ["predict", "--help"], ["train", "--help"]])
def test_a_command_that_needs_no_torch_works(command):
    done = cnnkit(*command)
    assert done.returncode == 0, done.stderr.decode()


def test_the_wheel_brings_the_zoo_and_reads_drawings():
    done = cnnkit("predict", DRAWINGS, "--json")
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)["data"]["predictions"]
    right = [Path(p["source"]).parent.name == p["scores"][0]["label"] for p in found]
    assert len(right) == 200
    assert sum(right) / len(right) >= 0.97


def test_the_wheel_brings_the_page_with_all_that_it_loads():
    page = files("cnnkit.serving") / "page"
    found = {entry.name: entry.read_text("utf-8") for entry in page.iterdir()}
    wanted = {name for text in found.values() for name in re.findall(r'"(?:\./)?([a-z]+\.(?:js|css))"', text)}
    assert {"page.js", "page.css", "drawing.js"} <= wanted <= found.keys()


def test_a_network_is_measured():
    done = cnnkit("benchmark", "lenet", "--device", "cpu", "--batch", "1,8", "--seconds", "0.05", "--json")
    assert done.returncode == 0, done.stderr.decode()
    assert [row["batch"] for row in json.loads(done.stdout)["data"]["measurements"]] == [1, 8]


def test_an_image_on_standard_input_is_read():
    done = cnnkit("predict", "-", "--json", stdin=next((DRAWINGS / "7").iterdir()).read_bytes())
    assert json.loads(done.stdout)["data"]["predictions"][0]["scores"][0]["label"] == "7"


def test_the_nodes_of_a_file_are_listed_and_timed():
    import cnnkit as package

    file = Path(package.__file__).parent / "models_zoo" / "lenet-mnist" / "model.onnx"
    done = cnnkit("summary", file, "--profile", "--device", "cpu", "--json")
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)["data"]
    assert found["parameters"] == 61_706
    assert found["profile"]["nodes"]


@pytest.mark.parametrize(
    "command",
    [["train", "mnist-cnn"], ["summary", "lenet"], ["export", "lenet", "--onnx"], ["benchmark", "lenet", "--torch"]],
)
def test_a_command_that_needs_torch_says_so(command):
    done = cnnkit(*command)
    assert done.returncode == 1
    message = done.stderr.decode()
    assert "PyTorch" in message
    assert "pip install" in message
    assert "Traceback" not in message


def test_doctor_says_that_there_is_no_torch_and_runs_a_session():
    done = cnnkit("doctor", "--json")
    found = {check["what"]: check for check in json.loads(done.stdout)["data"]["checks"]}
    assert found["PyTorch"]["found"] == "not installed"
    assert found["session on CPU"]["verdict"] == "ok"


def test_the_python_api_predicts():
    import cnnkit as package

    classifier = package.load("lenet-mnist")
    assert classifier.predict([next((DRAWINGS / "1").iterdir())])[0].label in package.load().card.labels
    assert "torch" not in sys.modules


def test_an_image_is_explained_by_occlusion(tmp_path):
    done = cnnkit("explain", next((DRAWINGS / "7").iterdir()), "-o", tmp_path / "explained", "--json")
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)["data"]
    assert found["target"]["label"] == "7"
    assert found["notes"][0].startswith("PyTorch is not installed, and an ONNX file shows")
    assert (tmp_path / "explained" / "occlusion.png").is_file()
