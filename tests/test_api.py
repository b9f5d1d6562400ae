"""The public names: what `cnnkit` promises to Python programs."""

import inspect
import io
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cnnkit
from cnnkit.errors import CheckpointError, DataError, ImageError, UnknownNameError, UsageError, ZooError
from cnnkit.training.results import EpochRecord
from cnnkit.training.runs import recipe_of
from tests.expecting import expect_error

PUBLIC = {
    "Classifier", "CnnkitError", "ModelCard", "ModelSpec", "Preprocessing", "Recipe", "attack", "benchmark",
    "create_model", "default_recipe", "doctor", "evaluate", "explain", "export", "find_mistakes", "list_datasets",
    "list_models", "load", "open_dataset", "report", "serve", "summarize", "train", "tune", "verify", "__version__",
}  # fmt: skip
SIGNATURES = {
    "load": ("(ref='digits', *, device='auto', trust_code=False, provider=None, torch=False, **foreign)"),
    "create_model": "(name, num_classes=None, input_shape=None)",
    "train": (
        "(recipe=None, *, data_dir=None, runs_dir='runs', device='auto', resume=None, checkpoint_every=0, "
        "trust_code=False, stop=None)"
    ),
    "default_recipe": "(model, /, **changes)",
    "evaluate": (
        "(ref, *, data=None, split=None, data_dir=None, batch_size=256, top_k=5, skip_damaged=False, device='auto', "
        "trust_code=False, untrained=False, seed=None, **foreign)"
    ),
    "explain": "(image, ref='digits', *, target=None, layer=None, device='auto', trust_code=False, **foreign)",
    "export": (
        "(ref, output=None, *, raw_input=False, shape=None, data_dir=None, trust_code=False, precision='fp32', "
        "accuracy_budget=0.5, force=False, device='auto', data=None, skip_damaged=False, **foreign)"
    ),
    "find_mistakes": (
        "(ref, *, data=None, split=None, data_dir=None, top=36, batch_size=256, skip_damaged=False, device='auto', "
        "trust_code=False, output=None, **foreign)"
    ),
    "attack": (
        "(ref, *, data=None, split=None, data_dir=None, skip_damaged=False, only=None, norms=None, epsilons=None, "
        "steps=None, step_size=None, restarts=None, images=1000, targets=None, seed=0, output=None, device='auto', "
        "batch_size=256, "
        "trust_code=False, stop=None, **foreign)"
    ),
    "report": (
        "(ref, *, without=(), data=None, data_dir=None, skip_damaged=False, images=None, device='auto', "
        "trust_code=False, output=None, **foreign)"
    ),
    "benchmark": (
        "(*refs, devices=('auto',), batches=None, threads=None, torch=False, seconds=1.0, shape=None, trust_code=False)"
    ),
    "summarize": (
        "(ref, *, batch=1, shape=None, depth=None, fold=False, trust_code=False, compare=None, profile=False, "
        "device='auto')"
    ),
    "serve": "(refs=(), settings=None, **foreign)",
    "tune": "(ref, *, device='auto', batch=32, seconds=1.0)",
    "doctor": "()",
    "verify": (
        "(ref, *, against=None, data=None, split=None, data_dir=None, skip_damaged=False, device='auto', "
        "trust_code=False)"
    ),
    "list_models": "()",
    "list_datasets": "(data_dir=None)",
    "open_dataset": "(name, *, data_dir=None, split_seed=0, validation_fraction=0.2, test_fraction=0.2)",
}


def test_the_public_names_are_these() -> None:
    assert set(cnnkit.__all__) == set(dir(cnnkit)) == PUBLIC
    assert all(getattr(cnnkit, name) is not None for name in PUBLIC)
    with expect_error(AttributeError, "nosuch"):
        _ = cnnkit.nosuch


@pytest.mark.parametrize("name", list(SIGNATURES))
def test_the_signatures_are_these(name: str) -> None:
    signature = inspect.signature(getattr(cnnkit, name))
    bare = signature.replace(
        parameters=[p.replace(annotation=p.empty) for p in signature.parameters.values()],
        return_annotation=signature.empty,
    )
    assert str(bare) == SIGNATURES[name]


def test_the_package_is_typed() -> None:
    assert files("cnnkit").joinpath("py.typed").is_file()


def test_a_classifier_takes_images_in_any_form(photos_onnx: Path, photos: Path) -> None:
    path = photos / "light" / "00.png"
    with Image.open(path) as image:
        pixels = np.asarray(image)
        content = io.BytesIO()
        image.save(content, "PNG")
        given = [path, str(path), path.read_bytes(), content.getvalue(), image, pixels, pixels[..., 0], pixels[..., :1]]
        found = cnnkit.load(photos_onnx, device="cpu").predict(given)
    assert [prediction.label for prediction in found] == ["light"] * 8
    assert found[0].scores == found[1].scores == found[2].scores == found[4].scores
    assert [prediction.source for prediction in found[:3]] == [str(path), str(path), "image 3"]


def test_an_open_classifier_is_taken_as_it_is(photos_onnx: Path, photos: Path) -> None:
    classifier = cnnkit.load(photos_onnx, device="cpu")
    assert cnnkit.load(classifier, torch=True) is classifier
    given = {"data": str(photos), "split": "all"}
    found = cnnkit.evaluate(classifier, **given)
    assert replace(found, seconds=0) == replace(cnnkit.evaluate(photos_onnx, device="cpu", **given), seconds=0)
    for options in ({"device": "cuda"}, {"labels": "names.txt"}, {"untrained": True}):
        with pytest.raises(UsageError):
            cnnkit.evaluate(classifier, **given, **options)


def test_predictions_are_sorted_and_sum_to_one(tiny_onnx: Path) -> None:
    classifier = cnnkit.load(str(tiny_onnx))
    images = list(np.random.default_rng(0).integers(0, 256, (5, 28, 28, 3), np.uint8))
    for prediction in classifier.predict(images, batch_size=2):
        probabilities = [score.probability for score in prediction.scores]
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) == pytest.approx(1)
        assert {score.label for score in prediction.scores} == set(classifier.card.labels)


def test_a_bad_image_raises_or_takes_its_place_in_the_stream(photos_onnx: Path, photos: Path) -> None:
    classifier = cnnkit.load(photos_onnx)
    images = [photos / "dark" / "00.png", b"no image", photos / "light" / "00.png"]
    with pytest.raises(ImageError):
        classifier.predict(images)
    kinds = [type(result).__name__ for result in classifier.stream(images)]
    assert kinds == ["Prediction", "ImageFormatError", "Prediction"]


def test_runs_checkpoints_and_files_are_opened_alike(photos_run: Path, photos_onnx: Path, photos: Path) -> None:
    refs = (photos_run, photos_run / "best.safetensors", photos_onnx)
    found = [cnnkit.load(ref, device="cpu").predict([photos / "dark" / "00.png"])[0] for ref in refs]
    assert {prediction.label for prediction in found} == {"dark"}
    assert [p.probability for p in found] == pytest.approx([found[0].probability] * 3, abs=1e-5)


@pytest.mark.usefixtures("no_zoo")
@pytest.mark.parametrize(
    ("ref", "error"),
    [
        ("nosuch", UnknownNameError),
        ("lenet", CheckpointError),
        ("nowhere.onnx", CheckpointError),
        ("nowhere.safetensors", CheckpointError),
        ("torchvision/resnet18", CheckpointError),
    ],
)
def test_what_cannot_be_loaded_raises_one_of_our_errors(ref: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        cnnkit.load(ref)


def test_a_damaged_index_is_a_zoo_error(tmp_path: Path, zoo_at: Callable[[Path], Path]) -> None:
    (tmp_path / "index.json").write_text("{")
    zoo_at(tmp_path)
    with expect_error(ZooError, "index.json"):
        cnnkit.load("digits")


def test_default_recipes_are_those_of_the_registry_with_changes() -> None:
    recipe = cnnkit.default_recipe("lenet", epochs=3, data="mnist", seed=None)
    assert (recipe.model, recipe.epochs, recipe.data, recipe.seed) == ("lenet", 3, "mnist", 0)
    assert (recipe.optimizer, recipe.learning_rate, recipe.batch_size) == ("sgd", 0.15, 256)
    other = cnnkit.default_recipe("torchvision/resnet18", data="cifar10")
    assert (other.model, other.normalisation) == ("torchvision/resnet18", "standard")


@pytest.mark.parametrize(
    ("model", "changes", "error"),
    [
        ("lenett", {}, UnknownNameError),
        ("lenet", {"epoch": 3}, UsageError),
        ("lenet", {"epochs": -1}, UsageError),
        ("lenet", {"weights": "lenet-mnist", "normalisation": "standard"}, UsageError),
    ],
)
def test_recipes_that_make_no_sense_are_refused(model: str, changes: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        cnnkit.default_recipe(model, **changes)


@pytest.mark.usefixtures("few_shapes")
def test_training_yields_epochs_and_leaves_a_run_with_curves(tmp_path: Path) -> None:
    recipe = cnnkit.default_recipe("softmax-regression", data="shapes", epochs=2)
    records = list(cnnkit.train(recipe, runs_dir=tmp_path, device="cpu"))
    assert [type(record) for record in records] == [EpochRecord] * 2
    run = tmp_path / "softmax-regression-shapes-1"
    assert (run / "curves.png").is_file()
    result = cnnkit.evaluate(run, device="cpu")
    assert (result.model, result.data, result.images) == (str(run), "shapes", 30)


@pytest.mark.usefixtures("few_shapes")
@pytest.mark.parametrize("epochs", [0, 1, 2])
def test_training_that_is_closed_early_keeps_what_there_is(epochs: int, tmp_path: Path) -> None:
    recipe = cnnkit.default_recipe("softmax-regression", data="shapes", epochs=1000)
    with closing(cnnkit.train(recipe, runs_dir=tmp_path, device="cpu")) as records:
        for _ in range(epochs):
            next(records)
    run = tmp_path / "softmax-regression-shapes-1"
    assert run.exists() == (epochs > 0)
    if epochs:
        assert (run / "curves.png").is_file()
        assert cnnkit.load(run).card.metrics["epoch"] <= epochs


@pytest.fixture
def begun(few_shapes: object, tmp_path: Path) -> Path:
    """A run that was closed after the second of its four epochs."""
    recipe = cnnkit.default_recipe("softmax-regression", data="shapes", epochs=4)
    with closing(cnnkit.train(recipe, runs_dir=tmp_path, device="cpu")) as records:
        assert [next(records).epoch, next(records).epoch] == [1, 2]
    return tmp_path / "softmax-regression-shapes-1"


def test_a_run_goes_on_from_its_folder_alone(begun: Path, tmp_path: Path) -> None:
    records = list(cnnkit.train(resume=begun, device="cpu"))
    assert [record.epoch for record in records] == [3, 4]
    straight = cnnkit.default_recipe("softmax-regression", data="shapes", epochs=4)
    expected = list(cnnkit.train(straight, runs_dir=tmp_path / "straight", device="cpu"))
    assert [r.validation_loss for r in records] == [r.validation_loss for r in expected[2:]]
    found, other = (cnnkit.load(run).card for run in (begun, tmp_path / "straight" / begun.name))
    assert found.weights_sha256 == other.weights_sha256
    assert list(cnnkit.train(resume=str(begun))) == []


def test_the_curves_of_a_resumed_run_are_those_of_all_its_epochs(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cnnkit.render import plots

    drawn = []
    monkeypatch.setattr(plots, "curves", lambda records, *_, **__: drawn.append([r.epoch for r in records]))
    list(cnnkit.train(resume=begun, device="cpu"))
    assert drawn == [[1, 2, 3, 4]]


def test_the_recipe_of_a_run_can_be_read_and_extended(begun: Path) -> None:
    recipe = recipe_of(begun)
    assert (recipe.model, recipe.epochs) == ("softmax-regression", 4)
    records = list(cnnkit.train(recipe.override({"epochs": 5}), resume=begun, device="cpu"))
    assert [record.epoch for record in records] == [3, 4, 5]
    assert recipe_of(begun).epochs == 5


def test_a_run_in_the_home_folder_is_found(begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    assert len(list(cnnkit.train(resume=f"~/{begun.name}", device="cpu"))) == 2


def test_without_recipe_and_run_there_is_nothing_to_train(tmp_path: Path) -> None:
    with expect_error(UsageError):
        list(cnnkit.train(runs_dir=tmp_path))
    with expect_error(UsageError, "run.toml"):
        list(cnnkit.train(resume=tmp_path))


@pytest.mark.usefixtures("few_shapes")
def test_states_are_saved_as_often_as_asked_for(tmp_path: Path) -> None:
    from cnnkit.training.state import read_state

    recipe = cnnkit.default_recipe("softmax-regression", data="shapes", epochs=1, batch_size=8)
    seen = []

    def positions() -> None:
        state = read_state(tmp_path / "softmax-regression-shapes-1")
        seen.append((state[1]["epoch"], state[1]["step"]) if state else None)

    with closing(cnnkit.train.steps(recipe, runs_dir=tmp_path, device="cpu", checkpoint_every=4)) as events:
        for event in events:
            if type(event).__name__ in {"StepProgress", "EpochRecord"}:
                positions()
    # The last of the six steps is always shown, after the state of the fourth.
    assert seen[-2:] == [(0, 4), (1, 0)]
    assert set(seen[:-2]) <= {None, (0, 4)}


@pytest.mark.usefixtures("nets")
def test_weights_that_name_code_are_trusted_only_when_asked(photos: Path, tmp_path: Path) -> None:
    recipe = cnnkit.default_recipe("tinynets:Regular", data=str(photos), epochs=1, batch_size=4)
    list(cnnkit.train(recipe, runs_dir=tmp_path, device="cpu"))
    again = recipe.override({"weights": str(tmp_path / "tinynets-Regular-photos-1")})
    with expect_error(CheckpointError, "--trust-code"):
        list(cnnkit.train(again, runs_dir=tmp_path, device="cpu"))
    assert len(list(cnnkit.train(again, runs_dir=tmp_path, device="cpu", trust_code=True))) == 1


@pytest.mark.usefixtures("few_shapes")
def test_folders_and_files_may_be_given_as_text(tmp_path: Path) -> None:
    recipe = cnnkit.default_recipe("softmax-regression", data="shapes", epochs=1)
    list(cnnkit.train(recipe, runs_dir=str(tmp_path), data_dir=str(tmp_path), device="cpu"))
    run = str(tmp_path / "softmax-regression-shapes-1")
    assert cnnkit.export(run, str(tmp_path / "net.onnx"), data_dir=str(tmp_path)).path == tmp_path / "net.onnx"
    assert cnnkit.evaluate(run, data_dir=str(tmp_path)).images == 30
    assert cnnkit.list_datasets(str(tmp_path))[0].folder == tmp_path


@pytest.mark.usefixtures("offline")
def test_training_by_name_takes_the_recipe_of_that_name(tmp_path: Path) -> None:
    with expect_error(DataError, "fashion-mnist"):
        list(cnnkit.train("lenet", data_dir=tmp_path, runs_dir=tmp_path))


def test_export_and_summary_speak_of_the_same_network(photos_run: Path, tmp_path: Path) -> None:
    result = cnnkit.export(photos_run, tmp_path / "net.onnx")
    assert result.certificate.passed
    assert cnnkit.summarize(photos_run).parameters == 785 * 2
    assert cnnkit.load(result.path).card.parity == result.certificate


def test_lists_are_those_of_the_command_line() -> None:
    assert {"lenet", "alexnet", "digit-cnn"} <= {model.name for model in cnnkit.list_models()}
    assert {"mnist", "cifar10", "food101", "shapes"} <= {data.name for data in cnnkit.list_datasets()}


def test_networks_are_built_with_random_weights() -> None:
    network = cnnkit.create_model("mnist-cnn", num_classes=4)
    assert network.fc.out_features == 4


def test_every_error_is_one_that_can_be_caught_at_once() -> None:
    from cnnkit import errors

    raised = [
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, Exception) and not issubclass(value, Warning)
    ]
    assert len(raised) > 10
    assert all(issubclass(error, cnnkit.CnnkitError) for error in raised)
