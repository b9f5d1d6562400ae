"""Names of classes: in lists beside a file, and in what it says of itself, with good intentions and with bad ones."""

import json
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnnkit.errors import DataError
from cnnkit.images import MAX_SIDE
from cnnkit.runtime.foreign.described import names_in, ordered, side_in, unused_names
from cnnkit.runtime.foreign.labels import class_names
from tests.expecting import expect_error

QUICK = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
# What no form takes for an index, a synset or JSON.
PLAIN = st.lists(
    st.from_regex(r"[A-Za-zäß][A-Za-zäß -]{0,9}[a-z]", fullmatch=True), min_size=2, max_size=12, unique=True
)


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """Write a file of labels and read it: `read(text, count)`."""
    folder = tmp_path_factory.mktemp("labels")

    def do(text, count, name="labels.txt"):
        path = folder / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return class_names(count, path, {}, "net.onnx")

    return do


FORMS = {
    "lines": "\n".join,
    "Windows lines": lambda names: "\r\n".join(names) + "\r\n",
    "numbers": lambda names: "\n".join(f"{i} {n}" for i, n in reversed(list(enumerate(names)))),
    "numbers and colons": lambda names: "\n".join(f"{i}: {n}" for i, n in enumerate(names)),
    "numbers and commas": lambda names: "\n".join(f"{i},{n}" for i, n in enumerate(names)),
    "numbers from 1": lambda names: "\n".join(f"{i}\t{n}" for i, n in enumerate(names, 1)),
    "padded numbers": lambda names: "\n".join(f"{i:03} {n}" for i, n in enumerate(names)),
    "numbers and dots": lambda names: "\n".join(f"{i}. {n}" for i, n in enumerate(names)),
    "numbers behind": lambda names: "\n".join(f"{n} {i}" for i, n in reversed(list(enumerate(names)))),
    "commas and numbers behind": lambda names: "\n".join(f"{n},{i}" for i, n in reversed(list(enumerate(names)))),
    "UTF-16": lambda names: "\n".join(names).encode("utf-16"),
    "Python's map": lambda names: str(dict(enumerate(names))),
    "labels in a map": lambda names: json.dumps({"labels": names}),
    "synset and name": lambda names: json.dumps([[f"n{i:08}", n] for i, n in enumerate(names)]),
    "list": json.dumps,
    "index to name": lambda names: json.dumps({str(i): n for i, n in reversed(list(enumerate(names)))}),
    "name to index": lambda names: json.dumps({n: i for i, n in reversed(list(enumerate(names)))}),
    "configuration": lambda names: json.dumps({"model_type": "vit", "id2label": dict(enumerate(names))}),
    "its inverse": lambda names: json.dumps({"label2id": {n: i for i, n in enumerate(names)}}),
    "index to synset and name": lambda names: json.dumps({i: [f"n{i:08}", n] for i, n in enumerate(names)}),
    "a heading": lambda names: "\n".join(("label", *names)),
    "YAML": lambda names: "\n".join(("names:", *(f"  {i}: {n}" for i, n in enumerate(names)))),
    "synsets, numbers, names": lambda names: "\n".join(f"n{i:08} {i} {n}" for i, n in reversed(list(enumerate(names)))),
    "synsets": lambda names: "\n".join(f"n{i:08} {n}" for i, n in enumerate(names)),
}


@pytest.mark.parametrize("form", FORMS)
@QUICK
@given(names=PLAIN)
def test_every_form_gives_the_names_in_the_order_of_the_scores(form, names, read):
    found = read(FORMS[form](names), len(names))
    assert found.labels == tuple(names)
    assert bool(found.synsets) == ("synset" in form)


def test_names_that_begin_with_numbers_are_names(read):
    assert read("3 musketeers\n7 dwarfs\n", 2).labels == ("3 musketeers", "7 dwarfs")
    assert read("0\n1\n", 2).labels == ("0", "1")
    assert read("1\n0\n", 2).labels == ("1", "0")


def test_synsets_alone_are_names_and_folders_find_them(read):
    found = read("n02123045\nn02084071\n", 2)
    assert (found.labels, found.synsets) == (("n02123045", "n02084071"),) * 2


def test_names_that_end_in_numbers_are_names(read):
    assert read("type 1\ntype 0\n", 2).labels == ("type 1", "type 0")
    assert read("Boeing 747\nAirbus 320\n", 2).labels == ("Boeing 747", "Airbus 320")


def test_a_table_is_read_by_its_cells(read):
    table = 'id,name\n1,"tench, Tinca"\n0,"cat"\n'
    assert read(table, 2, "labels.csv").labels == ("cat", "tench, Tinca")
    assert read("synset,word\nn00000001,cat\nn00000002,dog", 2, "labels.csv").synsets == ("n00000001", "n00000002")
    assert read("cat\ndog\n", 2, "labels.csv").labels == ("cat", "dog")
    found = read("label\ncat\ndog\n", 2, "labels.csv")
    assert found.labels == ("cat", "dog")
    assert "without the heading 'label'" in found.source
    assert read("numéro;nom\n1;chien, gris\n0;chat\n", 2, "labels.csv").labels == ("chat", "chien, gris")
    assert read("id\tname\n1\tdog\n0\tcat\n", 2, "labels.tsv").labels == ("cat", "dog")


def test_the_heading_of_a_table_is_left_out_where_it_is_one(read):
    for heading in ("numéro;nom", "class;word"):
        found = read(f"{heading}\n1;dog\n0;cat\n", 2, "labels.csv")
        assert found.labels == ("cat", "dog")
        assert "without the heading" in found.source
    with expect_error(DataError, 3):
        read("cat,chat\ndog,chien\nother,autre\n", 2, "labels.csv")
    assert read("name tag,badge\ndog,chien\n", 2, "labels.csv").labels == ("name tag badge", "dog chien")


def test_the_separator_of_a_table_is_the_one_after_its_first_cell(read):
    found = read('n00000001,"tench; Tinca; fish"\nn00000002,dog\n', 2, "labels.csv")
    assert found.labels == ("tench; Tinca; fish", "dog")
    assert read('"cat; kitten",0\n"dog; puppy",1\n', 2, "labels.csv").labels == ("cat; kitten", "dog; puppy")
    assert read("tench, Tinca\ncat\n", 2, "labels.tsv").labels == ("tench, Tinca", "cat")


def test_numbers_that_are_not_those_of_the_classes_are_said(read):
    found = read("0 cat\n0 dog\n", 2)
    assert found.labels == ("0 cat", "0 dog")
    assert "not those of the classes" in found.source


def test_the_order_that_numbers_give_is_said(read):
    assert "by their numbers" in read("1 dog\n0 cat\n", 2).source
    for text in ("1 cat\n2 dog\n", '{"2": "dog", "1": "cat"}', '{"dog": 2, "cat": 1}'):
        found = read(text, 2)
        assert found.labels == ("cat", "dog")
        assert "begin at 1" in found.source


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"0": "cat"}', "1 label"),
        ('{"0": "cat", "2": "dog"}', "class once"),
        ('{"cat": 0, "dog": 0}', "class once"),
        ('{"0": {"name": "cat"}, "1": {"name": "dog"}}', "class once"),
        ('{"0": "cat", "0": "dog", "1": "cow"}', "'0' twice"),
        ('{"cat": 0, "dog": 0, "cat": 1}', "'cat' twice"),
        ('["cat", 7]', "class once"),
        ("[" * 100_000, "JSON"),
        ('{"0": "cat", ', "JSON"),
        (b"\xff\xfe\x00", "labels"),
        ('["cat", ""]', "class once"),
        (f'{{"{"1" * 5000}": "cat", "0": "dog"}}', "class once"),
    ],
)
def test_a_list_that_does_not_fit_is_a_data_error(text, said, read):
    with expect_error(DataError, said):
        read(text, 2)


def test_a_number_without_end_is_part_of_a_name(read):
    assert read(f"{'1' * 5000} cat\n{'2' * 5000} dog\n", 2).labels[0].endswith("cat")


@QUICK
@given(text=st.one_of(st.text(max_size=60), st.binary(max_size=60)), count=st.integers(1, 5))
def test_any_file_names_each_class_once_or_is_a_data_error(text, count, read):
    content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    try:
        found = read(content, count)
    except DataError:
        return
    assert len(set(found.labels)) == len(found.labels) == count
    assert all(label == label.strip() != "" for label in found.labels)


METADATA = {
    "Ultralytics": lambda names: {"names": str(dict(enumerate(names))), "task": "classify", "imgsz": "[64, 64]"},
    "Hugging Face": lambda names: {"id2label": json.dumps(dict(enumerate(names)))},
    "its inverse": lambda names: {"label2id": json.dumps({n: i for i, n in enumerate(names)})},
    "PaddleOCR": lambda names: {"character": "\n".join(names)},
    "a list": lambda names: {"labels": json.dumps(names)},
    "Python's list": lambda names: {"classes": repr(names)},
}


@pytest.mark.parametrize("form", METADATA)
@QUICK
@given(names=PLAIN)
def test_every_form_of_metadata_names_the_classes(form, names):
    found = class_names(len(names), None, METADATA[form](names), "net.onnx")
    assert found.labels == tuple(names)
    assert "the file's metadata" in found.source


HOSTILE = {
    "huge": "[" + "'a'," * 300_000 + "]", "deep list": "[" * 50_000, "deep map": '{"a":' * 50_000,
    "deep sum": "1+" * 50_000,
    "minus": "-" * 50_000 + "1", "parentheses": "(" * 50_000, "long number": "1" * 10_000,
    "long key": f"{{'{'1' * 5000}': 'a', '0': 'b'}}", "call": "__import__('os').getcwd()", "escape": "['\\d', '\\q']",
    "comparison": "1is 2", "zero": "\0", "NaN": "NaN", "set": "{'a', 'b'}", "bytes": "[b'a', b'b']", "true": "true",
    "nested": "{0: ['a', ['b']], 1: {'c': 1}}", "numbers": "[0, 1]", "negative": "{-1: 'a', 0: 'b'}", "empty": "",
    "control": "['\\x1b[31m', '\\n']", "surrogate": '["\\ud800", "b"]',
}  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_metadata_that_names_nothing_is_not_believed_and_does_no_harm(text, made_with):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = names_in(dict.fromkeys(("names", "id2label", "character"), text), 2)
        assert side_in(made_with({"imgsz": text})) is None
    assert found is None or (len(found[1]) == 2 and all(name.strip().isprintable() for name in found[1]))


def test_metadata_that_is_not_used_is_said():
    assert unused_names({"names": "['cat']", "classes": "a, b", "author": "x"}, 2) == (
        "names in the file's metadata does not name each of 2 classes once: not used",
        "classes in the file's metadata does not name each of 2 classes once: not used",
    )
    metadata = {"names": "['a', 'b']", "labels": "['b', 'a']", "classes": "['a', 'b']"}
    assert unused_names(metadata, 2) == ("labels in the file's metadata names other classes: not used",)


@QUICK
@given(text=st.text(max_size=80))
def test_any_metadata_is_read_without_an_error(text, made_with):
    found = names_in({"names": text}, 2)
    assert found is None or len(found[1]) == 2
    sides = side_in(made_with({"imgsz": text}))
    assert sides is None or all(0 < side <= MAX_SIDE for side in sides)


@pytest.mark.parametrize(
    ("text", "sides"),
    [("[64, 48]", (64, 48)), ("64", (64, 64)), ("[64]", None), ("[0, 64]", None), ("-5", None), ("true", None),
     ("[1000000, 1]", None), ("64.5", None), ("(32, 32)", (32, 32))],
)  # fmt: skip
def test_a_size_in_the_metadata_is_one_of_an_image(text, sides, made_with):
    assert side_in(made_with({"imgsz": text})) == sides


@pytest.fixture(scope="module")
def made_with():
    from onnx import ModelProto, helper

    def do(metadata):
        model = ModelProto()
        helper.set_model_props(model, {k: v.encode("utf-8", "replace").decode() for k, v in metadata.items()})
        return model

    return do


def test_names_of_another_number_of_classes_are_not_believed():
    assert class_names(3, None, {"names": "['a', 'b']"}, "net.onnx").labels == ("0", "1", "2")


def test_maps_of_numbers_go_from_the_index():
    assert ordered({"0": "1", "1": "0"}) == ("1", "0")
