"""The module `coloured` beside this file, and how its files are opened."""

import importlib.util
import sys
from pathlib import Path

import pytest

from cnnkit.runtime.foreign.opening import open_onnx
from cnnkit.runtime.foreign.options import ForeignOptions

_spec = importlib.util.spec_from_file_location("coloured", Path(__file__).with_name("coloured.py"))
coloured = importlib.util.module_from_spec(_spec)
sys.modules["coloured"] = coloured  # its classes look for their module there
_spec.loader.exec_module(coloured)


@pytest.fixture
def write(tmp_path):
    """Write a file and the labels that go round beside it: `path, options = write(spec)`."""

    def do(spec, name="net.onnx"):
        path = tmp_path / name
        path.write_bytes(coloured.build(spec))
        options = {}
        if (labels := coloured.labels_of(spec)) is not None:
            options["labels"] = tmp_path / labels[0]
            options["labels"].write_text(labels[1], "utf-8")
        # One layer of all values fits no square.
        if spec.body == "flat" and spec.dimensions in {"symbolic", "zero", "open sides"}:
            options["input_shape"] = 3, coloured.HEIGHT, coloured.WIDTH
        return path, options

    return do


@pytest.fixture
def images(tmp_path):
    """Files with the colours of `coloured`, by name."""
    from PIL import Image

    found = {}
    for name in coloured.COLOURS:
        found[name] = tmp_path / f"{name}.png"
        Image.fromarray(coloured.picture(name)).save(found[name])
    return found


@pytest.fixture
def opened(make_onnx):
    """Make a file and open it: `opened(shape, dtype, mean=…, **of_make_onnx)`."""

    def do(*arguments, labels=None, mean=None, std=None, preprocess=None, **made):
        options = ForeignOptions(labels, mean, std, preprocess)
        return open_onnx(make_onnx(*arguments, **made), "net.onnx", device="cpu", options=options)

    return do
