import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnkit.errors import OutputError, UsageError
from cnnkit.recipe import Recipe, read_recipe_table

positive = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
fraction = st.floats(0, 1, exclude_min=True, exclude_max=True)
text = st.text(st.characters(exclude_categories=["Cs"]))
OVERRIDES = st.fixed_dictionaries(
    {},
    optional={
        "model": text,
        "data": text,
        "input_shape": st.tuples(st.integers(1, 3), st.integers(1, 4096), st.integers(1, 4096)),
        "epochs": st.integers(1, 100_000),
        "batch_size": st.integers(1, 1_000_000),
        "optimizer": st.sampled_from(["sgd", "adam", "adamw", "rmsprop"]),
        "learning_rate": positive,
        "schedule": st.sampled_from(["constant", "cosine", "one-cycle"]),
        "momentum": st.floats(0, 1, exclude_max=True),
        "weight_decay": st.floats(0, allow_infinity=False, allow_nan=False),
        "initialisation": st.sampled_from(["default", "xavier"]),
        "normalisation": st.sampled_from(["unit", "standard"]),
        "augmentation": st.sampled_from(["none", "affine", "digits", "drawings"]),
        "validation_fraction": fraction,
        "test_fraction": fraction,
        "seed": st.integers(0, 2**32 - 1),
    },
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(OVERRIDES)
def test_a_recipe_survives_its_toml_exactly(tmp_path_factory, changes):
    path = tmp_path_factory.getbasetemp() / "run.toml"
    recipe = Recipe().override(changes)
    assert {name: getattr(recipe, name) for name in changes} == changes
    recipe.write(path)
    assert Recipe.from_toml(path) == recipe


def test_what_is_unset_is_not_written():
    assert "input_shape" not in tomllib.loads(Recipe().to_toml())["recipe"]


def test_a_none_changes_nothing():
    recipe = Recipe(model="lenet", epochs=7)
    assert recipe.override({"epochs": None, "model": None}) == recipe


def test_overriding_leaves_the_original_as_it_was():
    recipe = Recipe(epochs=7)
    assert recipe.override({"epochs": 9}).epochs == 9
    assert recipe.epochs == 7


WRONG = [
    ("epochs", 0),
    ("epochs", 2.5),
    ("epochs", "many"),
    ("batch_size", 0),
    ("optimizer", "lion"),
    ("learning_rate", 0.0),
    ("learning_rate", float("nan")),
    ("learning_rate", float("inf")),
    ("schedule", "linear"),
    ("momentum", 1.0),
    ("momentum", float("nan")),
    ("weight_decay", -1e-9),
    ("weight_decay", float("inf")),
    ("loss", "hinge"),
    ("initialisation", "he"),
    ("normalisation", "none"),
    ("augmentation", "flip"),
    ("validation_fraction", 0.0),
    ("validation_fraction", 1.0),
    ("test_fraction", float("nan")),
    ("seed", -1),
    ("seed", 2**32),
    ("input_shape", (4, 28, 28)),
    ("input_shape", (1, 28)),
    ("input_shape", (1, 28, 5000)),
    ("learning-rate", 0.1),
    ("lr", 0.1),
]


@pytest.mark.parametrize(("field", "value"), WRONG, ids=str)
def test_a_wrong_field_or_value_is_refused_by_its_name(field, value):
    with pytest.raises(UsageError, match=rf"the recipe is not valid: {field}\b"):
        Recipe().override({field: value})


def test_every_wrong_field_is_named_at_once():
    with pytest.raises(UsageError) as caught:
        Recipe().override({"epochs": 0, "batch_size": 0, "colour": "red"})
    assert all(name in str(caught.value) for name in ("epochs", "batch_size", "colour"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"", r"no \[recipe\] table"),
        (b"recipe = 3\n", r"no \[recipe\] table"),
        (b"[training]\nepochs = 3\n", r"no \[recipe\] table"),
        (b"[recipe]\nepochs = \n", "Invalid value"),
        (b"[recipe]\nmodel = '\xff'\n", "decode"),
        (b"[recipe]\nepochs = 0\n", "epochs"),
        (b"[recipe]\nepoch = 5\n", "epoch: Extra"),
    ],
    ids=["missing", "empty", "no table", "other table", "no toml", "no utf-8", "out of range", "unknown field"],
)
def test_a_file_that_is_no_recipe_is_refused_with_the_reason(tmp_path, content, said):
    path = tmp_path / "run.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=said):
        Recipe.from_toml(path)


def test_a_folder_in_place_of_a_file_is_refused_by_name(tmp_path):
    with pytest.raises(UsageError, match=tmp_path.name):
        read_recipe_table(tmp_path)


def test_only_what_the_file_gives_is_read(tmp_path):
    (tmp_path / "run.toml").write_text("[recipe]\nepochs = 3\n[result]\naccuracy = 0.5\n")
    assert read_recipe_table(tmp_path / "run.toml") == {"epochs": 3}


def test_writing_where_nothing_can_be_written_is_an_output_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"run\.toml"):
        Recipe().write(tmp_path / "file" / "run.toml")
