import tomllib

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnkit.data.sets import BUILT_IN
from cnnkit.errors import OutputError, UsageError
from cnnkit.options import Parameter, parameters
from cnnkit.recipe import Recipe
from cnnkit.runfile import is_of_earlier_version, read_recipe_table

text = st.text(st.characters(exclude_categories=["Cs"]))


def fitting(changes):
    """Leave out what has no effect beside the rest; everything else stays as it is drawn."""
    weights, optimizer = changes.get("weights"), changes.get("optimizer", "adam")
    idle = {
        *(["normalisation", "initialisation"] if weights else ["freeze", "allow_overlap"]),
        *(["momentum"] if optimizer not in {"sgd", "rmsprop"} else []),
        *(["nesterov"] if optimizer != "sgd" or not changes.get("momentum") else []),
        *(["warmup_epochs"] if changes.get("schedule") == "one-cycle" else []),
        *(["decay_epochs", "decay_factor"] if changes.get("schedule") != "step" else []),
        *(["adversarial_steps", "adversarial_step_size"] if not changes.get("adversarial_training") else []),
        *(["drawn_digits"] if changes.get("data", "mnist") != "mnist" else []),
        *(["test_fraction", "skip_damaged"] if changes.get("data", "mnist") in BUILT_IN else []),
    }
    changes = {name: value for name, value in changes.items() if name not in idle}
    epochs = changes.get("epochs", 10)
    if changes.get("warmup_epochs", 0) >= epochs > 0:
        changes["warmup_epochs"] = epochs / 2
    return changes


def values_of(field: Parameter) -> st.SearchStrategy[object]:
    """What can be given for a field of the recipe."""
    limit = field.option
    if field.choices:
        return st.sampled_from([name for name in field.choices if name != "weights"])
    if field.kind is bool:
        return st.booleans()
    if field.kind is int:
        return st.integers(int(limit.ge or 0), int(10**9 if limit.le is None else limit.le))
    if field.kind is float:
        least, most = (limit.ge if limit.gt is None else limit.gt) or 0, limit.le if limit.lt is None else limit.lt
        edges = {"exclude_min": limit.gt is not None, "exclude_max": limit.lt is not None}
        return st.floats(least, 1e6 if most is None else most, **edges)
    return text if field.kind is str else st.tuples(st.integers(1, 3), st.integers(1, 4096), st.integers(1, 4096))


FIELDS = {field.name: values_of(field) for field in parameters(Recipe)} | {"model": text}
OVERRIDES = st.fixed_dictionaries({}, optional=FIELDS).map(fitting)


def test_every_field_but_the_model_is_an_option():
    assert FIELDS.keys() == Recipe.model_fields.keys()


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
    ("epochs", -1),
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
    ("test_fraction", 1.0),
    ("test_fraction", -0.1),
    ("split_seed", -1),
    ("split_seed", 2**32),
    ("split_by", "name"),
    ("fit", "crop"),
    ("crop_fraction", 0.0),
    ("crop_fraction", 1.1),
    ("interpolation", "cubic"),
    ("seed", -1),
    ("seed", 2**32),
    ("input_shape", (4, 28, 28)),
    ("input_shape", (1, 28)),
    ("input_shape", (1, 28, 5000)),
    ("learning-rate", 0.1),
    ("lr", 0.1),
    ("weights", 3),
    ("freeze", "perhaps"),
    ("epochs", 100_001),
    ("batch_size", 1_000_001),
    ("max_seconds", -1.0),
    ("max_seconds", float("inf")),
    ("max_seconds", float("nan")),
    ("patience", -1),
    ("patience", 1.5),
    ("limit_batches", -1),
    ("warmup_epochs", -0.5),
    ("warmup_epochs", float("nan")),
    ("warmup_epochs", float("inf")),
    ("decay_epochs", 0),
    ("decay_factor", 0.0),
    ("decay_factor", 1.0),
    ("clip_norm", -1.0),
    ("clip_norm", float("inf")),
    ("clip_norm", float("nan")),
    ("ema", 1.0),
    ("ema", -0.1),
    ("ema", float("nan")),
    ("label_smoothing", 1.0),
    ("label_smoothing", -0.1),
    ("class_weights", "even"),
    ("mixup", -0.1),
    ("mixup", float("inf")),
    ("mixup", float("nan")),
    ("adversarial_training", -0.1),
    ("adversarial_training", 1.0),
    ("adversarial_training", float("nan")),
    ("adversarial_steps", 0),
    ("adversarial_step_size", 1.0),
    ("precision", "fp64"),
    ("compile", "fast"),
    ("tensorboard", "sometimes"),
]


@pytest.mark.parametrize(("field", "value"), WRONG, ids=str)
def test_a_wrong_field_or_value_is_refused_by_its_name(field, value):
    with pytest.raises(UsageError, match=rf"the recipe is not valid: {field}\b"):
        Recipe().override({field: value})


TOGETHER = [
    ({"nesterov": True}, "--nesterov has no effect"),
    ({"nesterov": True, "optimizer": "sgd"}, "--nesterov has no effect"),
    ({"nesterov": True, "optimizer": "rmsprop", "momentum": 0.9}, "--nesterov has no effect"),
    ({"schedule": "one-cycle", "warmup_epochs": 1}, r"--warmup-epochs 1\.0 has no effect"),
    ({"momentum": 0.9}, r"--momentum 0\.9 has no effect"),
    ({"decay_epochs": 3}, "--decay-epochs 3 has no effect"),
    ({"data": "mnist", "skip_damaged": True}, "--skip-damaged has no effect"),
    ({"schedule": "cosine", "decay_factor": 0.5}, r"--decay-factor 0\.5 has no effect"),
    ({"adversarial_steps": 3}, "--adversarial-steps 3 has no effect"),
    ({"adversarial_step_size": 0.1}, r"--adversarial-step-size 0\.1 has no effect"),
    ({"weights": "digits", "normalisation": "unit"}, "--normalisation unit has no effect with --weights"),
    ({"weights": "digits", "normalisation": "standard"}, "--normalisation standard has no effect with --weights"),
    ({"weights": "digits", "initialisation": "xavier"}, "--initialisation xavier has no effect with --weights"),
    ({"normalisation": "weights"}, "--normalisation weights is for a run that has --weights"),
    ({"allow_overlap": True}, "--allow-overlap has no effect"),
    ({"data": "mnist", "test_fraction": 0.1}, r"--test-fraction 0\.1 has no effect"),
    ({"data": "fashion-mnist", "drawn_digits": 0.1}, r"--drawn-digits 0\.1 has no effect on another data set"),
    ({"data": "photos", "drawn_digits": 0.1}, r"--drawn-digits 0\.1 has no effect on another data set"),
    ({"epochs": 5, "warmup_epochs": 5}, "--warmup-epochs 5 leaves nothing of 5 epochs"),
    ({"epochs": 1, "warmup_epochs": 1.5}, r"--warmup-epochs 1\.5 leaves nothing of 1 epoch\."),
    ({"freeze": True}, "--freeze has no effect without --weights"),
    # What is asked for is refused, also where it is the default.
    ({"decay_epochs": 30}, "--decay-epochs 30 has no effect"),
    ({"adversarial_steps": 7}, "--adversarial-steps 7 has no effect"),
    ({"data": "mnist", "test_fraction": 0.2}, r"--test-fraction 0\.2 has no effect"),
]


@pytest.mark.parametrize(("fields", "said"), TOGETHER, ids=str)
def test_fields_that_do_not_go_together_are_refused_with_the_reason(fields, said, tmp_path):
    with pytest.raises(UsageError, match=f"the recipe is not valid: .*{said}"):
        Recipe().override(fields)
    (tmp_path / "run.toml").write_text(tomli_w.dumps({"recipe": fields}))
    with pytest.raises(UsageError, match=said):
        Recipe.from_toml(tmp_path / "run.toml")


@pytest.mark.parametrize(
    "fields",
    [
        {"nesterov": True, "optimizer": "sgd", "momentum": 0.9},
        {"schedule": "one-cycle", "warmup_epochs": 0.0},
        {"schedule": "cosine", "epochs": 5, "warmup_epochs": 4.99},
        {"freeze": True, "weights": "digits"},
        {"weights": "digits"},
        {"weights": "digits", "normalisation": "weights"},
        {"optimizer": "rmsprop", "momentum": 0.9},
        {"schedule": "step", "decay_epochs": 2, "decay_factor": 0.5},
        {"data": "photos", "test_fraction": 0.0},
        {"epochs": 0},
        {"data": "mnist", "drawn_digits": 0.5},
        {"momentum": 0.0, "nesterov": False},
        {"weights": "digits", "initialisation": "default"},
        {"data": "photos", "skip_damaged": True, "fit": "cover", "crop_fraction": 0.9},
    ],
    ids=str,
)
def test_fields_that_go_together_are_taken(fields):
    recipe = Recipe().override(fields)
    assert {name: getattr(recipe, name) for name in fields} == fields


def test_a_field_loses_its_value_with_its_effect():
    sgd = Recipe(optimizer="sgd", momentum=0.9, nesterov=True)
    assert sgd.override({"optimizer": "adam"}) == Recipe()
    standard = Recipe(normalisation="standard", initialisation="xavier")
    started = standard.override({"weights": "digits"})
    assert (started.normalisation, started.initialisation) == ("weights", "default")
    assert started.override({"weights": ""}).normalisation == "unit"
    drawn = Recipe(drawn_digits=0.2)
    assert (drawn.drawn_digits, drawn.override({"data": "fashion-mnist"}).drawn_digits) == (0.2, 0)


def test_which_fields_were_given_is_known():
    given = Recipe.layered({"epochs": 3}, {"data": "photos", "test_fraction": 0.2}, strict={"test_fraction"})
    assert given.model_fields_set == {"test_fraction"}
    assert given.override({"epochs": 4}).model_fields_set == {"epochs"}
    assert given == given.override({"epochs": 3})


def test_a_recipe_of_an_earlier_version_means_what_it_meant(tmp_path):
    # The fields of version 0.1: what came later is off.
    (tmp_path / "run.toml").write_text(
        '[recipe]\nmodel = "lenet"\ndata = "mnist"\nepochs = 3\nbatch_size = 64\noptimizer = "sgd"\n'
        'learning_rate = 0.1\nschedule = "cosine"\nmomentum = 0.9\nweight_decay = 0.0\nloss = "cross-entropy"\n'
        'initialisation = "xavier"\nnormalisation = "unit"\naugmentation = "none"\nvalidation_fraction = 0.2\n'
        "test_fraction = 0.2\nseed = 4\n"
    )
    recipe = Recipe.recorded(read_recipe_table(tmp_path / "run.toml"))
    later = {name: getattr(recipe, name) for name in FIELDS if name not in (tmp_path / "run.toml").read_text()}
    assert {value for value in later.values() if value} == {30, 7, 0.1, "none", "fp32", "auto", "path", 4}
    assert (recipe.split_by, recipe.split_seed, recipe.seed) == ("path", 4, 4)
    assert (recipe.fit, recipe.interpolation, recipe.crop_fraction) == ("auto", "auto", None)
    assert (recipe.decay_epochs, recipe.decay_factor, recipe.class_weights) == (30, 0.1, "none")
    assert (recipe.adversarial_training, recipe.adversarial_steps) == (0, 7)


def test_a_recorded_recipe_of_this_version_is_taken_as_it_is():
    recipe = Recipe(model="lenet", data="photos", seed=4, split_seed=9, skip_damaged=True)
    assert Recipe.recorded(recipe.model_dump(mode="json")) == recipe
    assert Recipe.recorded({}) == Recipe()
    assert Recipe.recorded({"model": "lenet", "input_shape": None}).split_by == "path"
    assert Recipe.recorded({"model": "lenet"}).split_seed == 0
    with pytest.raises(UsageError, match="epoch: there is no such field"):
        Recipe.recorded({"epoch": 3})


def test_a_recipe_that_a_user_writes_is_not_taken_for_one_of_an_earlier_version():
    whole = Recipe(seed=4).model_dump(mode="json", exclude_none=True)
    earlier = {name: value for name, value in whole.items() if not name.startswith("split_")}
    assert is_of_earlier_version(earlier)
    assert not is_of_earlier_version(whole)
    assert not is_of_earlier_version({"model": "lenet", "seed": 4})


def test_every_wrong_field_is_named_at_once():
    with pytest.raises(UsageError) as caught:
        Recipe().override({"epochs": -1, "batch_size": 0, "colour": "red"})
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
        (b"[recipe]\nepochs = -1\n", "epochs"),
        (b"[recipe]\nepoch = 5\n", "epoch: there is no such field .did you mean epochs"),
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


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"adversarial_steps": 10}, 0.025),
        ({"adversarial_steps": 1}, 0.125),
        ({"adversarial_steps": 10, "adversarial_step_size": 0.03}, 0.03),
    ],
    ids=str,
)
def test_the_steps_of_adversarial_training_are_long_enough_to_cross_the_ball(fields, size):
    assert Recipe(adversarial_training=0.1, **fields).adversarial_step == pytest.approx(size)
