"""The networks that are shipped: whole, the same in both formats, and as good as their entries say."""

import importlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image, ImageDraw

import cnnkit
from cnnkit import registry, zoo
from cnnkit.files import sha256
from cnnkit.runtime.guard import graph_sha256
from cnnkit.training.finetuning import read_source
from cnnkit.training.networks import TorchNetwork, load_network, weights_hash
from cnnkit.training.shapes import draw_shapes
from cnnkit.words import percent

NAMES = (
    "digits",
    "softmax-regression-mnist",
    "mlp-mnist",
    "mnist-cnn-mnist",
    "dropout-cnn-mnist",
    "lenet-mnist",
    "lenet-fashion-mnist",
    "shapes-cnn-basicshapes",
)
DRAWINGS = Path(__file__).parent / "data" / "drawings"


def drawn_pixels(card: cnnkit.ModelCard) -> np.ndarray:
    """64 images in the form of the card: drawings of people's digits, or drawn shapes."""
    from cnnkit.images import prepare

    if card.preprocessing.channels == 3:
        return draw_shapes(22, seed=77)[0][:64]
    files = sorted(DRAWINGS.rglob("*.*"))[::3][:64]
    return np.stack([prepare(file, card.preprocessing).pixels for file in files])


def test_the_zoo_has_these_entries_and_little_else() -> None:
    assert set(NAMES) <= set(zoo.entries())
    listed = json.loads((zoo.folder() / "index.json").read_text("utf-8"))["entries"]
    assert len({entry["name"] for entry in listed}) == len(listed)
    shipped = {path.name for path in zoo.folder().iterdir() if path.is_dir()}
    assert shipped == set(zoo.entries())
    assert sum(path.stat().st_size for path in zoo.folder().rglob("*")) < 25_000_000


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_has_its_files_and_they_are_whole(name: str) -> None:
    entry = zoo.entry(name)
    assert set(entry.files) == {"model.safetensors", "model.onnx"}
    for file, digest in entry.files.items():
        assert sha256((zoo.folder() / name / file).read_bytes()) == digest
        assert zoo.read(name, file)
    readme = (zoo.folder() / name / "README.md").read_text("utf-8")
    assert "cnnkit train" in readme or "build_zoo" in readme
    assert f"| {percent(entry.accuracy, of=entry.test_images)} of {entry.test_images:,} test images" in readme


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_opens_and_its_card_says_where_it_comes_from(name: str) -> None:
    entry = zoo.entry(name)
    card = cnnkit.load(name, device="cpu").card
    spec = registry.model(entry.model)
    assert card.model == entry.model
    assert len(card.labels) == spec.num_classes
    assert card.trained
    assert card.dataset == entry.dataset
    assert card.recipe is not None
    assert card.parity is not None
    assert card.parity.passed
    assert card.metrics["test_accuracy"] == pytest.approx(entry.accuracy, abs=5e-5)
    form = card.preprocessing
    assert (form.channels, form.height, form.width) == spec.input_shape


@pytest.mark.parametrize("name", [*NAMES, "cifar-resnet-cifar10"])
def test_an_entry_is_proven_on_its_whole_test_set(name: str) -> None:
    found = cnnkit.load(name, device="cpu").card
    assert found.parity is not None
    assert found.parity.images_count == (90 if name == "shapes-cnn-basicshapes" else 10_000)
    assert found.parity.top1_agreement == 1.0
    assert found.parity.max_absolute_difference <= 1e-4
    assert found.parity.torch_accuracy == found.parity.onnx_accuracy == zoo.entry(name).accuracy
    assert found.parity.weights_sha256 == found.weights_sha256
    assert found.graph_sha256 == graph_sha256(onnx.load_model_from_string(zoo.read(name, "model.onnx")))


@pytest.mark.parametrize("name", NAMES)
def test_both_formats_are_the_same_network(name: str) -> None:
    classifier = cnnkit.load(name, device="cpu")
    network, card = load_network(name)
    assert weights_hash(network.state_dict()) == card.weights_sha256 == classifier.card.weights_sha256
    assert (card.labels, card.preprocessing) == (classifier.card.labels, classifier.card.preprocessing)
    pixels = drawn_pixels(card)
    assert len(pixels) == 64
    found, torch = classifier.network.logits(pixels), TorchNetwork(network, card, "cpu").logits(pixels)
    tolerance = 1e-4 * np.maximum(1.0, np.abs(torch).max(1, keepdims=True) / 10)
    assert (np.abs(found - torch) <= tolerance).all()
    assert (found.argmax(1) == torch.argmax(1)).all()


@pytest.mark.parametrize("name", NAMES)
def test_no_path_of_the_machine_that_trained_it_is_shipped(name: str) -> None:
    for file in ("model.onnx", "model.safetensors"):
        content = zoo.read(name, file)
        assert not [place for place in (b"/work/", b"/home/", b"/tmp/", b"/root/") if place in content]


@pytest.mark.parametrize(
    ("architecture", "entry"),
    [("lenet", "lenet-mnist"), ("digit-cnn", "digits"), ("shapes-cnn", "shapes-cnn-basicshapes")],
)
def test_an_architecture_stands_for_its_entry(architecture: str, entry: str) -> None:
    assert cnnkit.load(architecture).name == cnnkit.load(architecture, torch=True).name == entry
    assert read_source(architecture).name == entry


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("digits", 0.994), ("mnist-cnn-mnist", 0.986), ("mlp-mnist", 0.975), ("softmax-regression-mnist", 0.90),
        ("dropout-cnn-mnist", 0.98), ("lenet-mnist", 0.985), ("lenet-fashion-mnist", 0.88),
        ("shapes-cnn-basicshapes", 0.93),
    ],
)  # fmt: skip
def test_the_accuracy_is_what_the_requirements_ask_for(name: str, least: float) -> None:
    assert zoo.entry(name).accuracy >= least


def test_digits_reads_what_people_draw() -> None:
    files = sorted(DRAWINGS.rglob("*.*"))
    assert len(files) == 200
    found = cnnkit.load("digits").predict(files, top=1)
    wrong = [f"{p.source}: {p.label}" for p, file in zip(found, files, strict=True) if p.label != file.parent.name]
    assert len(wrong) <= 6, wrong


@pytest.fixture(scope="module")
def european(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """120 drawings in European styles, which no network was trained on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent.parent / "scripts")
        script = importlib.import_module("draw_digits")
    files: list[Path] = script.write(tmp_path_factory.mktemp("european"), 12, 7, european=True)
    return files


def test_digits_reads_what_europeans_write(european: list[Path]) -> None:
    assert {"1/long-upstroke", "1/foot", "7/bar", "4/closed", "0/slash"} <= {
        f"{file.parent.name}/{file.stem.rpartition('-')[0]}" for file in european
    }
    found = cnnkit.load("digits").predict(european, top=1)
    wrong = [f"{p.source}: {p.label}" for p, file in zip(found, european, strict=True) if p.label != file.parent.name]
    assert len(wrong) <= 2, wrong


LINES = {
    "one with a long upstroke": ("1", [(10, 55), (52, 0), (52, 100)]),
    "one from the ground up": ("1", [(0, 100), (45, 0), (48, 100)]),
    "one with a flat upstroke": ("1", [(8, 28), (52, 0), (50, 100)]),
    "one with upstroke and foot": ("1", [(15, 40), (50, 0), (50, 100)], [(22, 100), (80, 100)]),
    "one with a foot": ("1", [(50, 0), (50, 100)], [(25, 100), (76, 100)]),
    "seven": ("7", [(0, 2), (64, 0), (24, 100)]),
    "seven with a bar": ("7", [(0, 2), (64, 0), (24, 100)], [(22, 52), (66, 48)]),
    "seven, upright, with a bar": ("7", [(0, 2), (60, 0), (48, 100)], [(30, 50), (78, 50)]),
    "closed four": ("4", [(56, 100), (56, 0), (0, 66), (80, 66)]),
    "open four": ("4", [(20, 0), (0, 58), (76, 58)], [(56, 22), (54, 100)]),
    "slashed zero": ("0", [(66, 16), (2, 84)]),
    "zero with a long slash": ("0", [(84, -10), (-16, 110)]),
}


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("pen", [3, 8, 16])
def test_digits_reads_straight_lines(name: str, pen: int) -> None:
    label, *strokes = LINES[name]
    image = Image.new("L", (180, 220), 255)
    draw = ImageDraw.Draw(image)
    for stroke in strokes:
        draw.line([(50 + x, 60 + y) for x, y in stroke], fill=0, width=pen, joint="curve")
    if label == "0":
        draw.ellipse((50, 60, 118, 160), outline=0, width=pen)
    assert cnnkit.load("digits").predict([image])[0].label == label


def bar(level: int, ground: int, *, mode: str = "L") -> Image.Image:
    """A vertical stroke, a little off the centre: a one."""
    image = Image.new("L", (90, 120), ground)
    image.paste(level, (50, 20, 56, 95))
    return image.convert(mode)


@pytest.mark.parametrize(
    "image",
    [bar(0, 255), bar(255, 0), bar(60, 140), bar(0, 255, mode="RGB"), bar(0, 255, mode="RGBA"), bar(0, 255, mode="P")],
    ids=["dark on light", "light on dark", "grey on grey", "RGB", "RGBA", "palette"],
)
def test_digits_reads_a_one_in_any_colours(image: Image.Image) -> None:
    assert cnnkit.load("digits").predict([image])[0].label == "1"


def trousers(level: int, ground: int) -> Image.Image:
    """Two long legs below a belt."""
    image = Image.new("L", (200, 240), ground)
    image.paste(level, (65, 20, 135, 60))
    image.paste(level, (65, 60, 95, 220))
    image.paste(level, (105, 60, 135, 220))
    return image


def test_clothes_are_recognised_on_any_ground() -> None:
    light, dark = cnnkit.load("lenet-fashion-mnist").predict([trousers(220, 0), trousers(35, 255)])
    assert light.label == dark.label == "trouser"
    assert light.scores == dark.scores


def test_shapes_are_recognised_in_drawings_it_never_saw() -> None:
    images, labels = draw_shapes(40, seed=123)
    found = cnnkit.load("shapes-cnn-basicshapes").predict(list(images), top=1)
    known = ("circles", "squares", "triangles")
    right = sum(p.label == known[label] for p, label in zip(found, labels, strict=True))
    assert right / len(labels) > 0.7
