from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnkit.card import CARD_KEY, ModelCard
from cnnkit.errors import ImageError, ImageFormatError, UsageError
from cnnkit.images import Preprocessing
from cnnkit.runtime.classifier import softmax
from cnnkit.runtime.foreign.opening import open_onnx
from cnnkit.runtime.prediction import Prediction
from tests.expecting import expect_error

LABELS = ("cat", "dog", "fish", "owl")
FORM = Preprocessing(3, 6, 5, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), "contain")


def card(**changes):
    return ModelCard(**{"model": "own:net", "labels": LABELS, "preprocessing": FORM, **changes})


@pytest.fixture(scope="module")
def classifier(make_onnx):
    """Open a file of ours that takes normalised float32 [N, C, H, W]."""
    metadata = {CARD_KEY: card(raw_input=True).to_json()}
    return open_onnx(make_onnx(name="logits", metadata=metadata), "net.onnx", device="cpu")


@pytest.fixture
def files(tmp_path, pictures):
    paths = []
    for index, picture in enumerate(pictures):
        paths.append(tmp_path / f"{index}.png")
        Image.fromarray(picture).save(paths[-1])
    return paths


def probabilities(predictions):
    """Return what was predicted as [N, classes], in the order of the labels."""
    rows = [{score.label: score.probability for score in prediction.scores} for prediction in predictions]
    return np.array([[row[label] for label in LABELS] for row in rows])


def test_the_probabilities_are_those_of_numpy(classifier, answer, pictures):
    inputs = ((pictures / 255 - FORM.mean) / FORM.std).transpose(0, 3, 1, 2)
    assert probabilities(classifier.predict(pictures)) == pytest.approx(answer(inputs), abs=1e-5)


def test_a_file_that_takes_uint8_gets_the_pixels_as_they_are(make_onnx, answer, pictures):
    metadata = {CARD_KEY: card().to_json()}
    opened = open_onnx(make_onnx(("n", 6, 5, 3), "uint8", name="logits", metadata=metadata), "net.onnx", device="cpu")
    assert probabilities(opened.predict(pictures // 50)) == pytest.approx(answer(pictures // 50), abs=1e-5)
    assert opened.assumptions == ()
    assert opened.card == card()


def test_every_kind_of_source_gives_the_same(classifier, files, pictures):
    expected = [p.scores for p in classifier.predict(pictures)]
    for sources in (
        files,
        [str(path) for path in files],
        [path.read_bytes() for path in files],
        [Image.fromarray(picture) for picture in pictures],
        iter(files),
    ):
        assert [p.scores for p in classifier.predict(sources)] == expected


def test_the_best_class_comes_first_and_names_the_prediction(classifier, pictures):
    for prediction in classifier.predict(pictures):
        found = [score.probability for score in prediction.scores]
        assert found == sorted(found, reverse=True)
        assert sum(found) == pytest.approx(1)
        assert (prediction.label, prediction.probability) == (prediction.scores[0].label, found[0])


@pytest.mark.parametrize(("top", "count"), [(1, 1), (3, 3), (4, 4), (99, 4)])
def test_top_limits_the_classes_that_are_returned(classifier, pictures, top, count):
    (prediction,) = classifier.predict(pictures[:1], top=top)
    assert prediction.scores == classifier.predict(pictures[:1])[0].scores[:count]


def test_equal_probabilities_keep_the_order_of_the_labels(classifier):
    grey = Image.new("RGB", (5, 6), tuple(round(255 * mean) for mean in FORM.mean))
    found = classifier.network.logits(np.asarray(grey)[None])
    assert [LABELS[i] for i in np.argsort(-found[0], kind="stable")] == [
        score.label for score in classifier.predict([grey])[0].scores
    ]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 64])
def test_the_batch_size_changes_nothing(classifier, pictures, batch_size):
    many = np.concatenate([pictures, pictures[::-1], pictures[:1]])
    found = probabilities(classifier.predict(many, batch_size=batch_size))
    assert found == pytest.approx(probabilities(classifier.predict(many)), abs=1e-6)


@pytest.mark.parametrize("fixed", [1, 2, 5])
def test_a_file_with_a_fixed_batch_takes_any_number_of_images(make_onnx, answer, pictures, fixed):
    metadata = {CARD_KEY: card(raw_input=True).to_json()}
    content = make_onnx((fixed, 3, 6, 5), output=(fixed, 4), name="logits", metadata=metadata)
    many = np.concatenate([pictures, pictures])
    inputs = ((many / 255 - FORM.mean) / FORM.std).transpose(0, 3, 1, 2)
    assert probabilities(open_onnx(content, "n", device="cpu").predict(many)) == pytest.approx(answer(inputs), abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7])
def test_a_bad_image_yields_its_error_in_its_place_and_the_rest_go_on(classifier, files, tmp_path, batch_size):
    (tmp_path / "text.png").write_text("no image")
    sources = [files[0], tmp_path / "text.png", files[1], b"", np.zeros((2, 2)), tmp_path / "missing.png", files[2]]
    found = list(classifier.stream(sources, batch_size=batch_size))
    assert [isinstance(result, ImageError) for result in found] == [False, True, False, True, True, True, False]
    assert [p.source for p in found if isinstance(p, Prediction)] == [str(path) for path in files]
    assert "text.png" in str(found[1])
    assert "image 4" in str(found[3])
    assert "image 5" in str(found[4])
    assert "missing.png" in str(found[5])
    good = probabilities([p for p in found if isinstance(p, Prediction)])
    assert good == pytest.approx(probabilities(classifier.predict(files)), abs=1e-6)


def test_predict_raises_what_stream_yields(classifier, files):
    with expect_error(ImageFormatError, "image 2"):
        classifier.predict([files[0], b"no image"])


def test_an_image_that_is_too_large_keeps_its_own_code(classifier, monkeypatch, files):
    monkeypatch.setattr("cnnkit.pictures.MAX_PIXELS", 10)
    assert [error.code for error in classifier.stream([files[0].read_bytes(), files[0]])] == ["image-too-large"] * 2


@pytest.mark.parametrize("bad", [None, Image.new("L", (0, 3)), 3.5], ids=["None", "no pixels", "a number"])
def test_an_object_that_is_no_image_yields_its_error_in_its_place(classifier, files, bad):
    found = list(classifier.stream([files[0], bad, files[1]]))
    assert [isinstance(result, ImageError) for result in found] == [False, True, False]


def test_results_come_while_images_are_still_being_made(classifier, files):
    taken = []

    def images():
        for path in files:
            taken.append(path)
            yield path

    stream = classifier.stream(images(), batch_size=1)
    next(stream)
    assert len(taken) == 1


def test_no_images_give_no_predictions(classifier):
    assert classifier.predict([]) == []


@pytest.mark.parametrize("options", [{"top": 0}, {"top": -1}, {"batch_size": 0}])
def test_counts_below_one_are_a_usage_error(classifier, files, options):
    with expect_error(UsageError):
        classifier.predict(files, **options)


def test_what_was_done_to_an_image_and_where_it_came_from_is_said(classifier, tmp_path):
    Image.new("L", (10, 3)).save(tmp_path / "wide.png")
    named, unnamed = classifier.predict([tmp_path / "wide.png", np.zeros((6, 5), np.uint8)])
    assert named.source == str(tmp_path / "wide.png")
    assert named.steps == ("contain from 10×3 to 5×6",)
    assert (unnamed.source, unnamed.steps) == ("image 2", ())


@pytest.mark.parametrize("kind", [str, Path, Path.read_bytes])
def test_one_image_in_place_of_a_list_is_a_usage_error(classifier, files, kind):
    with pytest.raises(UsageError):
        classifier.predict(kind(files[0]))


def test_softmax_neither_overflows_nor_loses_small_probabilities():
    logits = np.array([[1000.0, 999.0, -1000.0], [-1e30, -1e30, -1e30], [0.0, 0.0, np.log(2.0)]], np.float32)
    found = softmax(logits)
    assert found[0] == pytest.approx([1 / (1 + np.exp(-1)), 1 / (1 + np.e), 0], abs=1e-12)
    assert found[1] == pytest.approx([1 / 3] * 3)
    assert found[2] == pytest.approx([0.25, 0.25, 0.5], abs=1e-6)
    assert found.dtype == np.float64
