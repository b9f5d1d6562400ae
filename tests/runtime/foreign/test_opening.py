import json
from pathlib import Path

import coloured
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import cnnkit
from cnnkit.errors import DataError, OnnxError, UsageError
from cnnkit.images import Preprocessing, prepare
from cnnkit.runtime.foreign.colours import IMAGENET_MEAN
from cnnkit.runtime.foreign.opening import open_onnx
from cnnkit.runtime.foreign.options import ForeignOptions
from cnnkit.runtime.foreign.scaling import IMAGENET_STD
from tests.expecting import expect_error

NCHW, NHWC = ("batch", 3, 6, 5), ("batch", 6, 5, 3)
NUMBERED = "no labels given: classes are numbered"
NOT_NORMALISED = "pixels scaled to [0, 1], not normalised, a guess: see --pixels, --mean, --std and --preprocess"
PADDED = "the whole picture, padded (contain), a guess: see --preprocess"
COLOURS = "red, green, blue (RGB), a guess: see --channel-order"
WHOLE = "pixels from 0 to 255, as whole numbers"


def probabilities(classifier, images):
    rows = [sorted(p.scores, key=lambda s: classifier.card.labels.index(s.label)) for p in classifier.predict(images)]
    return np.array([[score.probability for score in row] for row in rows])


KINDS = {
    "float NCHW": (
        (NCHW, "float32"),
        lambda pixels: (pixels / 255).transpose(0, 3, 1, 2),
        ["input picture: float32 [batch, 3, 6, 5], layout NCHW", NOT_NORMALISED, PADDED, COLOURS, NUMBERED],
    ),
    "float NHWC": (
        (NHWC, "float32"),
        lambda pixels: pixels / 255,
        ["input picture: float32 [batch, 6, 5, 3], layout NHWC", NOT_NORMALISED, PADDED, COLOURS, NUMBERED],
    ),
    "uint8 NHWC": (
        (NHWC, "uint8"),
        lambda pixels: pixels,
        ["input picture: uint8 [batch, 6, 5, 3], layout NHWC", WHOLE, PADDED, COLOURS, NUMBERED],
    ),
    "fixed batch": (
        ((2, 3, 6, 5), "float32"),
        lambda pixels: (pixels / 255).transpose(0, 3, 1, 2),
        ["input picture: float32 [2, 3, 6, 5], layout NCHW", NOT_NORMALISED, PADDED, COLOURS, NUMBERED],
    ),
}


@pytest.mark.parametrize("softmax", [False, True], ids=["logits", "probabilities"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_input_is_worked_out_and_the_answer_is_that_of_numpy(opened, answer, pictures, kind, softmax):
    (shape, dtype), inputs, assumed = KINDS[kind]
    classifier = opened(shape, dtype, softmax=softmax, output=(shape[0], 4))
    images = pictures // (50 if dtype == "uint8" else 1)
    assert probabilities(classifier, images) == pytest.approx(answer(inputs(images)), abs=1e-5)
    given = "probabilities of 4 classes: the graph ends in Softmax"
    if not softmax:
        given = "logits of 4 classes: the graph ends in MatMul"
    assert classifier.assumptions == (*assumed, f"output scores: {given}")
    assert classifier.card.labels == ("0", "1", "2", "3")
    assert classifier.card.preprocessing.fit == "contain"


def test_probabilities_that_round_to_nothing_stay_probabilities(opened, pictures):
    found = probabilities(opened(NHWC, "uint8", softmax=True), pictures)
    assert np.isfinite(found).all()
    assert found.sum(1) == pytest.approx(1)


def test_an_open_size_is_taken_as_224(opened, answer):
    classifier = opened(("batch", 3, "height", "width"))
    assert "size 224×224: the graph leaves it open" in classifier.assumptions
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    expected = answer((image[None] / 255).transpose(0, 3, 1, 2), pooled=True)
    assert probabilities(classifier, [image]) == pytest.approx(expected, abs=1e-4)


def test_a_side_that_is_fixed_is_kept_where_the_other_is_open(opened):
    assert opened(("batch", 3, 32, "width")).card.preprocessing.height == 32


def test_a_grey_network_gets_grey_images(opened, answer, pictures):
    classifier = opened(("batch", 1, 6, 5))
    grey = np.stack([prepare(p, classifier.card.preprocessing).pixels for p in pictures])
    assert grey.shape == (3, 6, 5, 1)
    assert probabilities(classifier, pictures) == pytest.approx(answer((grey / 255).transpose(0, 3, 1, 2)), abs=1e-5)


def test_scores_with_a_size_of_one_by_one_are_scores(opened, pictures):
    classifier = opened(NCHW, output=("batch", 4, 1, 1), spatial=True)
    assert probabilities(classifier, pictures) == pytest.approx(probabilities(opened(NCHW), pictures))


@pytest.mark.parametrize(
    ("made", "name"),
    [
        ({"shape": ("batch", 784)}, "picture [batch, 784]"),
        ({"more_inputs": ["threshold"]}, "picture"),
        ({"dtype": "int64"}, "int64"),
        ({"shape": ("batch", 4, 6, 5)}, "[batch, 4, 6, 5]"),
        ({"shape": ("batch", 7, 6, 5)}, "7 channels"),
    ],
    ids=["rank 2", "two inputs", "int64", "four channels", "no channels"],
)
def test_what_is_no_image_classifier_is_refused_with_what_was_found(opened, made, name):
    with expect_error(OnnxError, "net.onnx", name):
        opened(**made)


@pytest.mark.parametrize(
    ("operation", "attributes", "output", "name"),
    [
        (
            "Relu",
            {},
            ("batch", 1, 6, 5),
            "result [6, 1, 6, 5]",
        ),
        ("ReduceMean", {"axes": [2, 3], "keepdims": 0}, ("batch", 1), "Sigmoid"),
    ],
    ids=["a picture", "one score"],
)
def test_what_gives_no_score_for_each_class_is_refused_with_what_it_gives(operation, attributes, output, name):
    given = helper.make_tensor_value_info("picture", TensorProto.FLOAT, ("batch", 1, 6, 5))
    gives = helper.make_tensor_value_info("result", TensorProto.FLOAT, output)
    node = helper.make_node(operation, ["picture"], ["result"], **attributes)
    graph = helper.make_graph([node], "net", [given], [gives])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    with expect_error(OnnxError, name):
        open_onnx(model.SerializeToString(), "net.onnx", device="cpu")


def test_a_class_without_scores_is_refused_with_what_would_help():
    model = onnx.load_from_string(coloured.build(coloured.Spec(scores="softmax")))
    (scores,) = model.graph.output
    model.graph.node.append(helper.make_node("ArgMax", [scores.name], ["class"], axis=1))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("class", TensorProto.INT64, ("batch",)))
    with expect_error(OnnxError, "ArgMax", "int64"):
        open_onnx(model.SerializeToString(), "net.onnx", device="cpu")


def test_a_class_as_a_floating_point_number_is_no_score():
    model = onnx.load_from_string(coloured.build(coloured.Spec(scores="softmax")))
    (scores,) = model.graph.output
    model.graph.node.append(helper.make_node("ArgMax", [scores.name], ["class"], axis=1))
    model.graph.node.append(helper.make_node("Cast", ["class"], ["result"], to=TensorProto.FLOAT))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("result", TensorProto.FLOAT, ("batch", 1)))
    with expect_error(OnnxError, "ArgMax"):
        open_onnx(model.SerializeToString(), "net.onnx", device="cpu")
    with expect_error(OnnxError, "ArgMax"):
        open_onnx(model.SerializeToString(), "net.onnx", device="cpu", options=ForeignOptions(scores="sigmoid-logits"))


def digits_net(tmp_path):
    """The digits network as a bare file, which anybody could have exported."""
    path = tmp_path / "digits.onnx"
    cnnkit.export("digits", path, raw_input=True)
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    return path


def test_ink_on_paper_is_read_as_mnist_has_it_where_that_is_said(tmp_path):
    path = digits_net(tmp_path)
    form = cnnkit.load("digits").card.preprocessing
    values = {"mean": form.mean, "std": form.std}
    plain, said = (cnnkit.load(path, device="cpu", preprocess=way, **values) for way in (None, "mnist"))
    assert any("--preprocess mnist" in text for text in plain.assumptions)
    assert not any("see --preprocess" in text for text in said.assumptions)
    paths = sorted(Path("tests/data/drawings").glob("*/*.png"))
    expected = [p.label for p in cnnkit.load("digits", device="cpu").predict(paths)]
    assert [p.label for p in said.predict(paths)] == expected
    assert [p.label for p in plain.predict(paths)] != expected


def test_ink_on_paper_is_scaled_as_the_file_beside_says(tmp_path):
    path = digits_net(tmp_path)
    form = cnnkit.load("digits").card.preprocessing
    processor = {"image_mean": form.mean, "image_std": form.std, "size": {"height": 28, "width": 28}}
    path.with_name("preprocessor_config.json").write_text(json.dumps(processor), "utf-8")
    assert cnnkit.load(path, device="cpu", preprocess="mnist").card.preprocessing == form


def test_the_form_of_mnist_is_for_files_of_its_size(opened):
    with expect_error(UsageError, "mnist", "28×28"):
        opened(NCHW, preprocess="mnist")


@pytest.fixture
def label_file(tmp_path):
    def write(content):
        path = tmp_path / "labels.txt"
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize(
    "content",
    ["cat\ndog\nfish\nno owl\n", "cat\r\ndog\r\nfish\r\nno owl", "\n cat \ndog\n\nfish\nno owl\n\n"],
    ids=["lines", "Windows lines", "blanks"],
)
def test_a_label_file_names_the_classes_in_their_order(opened, label_file, pictures, content):
    classifier = opened(NCHW, labels=label_file(content.encode()))
    assert classifier.card.labels == ("cat", "dog", "fish", "no owl")
    assert NUMBERED not in classifier.assumptions
    assert probabilities(classifier, pictures) == pytest.approx(probabilities(opened(NCHW), pictures))


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"cat\ndog\nfish\n", 3),
        (b"a\nb\nc\nd\ne\n", 5),
        (b"", 0),
        (b"cat\ndog\nfish\n\xff\n", "read"),
    ],
)
def test_a_label_file_that_does_not_fit_is_a_data_error(opened, label_file, content, name):
    with expect_error(DataError, "labels.txt", name):
        opened(NCHW, labels=label_file(content))


def test_a_missing_label_file_is_a_data_error(opened, tmp_path):
    with expect_error(DataError, "missing.txt"):
        opened(NCHW, labels=tmp_path / "missing.txt")


def test_a_byte_order_mark_is_no_part_of_a_label(opened, label_file):
    assert opened(NCHW, labels=label_file("\ufeffcat\ndog\nfish\nowl\n".encode())).card.labels[0] == "cat"


def test_labels_that_are_written_twice_are_told_apart(opened, label_file):
    labels = opened(NCHW, labels=label_file(b"crane\nmaillot\ncrane\nowl\n")).card.labels
    assert len(set(labels)) == 4
    assert labels[1] == "maillot"


def test_mean_and_deviation_are_applied_to_each_channel(opened, answer, pictures):
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    classifier = opened(NCHW, mean=mean, std=std)
    inputs = ((pictures / 255 - mean) / std).transpose(0, 3, 1, 2)
    assert probabilities(classifier, pictures) == pytest.approx(answer(inputs), abs=1e-5)
    assert NOT_NORMALISED not in classifier.assumptions


@pytest.mark.parametrize(
    ("arguments", "options", "name"),
    [
        ((NCHW,), {"mean": (0.5,)}, "--mean needs 3"),
        ((NCHW,), {"std": (0.5, 0.5)}, "--std needs 3"),
        ((("n", 1, 6, 5),), {"mean": (0.5, 0.5, 0.5)}, "--mean needs 1"),
        ((NCHW,), {"std": (0.5, 0.0, 0.5)}, "--std"),
        ((NCHW,), {"std": (0.5, -1.0, 0.5)}, "--std"),
        ((NHWC, "uint8"), {"mean": (0.5, 0.5, 0.5)}, "--mean"),
        ((NHWC, "uint8"), {"std": (0.5, 0.5, 0.5)}, "--std"),
        ((("n", 1, 6, 5),), {"preprocess": "imagenet"}, "imagenet"),
    ],
)
def test_options_that_do_not_fit_the_network_are_a_usage_error(opened, arguments, options, name):
    with expect_error(UsageError, name):
        opened(*arguments, **options)


@pytest.mark.parametrize("option", ["mean", "std"])
def test_a_normalisation_that_is_no_number_is_a_usage_error(opened, option):
    with expect_error(UsageError, f"--{option}"):
        opened(NCHW, **{option: (0.5, float("nan"), 0.5)})


@pytest.mark.parametrize(("side", "resize"), [(20, 23), (224, 256), (299, 342)])
def test_imagenet_of_a_square_is_torchvisions_resize_and_crop(opened, side, resize):
    form = opened(("n", 3, side, side), preprocess="imagenet").card.preprocessing
    assert form == Preprocessing(3, side, side, IMAGENET_MEAN, IMAGENET_STD, "cover", resize=resize)


def test_imagenet_is_mean_deviation_and_the_centre(opened, answer):
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    classifier = opened(("n", 3, 20, 16), preprocess="imagenet")
    form = Preprocessing(3, 20, 16, IMAGENET_MEAN, IMAGENET_STD, "cover", crop=0.875)
    assert classifier.card.preprocessing == form
    assert any(said.startswith("ImageNet preprocessing: shorter side to 8/7") for said in classifier.assumptions)
    pixels = prepare(image, form).pixels[None]
    inputs = ((pixels / 255 - IMAGENET_MEAN) / IMAGENET_STD).transpose(0, 3, 1, 2)
    assert probabilities(classifier, [image]) == pytest.approx(answer(inputs), abs=1e-5)


def test_imagenet_of_a_uint8_network_does_not_claim_a_normalisation(opened):
    assert not any("deviation" in said for said in opened(NHWC, "uint8", preprocess="imagenet").assumptions)


def test_options_know_whether_anything_was_said():
    assert not ForeignOptions()
    assert ForeignOptions(preprocess="imagenet")
