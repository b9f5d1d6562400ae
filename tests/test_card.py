import dataclasses
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnkit.card import CARD_KEY, ModelCard
from cnnkit.certificate import ParityCertificate
from cnnkit.data.results import Pretraining, SplitRecord
from cnnkit.errors import CheckpointError
from cnnkit.images import Preprocessing
from cnnkit.recipe import Recipe
from tests.expecting import expect_error

GREY = Preprocessing(1, 28, 28, (0.1307,), (0.3081,), "mnist-box", "light-on-dark")
RGB = Preprocessing(3, 224, 192, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "cover", crop=0.875)
FULL = ModelCard(
    model="lenet",
    labels=("null", "eins", "zwei – zwo", "三"),
    preprocessing=GREY,
    dataset="mnist",
    fingerprint="abc",
    recipe={"model": "lenet", "data": "mnist", "epochs": 3},
    metrics={"test_accuracy": 0.9875},
    versions={"torch": "2.15.0"},
    weights_sha256="0" * 64,
    split=SplitRecord(
        "content", 7, 0.2, 0.1, ("test",), {"train": 40, "validation": 10, "test": 6}, "pixels", "1" * 64
    ),
    pretraining=Pretraining("runs/a", "2" * 64, True, {"test": 2}),
    parity=ParityCertificate("10 drawn shapes", (1, 2, 7), 1e-6, 1e-7, 0.01, 1.0, 1e-4, {"torch": "2.15.0"}),
)


def read(text):
    return ModelCard.from_metadata({CARD_KEY: text, "other": "x"}, "lenet.onnx")


RESIZED = Preprocessing(3, 224, 224, (0.5,) * 3, (0.5,) * 3, "cover", interpolation="bicubic", resize=232)


@pytest.mark.parametrize(
    "card", [FULL, *(ModelCard(model="a.b:C", labels=("x",), preprocessing=p) for p in (RGB, RESIZED))]
)
def test_a_card_survives_its_json_exactly(card):
    assert read(card.to_json()) == card


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    labels=st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"])), min_size=1, unique=True),
    mean=st.floats(allow_nan=False, allow_infinity=False),
    std=st.floats(0, exclude_min=True, allow_infinity=False),
    accuracy=st.floats(0, 1),
)
def test_any_labels_and_numbers_survive(labels, mean, std, accuracy):
    form = Preprocessing(1, 3, 5, (mean,), (std,))
    card = ModelCard(model="lenet", labels=tuple(labels), preprocessing=form, metrics={"accuracy": accuracy})
    assert read(card.to_json()) == card


def test_a_card_of_before_interpolation_and_ranges_were_noted_is_read():
    text = json.loads(FULL.to_json())
    for later in ("interpolation", "value_range", "resize"):
        del text["preprocessing"][later]
    for verified in (False, True):
        card = ModelCard.from_metadata({CARD_KEY: json.dumps(text)}, "lenet.onnx", verified=verified)
        assert card.preprocessing.interpolation == "bilinear"
        assert card.preprocessing.value_range is None
        assert card == FULL


def test_a_card_of_before_splits_were_recorded_is_read_and_its_recipe_says_the_split():
    text = json.loads(FULL.to_json())
    del text["split"], text["pretraining"]
    text["recipe"] = {"model": "lenet", "data": "mnist", "seed": 5, "validation_fraction": 0.3}
    for verified in (False, True):
        card = ModelCard.from_metadata({CARD_KEY: json.dumps(text)}, "lenet.onnx", verified=verified)
        assert (card.split, card.pretraining) == (None, None)
        assert card.split_settings == {
            "split_by": "path", "split_seed": 5, "validation_fraction": 0.3, "test_fraction": 0.2
        }  # fmt: skip


def test_the_split_of_a_card_is_that_of_its_recipe():
    recipe = Recipe(data="photos", seed=5, split_seed=9, test_fraction=0.0).model_dump(mode="json")
    assert dataclasses.replace(FULL, recipe=recipe).split_settings == {
        "split_by": "content", "split_seed": 9, "validation_fraction": 0.2, "test_fraction": 0.0
    }  # fmt: skip
    assert dataclasses.replace(FULL, recipe=None).split_settings == {}


def test_interpolation_and_range_survive():
    form = dataclasses.replace(RGB, interpolation="bicubic", value_range=(0.0, 4095.0))
    card = ModelCard(model="a.b:C", labels=("x",), preprocessing=form)
    assert read(card.to_json()) == card
    assert ModelCard.from_metadata({CARD_KEY: card.to_json()}, "x", verified=True) == card
    with expect_error(CheckpointError, "interpolation"):
        read(card.to_json().replace("bicubic", "cubic"))


def test_a_card_of_the_zoo_is_the_same_without_being_validated():
    assert ModelCard.from_metadata({CARD_KEY: FULL.to_json()}, "lenet.onnx", verified=True) == FULL


def test_a_certificate_of_before_accuracies_were_noted_is_read():
    card = json.loads(FULL.to_json())
    del card["graph_sha256"]
    for name in (
        "images_count", "mean_absolute_difference", "torch_accuracy", "onnx_accuracy", "weights_sha256", "device",
    ):  # fmt: skip
        del card["parity"][name]
    assert read(json.dumps(card)) == FULL


@pytest.mark.parametrize("metadata", [{}, {"other": "x"}])
def test_a_file_without_a_card_has_none(metadata):
    assert ModelCard.from_metadata(metadata, "lenet.onnx") is None


def changed(path, value):
    """Return the JSON of the full card with one field, a dotted path, changed, or removed where value is `...`."""
    card = json.loads(FULL.to_json())
    place = card
    *way, last = path.split(".")
    for key in way:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return json.dumps(card)


WRONG = [
    ("model", ..., "model"),
    ("labels", [], "labels"),
    ("labels", ["a", "b", "a"], "labels must be distinct"),
    ("labels", [1, 2], "labels.0"),
    ("format", 2, "format"),
    ("colour", "red", "colour"),
    ("metrics.test_accuracy", "good", "metrics.test_accuracy"),
    ("recipe", "fast", "recipe"),
    ("parity.images", ..., "parity.images"),
    ("split.by", "name", "split.by"),
    ("split.hashes", "names", "split.hashes"),
    ("split.seed", "many", "split.seed"),
    ("split.digest", 3, "split.digest"),
    ("pretraining.weights", ..., "pretraining.weights"),
    ("pretraining.overlap", ["test"], "pretraining.overlap"),
    ("preprocessing", ..., "preprocessing"),
    ("preprocessing.channels", 2, "preprocessing.channels"),
    ("preprocessing.channels", 3, "mean and std need 3 values"),
    ("preprocessing.height", 0, "height and width must be from 1 to 4096, got 0×28"),
    ("preprocessing.width", -1, "height and width must be from 1 to 4096, got 28×-1"),
    ("preprocessing.height", 32, "mnist-box makes 1×28×28"),
    ("preprocessing.mean", [0.1, 0.2], "mean and std need 1 value each"),
    ("preprocessing.std", [0.0], "std"),
    ("preprocessing.std", [-1.0], "std"),
    ("preprocessing.fit", "squeeze", "preprocessing.fit"),
    ("preprocessing.polarity", "dark", "preprocessing.polarity"),
    ("preprocessing.crop", 0.0, "crop must be in (0, 1], got 0.0"),
    ("preprocessing.crop", 1.5, "crop must be in (0, 1], got 1.5"),
    ("preprocessing.resize", 32, "resize is for fit cover"),
    ("preprocessing.padding", 3, "preprocessing.padding"),
]


@pytest.mark.parametrize(("path", "value", "said"), WRONG)
def test_a_wrong_card_is_refused_with_the_file_and_the_field(path, value, said):
    with pytest.raises(CheckpointError) as caught:
        read(changed(path, value))
    assert "lenet.onnx" in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize("recipe", [{"epochs": -1}, {"epoch": 5}, {"data": 7}], ids=str)
def test_a_recipe_that_could_not_have_been_run_is_refused(recipe):
    with expect_error(CheckpointError, "recipe"):
        read(changed("recipe", {"model": "lenet", "data": "mnist", **recipe}))


NOT_FINITE = [("mean", math.nan), ("mean", math.inf), ("mean", -math.inf), ("std", math.nan), ("std", math.inf)]


@pytest.mark.parametrize(("field", "number"), NOT_FINITE)
def test_a_normalisation_that_would_make_every_answer_nan_is_refused(field, number):
    with expect_error(CheckpointError, field):
        read(changed(f"preprocessing.{field}", [number]))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '"card"', "\ud800"])
def test_what_is_no_card_at_all_is_refused(text):
    with expect_error(CheckpointError, "lenet.onnx"):
        read(text)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, len(FULL.to_json()) - 1), st.characters(exclude_categories=["Cs", "Cc"]))
def test_a_card_that_was_changed_by_hand_is_read_or_refused(index, character):
    text = FULL.to_json()
    try:
        card = read(text[:index] + character + text[index + 1 :])
    except CheckpointError:
        return
    assert len(card.preprocessing.mean) == card.preprocessing.channels


def test_a_card_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        FULL.model = "alexnet"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((1, 0, 28, (0.0,), (1.0,)), 4096),
        ((3, 28, 28, (0.0,), (1.0,)), "3 values"),
        ((1, 28, 28, (0.0,), (0.0,)), "std"),
        ((3, 28, 28, (0.0,) * 3, (1.0,) * 3, "mnist-box"), "1×28×28"),
        ((1, 32, 32, (0.0,), (1.0,), "mnist-box"), "1×28×28"),
        ((1, 28, 28, (0.0,), (1.0,), "cover", "as-is", math.nan), "crop"),
        ((1, 28, 28, (0.0,), (1.0,), "cover", "as-is", 1.0, "bilinear", None, 27), "resize"),
        ((1, 28, 28, (0.0,), (1.0,), "cover", "as-is", 1.0, "bilinear", None, 113), 113),
        ((1, 28, 20, (0.0,), (1.0,), "cover", "as-is", 1.0, "bilinear", None, 30), "square"),
        ((1, 28, 28, (0.0,), (1.0,), "contain", "as-is", 1.0, "bilinear", None, 30), "fit cover"),
        ((1, 28, 28, (0.0,), (1.0,), "cover", "as-is", 0.9, "bilinear", None, 30), "without crop"),
    ],
)
def test_a_preprocessing_that_makes_no_sense_cannot_be_made(arguments, said):
    with expect_error(ValueError, said):
        Preprocessing(*arguments)


def test_the_shape_of_a_preprocessing_is_that_of_the_pixels():
    assert RGB.shape == (224, 192, 3)
