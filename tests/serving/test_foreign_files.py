"""Files that others exported, served: what `predict` says of an image, a server says too."""

import importlib.util
import io
import sys
from pathlib import Path

import httpx
import pytest
from PIL import Image

import cnnkit

_spec = importlib.util.spec_from_file_location(
    "coloured", Path(__file__).parents[1] / "runtime" / "foreign" / "coloured.py"
)
coloured = sys.modules.setdefault("coloured", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(coloured)

SPECS = {
    "plain": coloured.Spec(),
    "bytes": coloured.Spec(layout="NHWC", dtype="uint8", scores="softmax"),
    "half": coloured.Spec(dtype="float16", dimensions="symbolic", scaling="divided"),
    "caffe": coloured.Spec(layout="NHWC", dimensions="two images", scaling="caffe", scores="log-softmax"),
    "several": coloured.Spec(scores="sigmoid", dimensions="open sides"),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for name, spec in SPECS.items():
        (folder / f"{name}.onnx").write_bytes(coloured.build(spec))
    (folder / "labels.txt").write_text("\n".join(coloured.ORDER))
    return folder


@pytest.fixture(scope="module")
def address(files, serve_forever):
    paths = [files / f"{name}.onnx" for name in SPECS]
    return serve_forever(*paths, "--labels", files / "labels.txt", "--device", "cpu").url


def encoded(colour):
    file = io.BytesIO()
    Image.fromarray(coloured.picture(colour)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("name", SPECS)
def test_a_server_says_what_predict_says(name, address, files):
    classifier = cnnkit.load(files / f"{name}.onnx", device="cpu", labels=files / "labels.txt")
    for colour in coloured.COLOURS:
        content = encoded(colour)
        answer = httpx.post(f"{address}/predict/{name}", content=content, timeout=20).json()
        assert answer["label"] == colour
        expected = {s.label: s.probability for s in classifier.predict([content])[0].scores}
        assert {s["label"]: s["probability"] for s in answer["probabilities"]} == pytest.approx(expected, abs=1e-3)
