import json
from dataclasses import asdict

import pytest

from cnnkit import registry, zoo
from cnnkit.errors import UnknownNameError, ZooError
from cnnkit.files import sha256
from cnnkit.runtime.foreign.opening import open_onnx
from tests.expecting import expect_error

CONTENT = {"model.onnx": b"graph", "model.safetensors": b"weights"}


def listed(name, model="lenet", **changes):
    files = {file: sha256(content) for file, content in CONTENT.items()}
    entry = {"name": name, "model": model, "dataset": "mnist", "accuracy": 0.98, "files": files, "test_images": 90}
    return {**entry, **changes}


@pytest.fixture
def make_zoo(zoo_at, tmp_path):
    def make(*entries, index=None):
        folder = tmp_path / "zoo"
        for entry in entries:
            (folder / entry["name"]).mkdir(parents=True)
            for file, content in CONTENT.items():
                (folder / entry["name"] / file).write_bytes(content)
        folder.mkdir(exist_ok=True)
        (folder / "index.json").write_bytes(index if index is not None else json.dumps({"entries": entries}).encode())
        return zoo_at(folder)

    return make


def test_the_entries_are_those_of_the_index_in_its_order(make_zoo):
    entries = [listed("lenet-mnist"), listed("alexnet-fashion", "alexnet"), listed("lenet-fashion")]
    make_zoo(*entries)
    assert [asdict(entry) for entry in zoo.entries().values()] == entries
    assert list(zoo.entries()) == ["lenet-mnist", "alexnet-fashion", "lenet-fashion"]


@pytest.mark.usefixtures("no_zoo")
def test_an_installation_without_a_zoo_has_no_entries():
    assert zoo.entries() == {}
    with expect_error(UnknownNameError, "lenet"):
        zoo.entry("lenet")


@pytest.mark.parametrize(
    "index",
    [
        *(
            b"",
            b"{",
            b"[]",
            b"{}",
            b"\xff\xfe",
            b'{"entries": null}',
            b'{"entries": [3]}',
            b'{"entries": [{"name": "x"}]}',
        ),
        json.dumps({"entries": [listed("x", colour="red")]}).encode(),
    ],
)
def test_a_damaged_index_is_a_zoo_error_that_names_it(make_zoo, index):
    make_zoo(index=index)
    with expect_error(ZooError, "index.json"):
        zoo.entries()


@pytest.mark.parametrize(
    ("name", "found"),
    [("lenet-fashion", "lenet-fashion"), ("lenet", "lenet-mnist"), ("alexnet", "alexnet-fashion")],
)
def test_an_entry_is_found_by_its_name_or_as_the_first_of_its_architecture(make_zoo, name, found):
    make_zoo(listed("alexnet-fashion", "alexnet"), listed("lenet-mnist"), listed("lenet-fashion"))
    assert zoo.entry(name).name == found
    assert zoo.read(name, "model.onnx") == b"graph"
    assert zoo.read(name, "model.safetensors") == b"weights"


def test_an_unknown_entry_is_answered_with_the_close_matches(make_zoo):
    make_zoo(listed("lenet-mnist"))
    with expect_error(UnknownNameError, "lenet-mnst", "lenet-mnist"):
        zoo.read("lenet-mnst", "model.onnx")


@pytest.mark.parametrize("content", [b"", b"graph and more", b"grapi"], ids=["emptied", "longer", "one bit"])
def test_a_damaged_file_is_a_zoo_error_that_names_it(make_zoo, content):
    folder = make_zoo(listed("lenet-mnist"))
    (folder / "lenet-mnist" / "model.onnx").write_bytes(content)
    with expect_error(ZooError, "model.onnx", "SHA-256"):
        zoo.read("lenet-mnist", "model.onnx")


def test_a_missing_file_is_a_zoo_error_that_names_it(make_zoo):
    folder = make_zoo(listed("lenet-mnist"))
    (folder / "lenet-mnist" / "model.onnx").unlink()
    with expect_error(ZooError, "model.onnx"):
        zoo.read("lenet-mnist", "model.onnx")


def test_a_file_that_the_index_does_not_list_is_a_zoo_error(make_zoo):
    make_zoo(listed("lenet-mnist", files={}))
    with expect_error(ZooError, "index"):
        zoo.read("lenet-mnist", "model.onnx")


shipped = pytest.mark.skipif(not (zoo.folder() / "index.json").is_file(), reason="this source tree has no models_zoo")


@shipped
def test_the_default_classifier_is_shipped():
    assert zoo.DEFAULT_CLASSIFIER in zoo.entries()


@shipped
def test_what_is_shipped_is_whole_and_says_what_it_is():
    for entry in zoo.entries().values():
        assert registry.model(entry.model).parameters
        assert 0.5 < entry.accuracy <= 1
        card = open_onnx(zoo.read(entry.name, "model.onnx"), entry.name, device="cpu").card
        assert card.model == entry.model
        assert card.dataset == entry.dataset
        assert card.trained
        assert card.parity is not None
        assert card.parity.passed
        assert zoo.read(entry.name, "model.safetensors")
