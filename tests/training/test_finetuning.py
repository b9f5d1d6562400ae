"""Starting from trained weights: what is taken over, what is new, and what stays as it is."""

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn

from cnnkit.card import ModelCard
from cnnkit.data.results import Exposure, Pretraining
from cnnkit.errors import CheckpointError, CnnkitError, UnknownNameError, UsageError
from cnnkit.evaluation.accuracy import evaluate
from cnnkit.images import Preprocessing
from cnnkit.models import networks
from cnnkit.models.heads import head_of
from cnnkit.progress import Notice
from cnnkit.recipe import Recipe
from cnnkit.sources import create_model, find
from cnnkit.training import finetuning, loop
from cnnkit.training.finetuning import StartingWeights, read_weights, set_training_mode, start_from
from cnnkit.training.results import EpochRecord, TrainingEvent, TrainingFinished, TrainingStarted, TrainingStopped
from cnnkit.training.runs import recipe_of
from tests.expecting import expect_error

pytestmark = pytest.mark.usefixtures("few_shapes", "nets")
# Steps so short that no weight changes by them.
STILL = {"optimizer": "sgd", "learning_rate": 1e-30, "epochs": 1, "batch_size": 16}


def events_of(recipe: Recipe, runs: Path, **options: Any) -> list[TrainingEvent]:
    return list(loop.train_events(recipe, runs_dir=runs, device="cpu", **options))


def trained(runs: Path, **fields: Any) -> Path:
    finished = events_of(Recipe(**fields), runs, trust_code=True)[-1]
    assert isinstance(finished, TrainingFinished)
    return finished.run


def opened(run: Path) -> tuple[dict[str, Tensor], ModelCard]:
    network, card = find(str(run)).weights(trust_code=True)
    return network.state_dict(), card


def differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> set[str]:
    assert one.keys() == other.keys()
    return {name for name, t in one.items() if t.shape != other[name].shape or not torch.equal(t, other[name])}


@pytest.fixture(scope="module")
def regular(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained `tinynets:Regular`: a convolution, batch normalisation, dropout, and a head of two classes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1] / "nets")
        return trained(
            tmp_path_factory.mktemp("regular"),
            model="tinynets:Regular",
            data=str(photos),
            epochs=3,
            batch_size=4,
            normalisation="standard",
        )


# What is taken over.


def test_weights_of_the_same_classes_are_taken_over_whole(tiny_run: Path, tmp_path: Path) -> None:
    recipe = Recipe(model="shapes-cnn", data="shapes", weights=str(tiny_run), **STILL)
    *first, finished = events_of(recipe, tmp_path)
    assert [e.text for e in first if isinstance(e, Notice)] == [
        f"the split is that of {tiny_run}: by content, split seed 0",
        f"starting from {tiny_run}",
    ]
    (state, card), (source, its_card) = opened(finished.run), opened(tiny_run)
    assert differing(state, source) == set()
    assert card.preprocessing == its_card.preprocessing
    (record,) = (event for event in first if isinstance(event, EpochRecord))
    assert record.validation_accuracy == its_card.metrics["validation_accuracy"]


def test_for_other_classes_the_head_is_new_and_the_rest_is_not(tiny_run: Path, photos: Path, tmp_path: Path) -> None:
    recipe = Recipe(model="shapes-cnn", data=str(photos), weights=str(tiny_run), **STILL)
    *first, finished = events_of(recipe, tmp_path)
    notes = [event for event in first if isinstance(event, Notice)]
    assert notes[-1] == Notice(f"starting from {tiny_run}, with a new head (fc2) for other classes")
    # Its list has hashes of pixels, and a folder's are of files.
    (unknown,) = notes[:-1]
    assert unknown.warning
    said = (
        f"pretraining data unknown: the images of shapes that {tiny_run} was trained on cannot be compared with these"
    )
    assert unknown.text.startswith(said)
    (state, card), (source, _) = opened(finished.run), opened(tiny_run)
    assert differing(state, source) == {"fc2.weight", "fc2.bias"}
    assert state["fc2.weight"].shape == (2, 512)
    assert card.labels == ("dark", "light")


def test_images_come_in_the_form_that_the_weights_know(regular: Path, photos: Path, tmp_path: Path) -> None:
    its_card = opened(regular)[1]
    assert its_card.preprocessing.mean != (0.0,) * 3
    run = trained(tmp_path, model="tinynets:Regular", data=str(photos), weights=str(regular), **STILL)
    assert opened(run)[1].preprocessing == its_card.preprocessing


def test_another_size_keeps_the_normalisation(tiny_run: Path) -> None:
    source = read_weights(str(tiny_run))
    form = source.card.preprocessing
    assert source.form(Recipe()) is source.form(Recipe(input_shape=(3, 28, 28))) is form
    wider = source.form(Recipe(input_shape=(3, 28, 40)))
    assert (wider.height, wider.width, wider.mean, wider.std) == (28, 40, form.mean, form.std)


def test_the_box_of_mnist_fits_no_other_size() -> None:
    form = Preprocessing(1, 28, 28, (0.1,), (0.3,), "mnist-box", "light-on-dark")
    source = StartingWeights("it", {}, ModelCard("it", ("a", "b"), form))
    assert source.form(Recipe(input_shape=(1, 28, 28))).fit == "mnist-box"
    larger = source.form(Recipe(input_shape=(1, 32, 32)))
    assert (larger.fit, larger.polarity) == ("contain", "light-on-dark")


def test_the_recipe_says_how_images_get_there_where_it_says_anything() -> None:
    form = Preprocessing(
        3, 28, 28, (0.1,) * 3, (0.3,) * 3, fit="cover", crop=0.875, interpolation="bicubic", polarity="as-is"
    )
    source = StartingWeights("it", {}, ModelCard("it", ("a", "b"), form))
    assert source.form(Recipe()) is form
    assert source.form(Recipe(fit="cover", interpolation="bicubic")) == form
    assert source.form(Recipe(crop_fraction=1.0)) == replace(form, crop=1.0)
    assert source.form(Recipe(interpolation="box")) == replace(form, interpolation="box")
    resized = replace(source, card=replace(source.card, preprocessing=replace(form, crop=1.0, resize=32)))
    assert resized.form(Recipe(fit="cover")) is resized.card.preprocessing
    assert resized.form(Recipe(crop_fraction=0.5)) == replace(form, crop=0.5)
    assert resized.form(Recipe(fit="stretch")) == replace(form, fit="stretch", crop=1.0)
    assert resized.form(Recipe(input_shape=(3, 14, 16))) == replace(form, height=14, width=16)
    for fit in ("contain", "stretch"):
        assert source.form(Recipe(fit=fit)) == replace(form, fit=fit, crop=1.0)
        with expect_error(UsageError, "--crop-fraction", "--fit cover", fit):
            source.form(Recipe(fit=fit, crop_fraction=0.5))


@pytest.mark.parametrize("reference", ["shapes-cnn", "shapes-cnn-basicshapes"])
def test_the_zoo_can_be_started_from(reference: str, tmp_path: Path) -> None:
    recipe = Recipe(model="shapes-cnn", data="shapes", weights=reference, **STILL)
    *_, record, _ = events_of(recipe, tmp_path)
    assert record.validation_accuracy > 0.7


def classes_of(labels: str, head: int = 3) -> StartingWeights:
    torch.manual_seed(1)
    form = Preprocessing(3, 28, 28, (0.0,) * 3, (1.0,) * 3)
    return StartingWeights("it", create_model("shapes-cnn", head).state_dict(), ModelCard("it", tuple(labels), form))


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_all_but_a_new_head_is_taken_over(classes: int) -> None:
    network = create_model("shapes-cnn", 3)
    source = classes_of("abcd"[:classes], classes)
    if classes == 3:
        start_from(network, source, None)
        assert differing(network.state_dict(), source.state) == set()
    start_from(network, source, head_of(network, (3, 28, 28)))
    assert differing(network.state_dict(), source.state) == {"fc2.weight", "fc2.bias"}


@pytest.mark.parametrize(
    ("labels", "new"), [("abc", False), ("abd", True), ("acb", True), ("ab", True), ("abcd", True)]
)
def test_only_the_same_classes_in_the_same_order_keep_the_head(labels: str, new: bool, tmp_path: Path) -> None:
    def folder(name: str, classes: str) -> Path:
        for number, label in enumerate(classes):
            (tmp_path / name / label).mkdir(parents=True)
            for shade in range(6):
                grey = np.full((8, 8, 3), 40 * number + shade, np.uint8)
                Image.fromarray(grey).save(tmp_path / name / label / f"{name}{shade}.png")
        return tmp_path / name

    fields = {"model": "tinynets:Linear", "epochs": 1, "batch_size": 4, "optimizer": "sgd", "learning_rate": 1e-30}
    first = trained(tmp_path / "runs", data=str(folder("first", "abc")), **fields)
    # The classes of a folder are in the order of their names, so the card of the first run gets another one.
    network, card = find(str(first)).weights(trust_code=True)
    networks.save_checkpoint(first / "best.safetensors", network, replace(card, labels=tuple(labels[:3].ljust(3, "z"))))
    weights = str(first)
    if len(labels) != 3:
        weights = str(trained(tmp_path / "runs", data=str(folder("other", labels)), **fields))
    events = events_of(
        Recipe(data=str(folder("second", "abc")), weights=weights, **fields), tmp_path / "runs", trust_code=True
    )
    notes = [event.text for event in events if isinstance(event, Notice) and event.text.startswith("starting from")]
    assert ["new head (fc)" in note for note in notes] == [new]


def test_a_new_head_gets_pytorchs_own_first_weights(tmp_path: Path) -> None:
    """Not those of the network's recipe, as lenet's xavier."""
    first = trained(tmp_path, model="lenet", data="shapes", initialisation="xavier", **STILL)
    network, card = find(str(first)).weights()
    networks.save_checkpoint(first / "best.safetensors", network, replace(card, labels=tuple("abc")))
    recipe = Recipe(model="lenet", data="shapes", weights=str(first), **STILL)
    state, _ = opened(trained(tmp_path, **recipe.model_dump()))
    bound = 1 / math.sqrt(84)  # nn.Linear's; xavier's is sqrt(6 / 87), more than twice as large
    assert 0.9 * bound < state["fc3.weight"].abs().max() <= bound
    assert not torch.equal(state["fc3.weight"], network.state_dict()["fc3.weight"])


def test_the_head_may_be_defined_first(tmp_path: Path, photos: Path) -> None:
    fields = {"data": str(photos), "epochs": 1, "batch_size": 4}
    first = trained(tmp_path, model="tinynets:HeadFirst", **fields)
    recipe = Recipe(model="tinynets:HeadFirst", weights=str(first), freeze=True, **fields)
    events = events_of(recipe, tmp_path, trust_code=True)
    started = next(event for event in events if isinstance(event, TrainingStarted))
    assert started.trainable == 2 * 8 + 2
    assert differing(opened(started.run)[0], opened(first)[0]) == {"head.weight", "head.bias"}


def test_layers_that_a_network_froze_itself_keep_their_statistics() -> None:
    network = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), nn.BatchNorm2d(4), nn.Dropout())
    network[0].requires_grad_(False)
    set_training_mode(network)
    modes = {name: module.training for name, module in network.named_modules() if not list(module.children())}
    assert modes == {"0.0": False, "0.1": False, "1": True, "2": True}


# What is refused.


def refused(runs: Path, error: type[CnnkitError], name: str, **fields: Any) -> None:
    with expect_error(error, name):
        events_of(Recipe(**fields), runs)
    assert not runs.exists() or list(runs.iterdir()) == []


@pytest.mark.parametrize("model", ["mnist-cnn", "digit-cnn"])
def test_another_architecture_is_refused_by_the_names_of_its_layers(model: str, tiny_run: Path, tmp_path: Path) -> None:
    first = next(iter(create_model(model).state_dict()))
    refused(
        tmp_path,
        CheckpointError,
        first,
        model=model,
        data="shapes",
        weights=str(tiny_run),
    )


def test_a_layer_too_many_is_named_too() -> None:
    source = classes_of("abc")
    more = StartingWeights("it", {**source.state, "extra.weight": torch.zeros(1)}, source.card)
    with expect_error(CheckpointError, "extra.weight"):
        start_from(create_model("shapes-cnn", 3), more, None)


def test_a_layer_of_another_size_is_named() -> None:
    source = classes_of("abc")
    source.state["fc1.bias"] = torch.zeros(7)
    with expect_error(CheckpointError, "fc1.bias"):
        start_from(create_model("shapes-cnn", 3), source, None)


def test_another_number_of_channels_is_refused(tiny_run: Path, tmp_path: Path) -> None:
    refused(
        tmp_path,
        UsageError,
        "--input",
        model="shapes-cnn",
        data="shapes",
        weights=str(tiny_run),
        input_shape=(1, 28, 28),
    )


def test_weights_that_name_code_need_to_be_trusted(regular: Path, photos: Path, tmp_path: Path) -> None:
    fields = {"model": "tinynets:Regular", "data": str(photos), "weights": str(regular), **STILL}
    refused(tmp_path, CheckpointError, "tinynets:Regular", **fields)
    assert trained(tmp_path, **fields).is_dir()


@pytest.mark.parametrize(
    ("weights", "error", "name"),
    [
        ("nowhere.safetensors", CheckpointError, "nowhere.safetensors"),
        ("tinynets:Regular", CheckpointError, "tinynets:Regular"),
        ("shapes-cn", UnknownNameError, "shapes-cnn"),
        ("torchvision/resnet1", UnknownNameError, "resnet1"),
    ],
)
def test_what_has_no_weights_is_refused(weights: str, error: type[CnnkitError], name: str, tmp_path: Path) -> None:
    refused(tmp_path / "runs", error, name, model="shapes-cnn", data="shapes", weights=weights)


def test_a_damaged_checkpoint_is_refused(tiny_run: Path, tmp_path: Path) -> None:
    data = bytearray((tiny_run / "best.safetensors").read_bytes())
    data[-5] ^= 1
    (tmp_path / "it.safetensors").write_bytes(data)
    weights = str(tmp_path / "it.safetensors")
    refused(tmp_path / "runs", CheckpointError, "damaged", model="shapes-cnn", data="shapes", weights=weights)


def test_an_onnx_file_has_no_weights_to_go_on_with(tiny_onnx: Path, tmp_path: Path) -> None:
    refused(tmp_path, CheckpointError, tiny_onnx.name, model="shapes-cnn", data="shapes", weights=str(tiny_onnx))


# What is frozen.


@pytest.mark.parametrize(
    "more", [{}, {"ema": 0.5}, {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.1}], ids=str
)
def test_frozen_weights_and_statistics_stay_bit_for_bit(
    more: dict[str, Any], regular: Path, photos: Path, tmp_path: Path
) -> None:
    recipe = Recipe(
        model="tinynets:Regular",
        data=str(photos),
        weights=str(regular),
        freeze=True,
        epochs=2,
        batch_size=4,
        learning_rate=0.1,
        **more,
    )
    events = events_of(recipe, tmp_path, trust_code=True)
    started = next(event for event in events if isinstance(event, TrainingStarted))
    assert started.trainable == 2 * 128 + 2
    assert started.parameters == started.trainable + 8 * 27 + 8 + 16
    assert differing(opened(started.run)[0], opened(regular)[0]) == {"head.weight", "head.bias"}


def test_without_freezing_everything_moves(regular: Path, photos: Path, tmp_path: Path) -> None:
    fields = {"model": "tinynets:Regular", "data": str(photos), "weights": str(regular), "epochs": 2, "batch_size": 4}
    assert differing(opened(trained(tmp_path, **fields))[0], opened(regular)[0]) == set(opened(regular)[0])


def test_frozen_layers_drop_nothing_and_take_no_statistics() -> None:
    torch.manual_seed(0)
    network = create_model("shapes-cnn", 3)
    set_training_mode(network)
    assert all(module.training for module in network.modules())
    head = head_of(network, (3, 28, 28))
    finetuning.freeze_all_but_head(network, head)
    set_training_mode(network, head)
    assert [name for name, module in network.named_modules() if module.training] == ["fc2"]
    assert [name for name, p in network.named_parameters() if p.requires_grad] == ["fc2.weight", "fc2.bias"]
    images = torch.randn(4, 3, 28, 28)
    assert torch.equal(network(images), network(images))


def test_freezing_without_weights_makes_no_recipe() -> None:
    with expect_error(UsageError, "freeze"):
        Recipe().override({"freeze": True})


@pytest.mark.parametrize("freeze", [False, True])
def test_a_run_from_weights_goes_on_after_they_are_gone(
    freeze: bool, regular: Path, photos: Path, tmp_path: Path
) -> None:
    source = Path(shutil.copytree(regular, tmp_path / "source"))
    fields = {
        "model": "tinynets:Regular", "data": str(photos), "weights": str(source), "freeze": freeze, "epochs": 3,
        "batch_size": 4,
    }  # fmt: skip
    expected = opened(trained(tmp_path / "straight", **fields))[0]
    calls = 0

    def stop() -> bool:
        nonlocal calls
        calls += 1
        return calls == 6

    stopped = events_of(Recipe(**fields), tmp_path / "runs", trust_code=True, stop=stop)[-1]
    assert isinstance(stopped, TrainingStopped)
    shutil.rmtree(source)
    events_of(recipe_of(stopped.run), tmp_path / "runs", resume=stopped.run)
    assert differing(opened(stopped.run)[0], expected) == set()


def test_the_recipe_in_the_folder_finds_its_weights_from_anywhere(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_run.parent)
    run = trained(tmp_path, model="shapes-cnn", data="shapes", weights=tiny_run.name, **STILL)
    monkeypatch.chdir(tmp_path)
    assert Path(recipe_of(run).weights) == tiny_run.resolve()
    again = events_of(recipe_of(run), tmp_path / "again")[-1]
    assert isinstance(again, TrainingFinished)
    assert differing(opened(again.run)[0], opened(run)[0]) == set()


# Torchvision's weights.


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: None) -> Callable[..., dict[str, Tensor]]:
    """Put weights where torchvision keeps what it downloaded; nothing can be downloaded."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def plant(name: str, *, real: bool = False, **options: Any) -> dict[str, Tensor]:
        torch.manual_seed(3)
        with torch.device("cpu" if real else "meta"):
            network = torchvision.models.get_model(name, weights=None, **options)
        # One number in all places takes no room, neither here nor in the file.
        state = {
            n: t if real else torch.zeros((), dtype=t.dtype).expand(t.shape) for n, t in network.state_dict().items()
        }
        file = torchvision.models.get_model_weights(name).DEFAULT.url.rpartition("/")[2]
        (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)
        torch.save(state, tmp_path / "torch" / "hub" / "checkpoints" / file)
        return state

    return plant


def test_torchvisions_weights_are_taken_over(
    planted: Callable[..., dict[str, Tensor]], photos: Path, tmp_path: Path
) -> None:
    weights = planted("squeezenet1_1", real=True)
    run = trained(
        tmp_path / "runs",
        model="torchvision/squeezenet1_1",
        data=str(photos),
        weights="torchvision/squeezenet1_1",
        input_shape=(3, 32, 24),
        freeze=True,
        **STILL,
    )
    state, card = opened(run)
    assert differing(state, weights) == {"classifier.1.weight", "classifier.1.bias"}
    form = card.preprocessing
    assert (form.channels, form.height, form.width, form.fit) == (3, 32, 24, "cover")
    assert (form.mean, form.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (form.crop, form.interpolation) == (224 / 256, "bilinear")
    started = find("torchvision/squeezenet1_1").weights()[1].weights_sha256
    assert card.pretraining == Pretraining("torchvision/squeezenet1_1", started)
    assert not card.pretraining.known
    evaluation = evaluate(run, device="cpu")
    assert evaluation.exposure == Exposure(True, 0, 0, "unknown")
    assert not evaluation.exposure.unseen
    assert evaluation.warnings == (
        "20 images of photos lose more than half of the picture by fit cover: dark/00.png, dark/01.png, dark/02.png "
        "and 17 others; a training with --fit contain keeps all of it",
        "pretraining data unknown: the weights of torchvision/squeezenet1_1 may have seen these images",
    )
    # What these images were stays unknown in what starts from that run.
    again = trained(
        tmp_path / "again", model="torchvision/squeezenet1_1", data=str(photos), weights=str(run), freeze=True, **STILL
    )
    pretraining = opened(again)[1].pretraining
    assert pretraining is not None
    assert (pretraining.weights, pretraining.known, pretraining.overlap) == (str(run), False, {})


@pytest.mark.parametrize(("name", "side"), [("googlenet", 224), ("inception_v3", 299), ("resnet18", 224)])
def test_every_layer_of_torchvision_finds_its_weights_and_auxiliary_heads_none(
    name: str, side: int, planted: Callable[..., dict[str, Tensor]]
) -> None:
    options = {"init_weights": False} if name != "resnet18" else {}
    weights = planted(name, **options)
    source = read_weights(f"torchvision/{name}")
    form = source.form(Recipe())
    assert (form.channels, form.height, form.width) == (3, side, side)
    assert len(source.card.labels) == 1000
    assert source.card.labels[:2] == ("tench", "goldfish")
    with torch.device("meta"):
        network = create_model(f"torchvision/{name}", 1000)
    assert source.state.keys() == network.state_dict().keys() <= weights.keys()
    assert (len(weights) > len(source.state)) == (name != "resnet18")


@pytest.mark.usefixtures("offline")
def test_weights_that_cannot_be_downloaded_are_asked_for_by_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with expect_error(CheckpointError, "torchvision/squeezenet1_1", "hub/checkpoints", "$TORCH_HOME"):
        read_weights("torchvision/squeezenet1_1")


@pytest.mark.parametrize("content", [b"", b"no pickle", b"PK\x03\x04 half a zip"])
def test_damaged_weights_of_torchvision_are_a_checkpoint_error(
    content: bytes, planted: Callable[..., dict[str, Tensor]], tmp_path: Path
) -> None:
    planted("squeezenet1_1")
    (file,) = (tmp_path / "torch" / "hub" / "checkpoints").iterdir()
    file.write_bytes(content)
    with expect_error(CheckpointError, "torchvision/squeezenet1_1"):
        read_weights("torchvision/squeezenet1_1")


def test_a_pickle_with_code_in_it_is_not_run(planted: Callable[..., dict[str, Tensor]], tmp_path: Path) -> None:
    planted("squeezenet1_1")
    (file,) = (tmp_path / "torch" / "hub" / "checkpoints").iterdir()
    torch.save({"it": Touch(tmp_path / "touched")}, file)
    with expect_error(CheckpointError):
        read_weights("torchvision/squeezenet1_1")
    assert not (tmp_path / "touched").exists()


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return touch, (str(self.path),)


def touch(path: str) -> None:
    Path(path).touch()
