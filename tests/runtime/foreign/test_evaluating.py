"""Files of others measured on folders of images, by whatever names the folders have."""

import json

import coloured
import numpy as np
import pytest
from coloured import COLOURS, ORDER, Spec
from PIL import Image

import cnnkit
from cnnkit.errors import CnnkitError, UsageError
from tests.expecting import expect_error

SYNSETS = [f"n{index:08}" for index in range(5)]
FOLDERS = {
    "names": (ORDER, "lines"),
    "indices": (tuple("01234"), "lines"),
    "numbered": (tuple("01234"), "none"),
    "synsets": (SYNSETS, "synsets"),
    "words": (tuple(f"{name}, paint" for name in ORDER), "synsets"),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_folders_are_matched_with_classes(kind, write, tmp_path, cli):
    names, labels = FOLDERS[kind]
    path, options = write(Spec(labels=labels, scaling="caffe", layout="NHWC", dtype="float16", scores="softmax"))
    rng = np.random.default_rng(0)
    for name, colour in zip(names, ORDER, strict=True):
        (tmp_path / "data" / name).mkdir(parents=True)
        for index in range(3):
            noisy = np.clip(np.array(COLOURS[colour]) + rng.integers(-20, 20, (20, 20, 3)), 0, 255)
            Image.fromarray(noisy.astype(np.uint8)).save(tmp_path / "data" / name / f"{index}.png")
    given = ["--labels", options["labels"]] if options else []
    result = cli("evaluate", path, "--data", tmp_path / "data", "--device", "cpu", *given, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)["data"]
    assert (found["accuracy"], found["images"]) == (1.0, 15)


@pytest.mark.parametrize("shape", [(8, 6), (3, 8), (3, 8, 0), (3, 8.0, 6), (3, 8, 6, 1)])
def test_a_shape_that_is_none_is_a_usage_error(shape, write):
    path, _ = write(Spec(dimensions="symbolic"))
    with expect_error(UsageError):
        cnnkit.load(path, input_shape=shape)


@pytest.mark.parametrize("shape", [(8, 6), (3, 8, 0)])
def test_benchmark_and_summary_refuse_such_a_shape_too(shape, write):
    path, _ = write(Spec(dimensions="symbolic"))
    for command in (cnnkit.summarize, cnnkit.benchmark):
        with pytest.raises(CnnkitError) as found:
            command(path if command is cnnkit.summarize else [str(path)], shape=shape)
        assert "damaged" not in str(found.value)


def test_the_words_of_this_module_are_those_of_coloured():
    assert set(coloured.COLOURS) == set(ORDER)
