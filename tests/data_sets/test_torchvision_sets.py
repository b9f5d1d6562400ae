"""Every data set of the table, on tiny files in the formats of the real ones."""

import importlib
import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cnnkit
from cnnkit.data import sets
from cnnkit.data.from_torchvision import TORCHVISION
from cnnkit.data.options import DataOptions
from cnnkit.errors import DataError
from cnnkit.images import prepare

Pixels = np.ndarray
Expected = dict[str, list[tuple[str, Pixels | Path]]]
"""Label and pixels, or file, of each image by split."""


def drawings(count: int, *shape: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def write_photo(path: Path, seed: int, size: tuple[int, int] = (40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(drawings(1, size[1], size[0], 3, seed=seed)[0]).save(path)
    return path


def write_idx(folder: Path, prefix: str, images: Pixels, labels: list[int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{prefix}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, *images.shape) + images.tobytes())
    (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, len(labels)) + bytes(labels))


def idx(folder: str, labels: tuple[str, ...]) -> Callable[[Path], Expected]:
    def write(root: Path) -> Expected:
        found: Expected = {}
        for split, prefix, seed in (("train", "train", 0), ("test", "t10k", 1)):
            images, numbers = drawings(6, 28, 28, seed=seed), [0, 1, 2, 0, 1, 9]
            write_idx(root / folder / "raw", prefix, images, numbers)
            found[split] = [(labels[number], image) for number, image in zip(numbers, images, strict=True)]
        return found

    return write


def emnist(root: Path) -> Expected:
    found: Expected = {}
    for split, seed in (("train", 0), ("test", 1)):
        images = drawings(6, 28, 28, seed=seed)
        # The files count the letters from 1, and have rows and columns exchanged.
        write_idx(root / "EMNIST" / "raw", f"emnist-letters-{split}", images.swapaxes(1, 2), [1, 2, 3, 1, 2, 26])
        found[split] = list(zip("ABCABZ", images, strict=True))
    return found


def cifar(folder: str, files: dict[str, str], meta: tuple[str, str], key: str, labels: list[str]) -> Callable:
    def write(root: Path) -> Expected:
        (root / folder).mkdir()
        (root / folder / meta[0]).write_bytes(pickle.dumps({meta[1]: labels}))
        found: Expected = {"train": [], "test": []}
        for seed, (file, split) in enumerate(files.items()):
            images, numbers = drawings(9, 32, 32, 3, seed=seed), [0, 1, 2] * 3
            flat = images.transpose(0, 3, 1, 2).reshape(9, -1)
            (root / folder / file).write_bytes(pickle.dumps({"data": flat, key: numbers}))
            found[split] += [(labels[n].replace("_", " "), image) for n, image in zip(numbers, images, strict=True)]
        return found

    return write


def svhn(root: Path) -> Expected:
    scipy_io = pytest.importorskip("scipy.io")
    found: Expected = {}
    for split, seed in (("train", 0), ("test", 1)):
        images = drawings(8, 32, 32, 3, seed=seed)
        labels = np.array([[10], [1], [2], [9]] * 2, np.uint8)  # 10 is the digit 0
        scipy_io.savemat(root / f"{split}_32x32.mat", {"X": images.transpose(1, 2, 3, 0), "y": labels})
        found[split] = list(zip("0129" * 2, images, strict=True))
    return found


def stl10(root: Path) -> Expected:
    folder = root / "stl10_binary"
    folder.mkdir()
    (folder / "class_names.txt").write_text("airplane\nbird\ncar\ncat\ndeer\ndog\nhorse\nmonkey\nship\ntruck\n")
    (folder / "unlabeled_X.bin").write_bytes(b"")
    found: Expected = {}
    for split, seed in (("train", 0), ("test", 1)):
        images = drawings(6, 96, 96, 3, seed=seed)
        (folder / f"{split}_X.bin").write_bytes(images.transpose(0, 3, 2, 1).tobytes())  # column by column
        (folder / f"{split}_y.bin").write_bytes(bytes([1, 2, 10] * 2))
        found[split] = list(zip(("airplane", "bird", "truck") * 2, images, strict=True))
    return found


def flowers(root: Path) -> Expected:
    scipy_io = pytest.importorskip("scipy.io")
    folder = root / "flowers-102"
    files = [write_photo(folder / "jpg" / f"image_{number:05d}.jpg", number) for number in range(1, 7)]
    scipy_io.savemat(folder / "imagelabels.mat", {"labels": np.array([[1, 2, 1, 2, 1, 102]])})
    ids = {"trnid": np.array([[1, 2]]), "valid": np.array([[3, 4]]), "tstid": np.array([[5, 6]])}
    scipy_io.savemat(folder / "setid.mat", ids)
    first, second = "pink primrose", "hard-leaved pocket orchid"
    return {
        "train": [(first, files[0]), (second, files[1])],
        "validation": [(first, files[2]), (second, files[3])],
        "test": [(first, files[4]), ("blackberry lily", files[5])],
    }


def pets(root: Path) -> Expected:
    folder, found = root / "oxford-iiit-pet", {}
    for split, file, start in (("train", "trainval", 0), ("test", "test", 10)):
        found[split] = []
        lines = []
        for number in range(4):
            breed, label = (("american_bulldog", 2), ("Abyssinian", 1))[number % 2]
            photo = write_photo(folder / "images" / f"{breed}_{start + number}.jpg", start + number, (40 + number, 30))
            lines.append(f"{breed}_{start + number} {label} 1 1")
            found[split].append(("American Bulldog" if label == 2 else "Abyssinian", photo))
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / f"{file}.txt").write_text("\n".join(lines) + "\n")
    return found


def food(root: Path) -> Expected:
    folder, found = root / "food-101", {}
    for split, start in (("train", 0), ("test", 10)):
        names = {
            label: [f"{label}/{start + n + 4 * (label > 'b')}" for n in range(4)] for label in ("apple_pie", "waffles")
        }
        (folder / "meta").mkdir(parents=True, exist_ok=True)
        (folder / "meta" / f"{split}.json").write_text(json.dumps(names))
        found[split] = [
            (label.replace("_", " "), write_photo(folder / "images" / f"{name}.jpg", int(name.split("/")[1])))
            for label, each in names.items()
            for name in each
        ]
    return found


def eurosat(root: Path) -> Expected:
    folder = root / "eurosat" / "2750"
    labels = ("AnnualCrop", "SeaLake")
    return {
        "": [
            (label, write_photo(folder / label / f"{label}_{n}.jpg", n + 10 * (label == "SeaLake"), (64, 64)))
            for label in labels
            for n in range(5)
        ]
    }


def gtsrb(root: Path) -> Expected:
    folder = root / "gtsrb"
    train = [
        (
            label,
            write_photo(folder / "GTSRB" / "Training" / number / f"0000{film}_0000{frame}.ppm", seed, (20 + frame, 18)),
        )
        for seed, (label, number, film, frame) in enumerate(
            (*sign, film, frame)
            for sign in (("speed limit 20", "00000"), ("stop", "00014"))
            for film in range(3)
            for frame in range(3)
        )
    ]
    images = folder / "GTSRB" / "Final_Test" / "Images"
    test = [("stop", write_photo(images / "00000.ppm", 50)), ("speed limit 20", write_photo(images / "00001.ppm", 51))]
    rows = "00000.ppm;40;30;5;5;35;25;14\n00001.ppm;40;30;5;5;35;25;0\n"
    (folder / "GT-final_test.csv").write_text("Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n" + rows)
    for number in range(1, 14):  # classes are counted by their folders
        (folder / "GTSRB" / "Training" / f"{number:05d}").mkdir()
        train.append(
            (
                sets.labels_of("gtsrb")[number],
                write_photo(folder / "GTSRB" / "Training" / f"{number:05d}" / "00000_00000.ppm", 60 + number),
            )
        )
    return {"train": train, "test": test}


def imagenette(root: Path) -> Expected:
    found: Expected = {}
    for split, folder, start in (("train", "train", 0), ("test", "val", 20)):
        found[split] = [
            (
                label,
                write_photo(
                    root
                    / "imagenette2"
                    / folder
                    / synset
                    / f"{synset}_{start + n}.JPEG".lower().replace(".jpeg", ".jpeg"),
                    start + n + 5 * (label == "church"),
                ),
            )
            for label, synset in (("tench", "n01440764"), ("church", "n03028079"))
            for n in range(4)
        ]
    return found


FINE = [f"class_{number}" for number in range(100)]
CIFAR = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
DIGITS = tuple("0123456789")
FASHION = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
KANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
BATCHES = {f"data_batch_{number}": "train" for number in range(1, 6)} | {"test_batch": "test"}
WRITE: dict[str, Callable[[Path], Expected]] = {
    "mnist": idx("MNIST", DIGITS),
    "fashion-mnist": idx("FashionMNIST", FASHION),
    "kmnist": idx("KMNIST", KANA),
    "emnist-letters": emnist,
    "cifar10": cifar("cifar-10-batches-py", BATCHES, ("batches.meta", "label_names"), "labels", CIFAR),
    "cifar100": cifar(
        "cifar-100-python", {"train": "train", "test": "test"}, ("meta", "fine_label_names"), "fine_labels", FINE
    ),
    "svhn": svhn,
    "stl10": stl10,
    "flowers102": flowers,
    "oxford-pets": pets,
    "food101": food,
    "eurosat": eurosat,
    "gtsrb": gtsrb,
    "imagenette": imagenette,
}


@pytest.fixture(autouse=True)
def any_checksum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torchvision take files of any content."""
    for module in ("cifar", "svhn", "stl10", "flowers102"):
        monkeypatch.setattr(
            importlib.import_module(f"torchvision.datasets.{module}"),
            "check_integrity",
            lambda path, _=None: Path(path).is_file(),
        )


def pixels(image: Pixels | Path) -> Pixels:
    return np.asarray(Image.open(image)) if isinstance(image, Path) else image


def test_the_sets_of_these_tests_are_in_the_table() -> None:
    assert set(WRITE) <= {each.name for each in TORCHVISION}


@pytest.mark.parametrize("name", WRITE)
def test_a_set_has_its_classes_its_images_and_the_splits_that_it_gives(name: str, tmp_path: Path) -> None:
    expected = WRITE[name](tmp_path)
    known = sets.find(name)
    assert known.locate(tmp_path).present
    images = known.open(tmp_path)
    assert images.name == name
    assert list(images.splits) == list(expected)
    assert len(set(images.names)) == len(images) == sum(map(len, expected.values()))
    for split, wanted in expected.items():
        found = [images[place] for place in images.splits[split].tolist()]
        labelled = {(images.classes[target], pixels(image).tobytes()) for image, target in found}
        assert labelled == {(label, pixels(image).tobytes()) for label, image in wanted}
    assert known.of_files == (images.pixels is None)
    assert bool(known.test) == ("test" in images.splits)


@pytest.mark.parametrize("name", WRITE)
def test_what_a_set_does_not_give_is_held_out_by_content(name: str, tmp_path: Path) -> None:
    WRITE[name](tmp_path)
    images = sets.find(name).open(tmp_path)
    one, again = (cnnkit.open_dataset(name, data_dir=tmp_path, split_seed=1) for _ in range(2))
    places = [place for where in one.splits.values() for place in where.tolist()]
    assert sorted(places) == list(range(len(images)))
    assert all(len(where) for where in one.splits.values())
    for part, where in one.splits.items():
        np.testing.assert_array_equal(where, again.splits[part])
        if part in ("validation", "test") and part in images.splits:
            np.testing.assert_array_equal(where, images.splits[part])
    held = {
        frozenset(cnnkit.open_dataset(name, data_dir=tmp_path, split_seed=seed).splits["validation"].tolist())
        for seed in range(8)
    }
    assert (len(held) > 1) == ("validation" not in images.splits)


def test_the_frames_of_a_film_stay_in_one_split(tmp_path: Path) -> None:
    gtsrb(tmp_path)
    found = cnnkit.open_dataset("gtsrb", data_dir=tmp_path, validation_fraction=0.4)
    films = {
        part: {found.names[place].rpartition("_")[0] for place in where.tolist()}
        for part, where in found.splits.items()
    }
    assert len(films["validation"]) > 1
    assert films["train"].isdisjoint(films["validation"])


@pytest.mark.parametrize("name", ["kmnist", "cifar100", "oxford-pets", "eurosat", "gtsrb", "imagenette"])
def test_a_network_is_trained_and_measured_on_it(name: str, tmp_path: Path) -> None:
    expected = WRITE[name](tmp_path)
    recipe = cnnkit.default_recipe("shapes-cnn", data=name, epochs=1, batch_size=8)
    *_, result = cnnkit.train.steps(recipe, data_dir=tmp_path, runs_dir=tmp_path / "runs", device="cpu")
    measured = cnnkit.evaluate(result.run, data_dir=tmp_path, device="cpu")
    assert measured.data == name
    assert measured.split == "test"
    assert measured.images == len(expected["test"]) if "test" in expected else measured.images > 0


def test_a_photo_has_the_pixels_that_a_prediction_sees(tmp_path: Path) -> None:
    from cnnkit.data.opening import open_catalogue
    from cnnkit.operation import result_of

    pets(tmp_path)
    known = result_of(open_catalogue(DataOptions("oxford-pets", tmp_path), (3, 24, 24)))
    for name, found in zip(known.origins, known.pixels, strict=True):
        again = prepare(tmp_path / "oxford-iiit-pet" / name, known.preprocessing)
        np.testing.assert_array_equal(found, again.pixels)
    assert known.preprocessing.fit == "cover"


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", [name for name in WRITE if name not in ("svhn", "flowers102")])
def test_what_is_absent_is_told_with_the_folder_and_the_files(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        sets.find(name).open(tmp_path)
    said = str(caught.value)
    assert f"{name} is not under {tmp_path} (--data-dir)" in said
    assert all(file in said for file in sets.find(name).files)


@pytest.mark.parametrize("name", ["svhn", "flowers102"])
def test_a_package_that_is_missing_is_named_before_anything_is_downloaded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(importlib.import_module("sys").modules, "scipy", None)
    with pytest.raises(DataError, match="pip install scipy"):
        sets.find(name).open(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["oxford-pets", "food101"])
def test_a_photo_that_is_listed_and_absent_is_damage(name: str, tmp_path: Path) -> None:
    WRITE[name](tmp_path)
    next(tmp_path.rglob("*.jpg")).unlink()
    with pytest.raises(DataError, match=f"{name} under {tmp_path} is damaged"):
        sets.find(name).open(tmp_path)


def test_labels_beyond_the_classes_are_damage(tmp_path: Path) -> None:
    for prefix in ("train", "t10k"):
        write_idx(tmp_path / "KMNIST" / "raw", prefix, drawings(2, 28, 28), [3, 77])
    with pytest.raises(DataError, match="is damaged: the labels are 3 to 77, and there are 10 classes"):
        sets.find("kmnist").open(tmp_path)
