"""Image folders as people have them: real files in many layouts, and random trees."""

import os
import shutil
import sys
import tempfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnkit.data.dataset import Images
from cnnkit.data.folders import image_folder
from cnnkit.data.splitnames import split_of
from cnnkit.data.walking import stat, walk
from cnnkit.errors import DataError
from cnnkit.files import sha256

NFC, NFD = "caf\u00e9", "cafe\u0301"


def make(root: Path, *files: str) -> Path:
    """Write files of one byte: `a/{1,2}.png` is two of them, and a name with a slash at the end is a folder."""
    for file in files:
        before, brace, rest = file.partition("{")
        inside, _, after = rest.partition("}")
        for part in inside.split(",") if brace else [""]:
            path = root / f"{before}{part}{after}"
            if file.endswith("/"):
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"x")
    return root


def read_folder(folder: Path, *, fewest: int = 2) -> Images:
    return image_folder(folder, fewest=fewest).open()


def pairs(contents: Images) -> dict[str, tuple[tuple[str, int], ...]]:
    """The name and the class of each image by split."""
    return {
        split: tuple((contents.names[place], int(contents.targets[place])) for place in where.tolist())
        for split, where in contents.splits.items()
    }


def counts(contents: Images) -> dict[str, dict[str, int]]:
    """How many images each class has in each split."""
    found: dict[str, dict[str, int]] = {}
    for split, of_split in pairs(contents).items():
        for _, index in of_split:
            label = contents.classes[index]
            found.setdefault(split, {})[label] = found.get(split, {}).get(label, 0) + 1
    return found


def said(contents: Images) -> str:
    return "\n".join(contents.warnings)


def skipped(contents: Images) -> dict[tuple[str, str], int]:
    return {(s.reason, s.ending): s.count for s in contents.skipped}


TWO = ("{cat,dog}/1.png",)
ANIMALS, CAT = {"cat": 1, "dog": 1}, {"cat": 1}


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "val", "test"),
        ("Train", "Valid", "Test"),
        ("TRAIN", "VAL", "TEST"),
        ("Training", "Validation", "Testing"),
        ("training_set", "validation_set", "test_set"),
        ("train-set", "dev-set", "test-set"),
        ("trainset", "valset", "testset"),
        ("Train_Data", "Val_Data", "Test_Data"),
        ("traindata", "devel", "holdout"),
        ("TrainingImages", "ValidationImages", "TestImages"),
        ("train_images", "dev", "hold_out_images"),
        ("seg_train", "seg_val", "seg_test"),
        ("dataset_train", "dataset_dev", "dataset_test"),
        ("train2017", "val2017", "test2017"),
        ("birds_train", "birds_val", "birds_test"),
        ("asl_alphabet_train", "asl_alphabet_valid", "asl_alphabet_test"),
        ("birds_train", "val", "test"),
        ("training", "validation", "evaluation"),
        ("train_val", "valid", "eval"),
        ("1. train", "2. val", "3. test"),
        ("entra\u00eenement", "validation", "essai"),
        ("apprentissage", "validation", "test"),
        ("Donn\u00e9es d'entra\u00eenement", "Donn\u00e9es de validation", "Jeu de test"),
        ("Entra\u0301inement_images", "valid", "test"),
        ("Trainingsdaten", "Validierungsdaten", "Testdaten"),
        ("Training", "Validierung", "Test"),
        ("entrenamiento", "validaci\u00f3n", "pruebas"),
        ("addestramento", "validazione", "test"),
        ("treino", "validac\u0327a\u0303o", "teste"),
        ("treinamento", "validacao", "testes"),
        ("\u8bad\u7ec3\u96c6", "\u9a8c\u8bc1\u96c6", "\u6d4b\u8bd5\u96c6"),
        ("\u8bad\u7ec3\u6570\u636e", "\u9a8c\u8bc1", "\u6d4b\u8bd5"),
        ("\u8a13\u7df4\u30c7\u30fc\u30bf", "\u691c\u8a3c", "\u30c6\u30b9\u30c8"),
    ],
)
def test_split_folders_are_known_by_their_names(train: str, validation: str, test: str, tmp_path: Path) -> None:
    make(tmp_path, f"{train}/cat/{{1,2}}.png", *(f"{s}/{{cat,dog}}/0.png" for s in (train, validation, test)))
    contents = read_folder(tmp_path)
    assert contents.classes == ("cat", "dog")
    assert counts(contents) == {"train": {"cat": 3, "dog": 1}, "validation": ANIMALS, "test": ANIMALS}
    assert contents.warnings == ()
    assert all(name.startswith(f"{test}/") for name, _ in pairs(contents)["test"])


@pytest.mark.parametrize(
    "name",
    ["invalid", "trains", "latest", "contest", "value", "development_of_birds", "cat", "", "1", "test_tube", "data",
     "train_test_split", "device", "Restraint", "validity", "trainer"],
)  # fmt: skip
def test_other_names_are_no_splits(name: str) -> None:
    assert split_of(name) is None


@pytest.mark.parametrize(
    ("files", "classes"),
    [
        (("{car,plane,train}/{1,2}.png",), ("car", "plane", "train")),
        (("{car,plane}/1.png", "train/{steam,electric}/1.png"), ("car", "plane", "train")),
        (("car/1.png", "train/{steam,electric}/1.png"), ("car", "train")),
        (("train/{steam,diesel}/1.png", "bus/{red,blue}/1.png"), ("bus", "train")),
        (("{valid,invalid}/1.png",), ("invalid", "valid")),
        (("{dev,prod,test}/1.png",), ("dev", "prod", "test")),
        (("{test_tube,train_station}/1.png",), ("test_tube", "train_station")),
        (("train/{car,plane,train}/1.png",), ("car", "plane", "train")),
        (("train/{car,test}/1.png", "test/{car,test}/1.png"), ("car", "test")),
        (("{thumbs,fists}/1.png",), ("fists", "thumbs")),
    ],
)
def test_a_class_may_have_the_name_of_a_split(files: tuple[str, ...], classes: tuple[str, ...], tmp_path: Path) -> None:
    assert read_folder(make(tmp_path, *files)).classes == classes


def test_a_guess_between_class_and_split_is_said(tmp_path: Path) -> None:
    make(tmp_path, "{car,plane}/1.png", "train/{steam,electric}/1.png")
    assert said(read_folder(tmp_path)) == "train is read as a class, not as a split, beside car and plane"
    make(tmp_path / "D", *(f"{patient}/{{ill,well}}/1.png" for patient in "ABCD"))
    assert said(read_folder(tmp_path / "D")) == (
        "the classes are A, B, C and D, and each of them has the folders ill and well"
    )
    make(tmp_path / "E", "test/1.png", "{cat,dog}/1.png", "unlabeled/1.png")
    assert read_folder(tmp_path / "E").warnings == (
        "unlabeled is read as a class",
        "test is read as a class, not as a split, beside cat and dog",
    )


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("{test,val}/{cat,dog}/1.png",), "split folders test and val and no train folder. Expected DIR/<class>"),
        (("test/{cat,dog}/1.png",), "has the test folder test and no train folder. .*give .*test itself"),
        (("data/Test/{cat,dog}/1.png",), "has the test folder Test and no train folder"),
        (("{train,test}/{1,2}.jpg",), "split folders test and train, and no class folders with images in train"),
        (("{train,test,sample}/1.jpg",), "split folders test and train, and no class folders with images in train"),
        (("{cats,dogs}_train/1.jpg", "{cats,dogs}_test/1.jpg"), "no class folders with images in cats_train and d"),
        (("{a,b,c}/1.png", "test/{a,b}/1.png"), "class folders a, b and c, and test with classes of the same name"),
        (("{a,b}/1.png", "train/{a,b}/1.png"), "class folders a and b, and train with classes of the same names. Move"),
        (("train/1.jpg",), "has the split folder train, and no class folders"),
        (("{Training,Testing}/1.jpg",), "split folders Testing and Training, and no class folders"),
        (("{birds_train,birds_test}/1.jpg",), "split folders birds_test and birds_train, and no class folders"),
        (("train/1.jpg", "test/{cat,dog}/1.jpg"), "no class folders with images in train"),
        (("train/", "test/{cat,dog}/1.jpg"), "no class folders with images in train"),
        (("{train,val,valid}/cat/1.png", "train/dog/1.png"), "2 folders of validation images, val and valid"),
        (("{train,training}/cat/1.png", "{train,training}/dog/1.png"), "2 folders of train images, train and training"),
        (("cat/1.png",), "has one class folder with images, cat; expected at least two"),
        (("cat/1.png", "dog/"), "one class folder with images, cat; .* Class folders without images .*D: dog"),
        (("cat/1.png", "dog/1.txt"), "one class folder with images, cat; .* Class folders without images .*D: dog"),
        (("train/cat/1.png", "test/cat/1.png"), "train has one class folder with images, cat"),
        (("{1,2,3}.png",), "has no class folders with images; .*3 images outside the class folders"),
        (("{1,2,3}.heic",), "has no class folders with images; .*3 files are left out: 3 .heic.* [Cc]onvert"),
        (("readme.md",), "has no class folders with images"),
        ((), "has no class folders with images"),
        (("dog/1.png", "cat/{1,2}.heic"), "class folder .*cat has only pictures that cannot be read: 2 .heic"),
        (("train/{cat,dog}/1.png", "test/cat/1.png", "test/dog/1.CR2"), "test.dog has only pictures .*1 .cr2"),
        (("train/{cat,dog}/1.png", "test/{Cat,dog}/1.png"), "test has the class Cat, which .*train lacks: .*'Cat' "),
        (("train/{cat,dog}/1.png", "test/Cat/1.png"), "test has the class Cat, which .*'Cat' may be 'cat'"),
        (("train/{cat,dog}/1.png", "val/{cat,cow,emu}/1.png"), "val has the classes cow and emu, which .*train lacks"),
        (("train/{cat,dog}/1.png", "train/emu/", "val/{cat,emu}/1.png"), "val has the class emu, which"),
    ],
)  # fmt: skip
def test_a_folder_that_is_no_good_is_refused_with_the_reason(
    files: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=f"(?s){message}"):
        read_folder(make(tmp_path / "D", "./", *files))


def splits_in(folder: str, *splits: str) -> list[str]:
    return [f"{folder}/{split}/{{cat,dog}}/1.png" for split in splits]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("{cat,dog}/1.png", "D/{cat,dog}/1.png"), "D seems to hold the data set again, in .*D/D: .* cat and dog. "),
        (("{a,b,c}/1.png", "x/y/{a,b}/1.png"), "D seems to hold the data set again, in .*D/x/y: .* a and b. Give"),
        (("D/{a,b}/1.png", "D/D/{a,b,c}/1.png"), "D/D seems to hold the data set again, in .*D/D/D: "),
        (("train/{a,b}/1.png", "train/old/{a,b}/1.png"), "train seems to hold the data set again, in .*old: "),
        ((*splits_in("ds", "train", "val"), "runs/classify/{train,val}/1.jpg"),
         "ds has the split folders train and val, so .* a data set and not like a class. Give it with --data"),
        ((*splits_in("a", "train", "test"), *splits_in("b", "train", "test")), "Give one of .*D/a and .*D/b with"),
        ((*splits_in("a/b", "Training"), *splits_in("c/d", "Training", "Test")), "D/a has the split folder Training, "),
        ((*splits_in("New/New", "train", "valid"), "test/test/1.jpg"), "D/New has the split folders train and valid"),
        (("{cat,dog}/1.png", *splits_in("old", "train", "test")), "D/old has the split folders test and train"),
        (("{cat,dog}/train/1.png", "{cat,dog}/test/1.png", "cat/test/2.png", "dog/train/2.png", "dog/test/1.png",
          "cat/train/2.png"), "have split folders inside, test and train. cnnkit expects .* 'train/cat'"),
        (("train/{day,night}/1.png", "bus/{day,night}/1.png"), "folders bus and train, .* they look like splits"),
        (("train/{a,b}/1.png", "train/train/{a,b}/1.png"), "train seems to hold the data set again, in .*train/train"),
        (("train/{a,b}/1.png", "test/{0,1}/1.png"), "test has the classes 0 and 1, which .*train lacks"),
        (("train/{a,b}/1.png", "more/{a,b,c}/1.png"), "folders more and train, .* folders a and b: they look like sp"),
        (("train/{cat,dog}/1.png", "test/emu/1.png"), "test has the class emu, which .*train lacks"),
        (("train/{cat,dog}/1.png", "val/emu/1.png", "test/1.png"), "val has the class emu, which .*train lacks"),
        (("train/{0,1}/1.png", "test/2/1.png"), "test has the class 2, which .*train lacks"),
        (("train/{images,masks}/1.png",), "train has the folders images and masks: it looks like a segmentation"),
        (("{images,labels}/1.png",), "D has the folders images and labels: it looks like a segmentation or detection"),
        (("VOC/{JPEGImages,SegmentationClass}/1.jpg",), "the folders JPEGImages and SegmentationClass: it looks like"),
        (("train/images/1.png", "train/labels/1.txt"), "train has the folders images and labels: it looks like"),
        (("images/{a,b}/1.png", "masks/{a,b}/1.png"), "If the folders in .*images are the classes, give it"),
        (("dog/1.png", "cat/.{1,2}.jpg.icloud"), "class folder .*cat has no images but 2 that are not downloaded"),
        (("dog/1.png", "cat/{1,2}"), "left out of .*D: cat .files without an ending."),
    ],
)  # fmt: skip
def test_what_looks_like_something_else_than_classes_is_refused(
    files: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=f"(?s){message}"):
        read_folder(make(tmp_path / "D", *files))


@pytest.mark.parametrize(
    ("files", "entered", "beside"),
    [
        (("dtd/images/{cat,dog}/1.png", "dtd/imdb/imdb.mat", "dtd/labels/1.txt"), "dtd/images", "imdb and labels"),
        (("D/Data/CLS/train/{cat,dog}/1.png", "D/Annotations/CLS/1.xml", "D/ImageSets/1.txt"), "D/Data",
         "Annotations and ImageSets"),
        (("data/{cat,dog}/1.png", "src/1.py", "notebooks/1.ipynb", "my models/"), "data",
         "'my models', notebooks and src"),
    ],
)  # fmt: skip
def test_the_only_folder_with_pictures_is_entered_and_said(
    files: tuple[str, ...], entered: str, beside: str, tmp_path: Path
) -> None:
    contents = read_folder(make(tmp_path, *files))
    assert contents.classes == ("cat", "dog")
    assert said(contents) == (
        f"{tmp_path / entered} is read, and not {beside} beside it: only {Path(entered).name} has images"
    )


def test_masks_beside_the_images_of_a_class_are_left_out_and_counted(tmp_path: Path) -> None:
    make(tmp_path, "{ill,well}/images/1.png", "ill/masks/{1,2}.png", "well/masks/1.png", "well/masks/1.txt")
    contents = read_folder(tmp_path)
    assert list(contents.stats) == ["ill/images/1.png", "well/images/1.png"]
    assert said(contents) == "4 files are left out: 3 masks and 1 .txt, such as ill/masks/1.png"
    assert skipped(contents)["mask", ""] == 3


def test_pictures_that_icloud_holds_are_counted(tmp_path: Path) -> None:
    contents = read_folder(make(tmp_path, *TWO, "cat/.2.JPG.icloud", "dog/.notes.txt.icloud"))
    assert said(contents) == "1 picture not downloaded from iCloud is left out: cat/.2.JPG.icloud"
    assert skipped(contents) == {("not downloaded from iCloud", ""): 1, ("hidden", ""): 1}


@pytest.mark.parametrize("file", ["model.cache", "x.mat", "x.npy", "x.npz", "LICENSE", "img1"])
def test_files_that_are_no_pictures_need_no_warning(file: str, tmp_path: Path) -> None:
    assert read_folder(make(tmp_path, *TWO, f"cat/{file}")).warnings == ()


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("cat/2.HEIC", "1 .heic file is left out: cat/2.HEIC"),
        ("cat/my phone.heic", "1 .heic file is left out: 'cat/my phone.heic'"),
        ("cat/2.jpg?raw=true", "1 .jpg?… file is left out: cat/2.jpg?raw=true"),
        ("2.png", "1 image outside the class folders is left out: 2.png"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_one_file_that_is_left_out_is_named(file: str, message: str, tmp_path: Path) -> None:
    assert said(read_folder(make(tmp_path, *TWO, file))) == message


def test_names_with_blanks_are_quoted(tmp_path: Path) -> None:
    contents = read_folder(make(tmp_path / "my data", "train/{cat,dog}/1.png", "test/1.png"))
    path = f"'{tmp_path}/my data/test'"
    assert said(contents).startswith(f"{path} is left out, ")
    assert said(contents).endswith(f"cnnkit predict {path}")
    with pytest.raises(DataError, match=r"my data/no' has no class .*, one folder a class\.$"):
        read_folder(make(tmp_path / "my data" / "no", "./"))
    with pytest.raises(DataError, match=r"has the class 'cat ', which .* 'cat ' may be 'cat'"):
        read_folder(make(tmp_path / "D", "train/{cat,dog}/1.png", "test/{cat ,dog}/1.png"))


def test_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no image folder .*gone"):
        read_folder(tmp_path / "gone")


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (("single_prediction/1.jpg",), "single_prediction"),
        (("unlabeled/{1,2}.jpg", "sample/cat/1.jpg"), "sample and unlabeled"),
        (("seg_pred/seg_pred/1.jpg",), "seg_pred"),
        (("original/{cat,dog}/1.jpg",), "original"),
        (("train - Copy/{cat,dog}/1.jpg",), "'train - Copy'"),
    ],
)
def test_an_extra_folder_beside_splits_is_left_out_and_said(files: tuple[str, ...], names: str, tmp_path: Path) -> None:
    make(tmp_path, "{train,test}/cat/1.png", "{train,test}/dog/1.png", *files)
    contents = read_folder(tmp_path)
    assert counts(contents) == {"train": ANIMALS, "test": ANIMALS}
    assert contents.warnings == (f"folders beside test and train that are no splits are left out: {names}",)
    assert {s.reason for s in contents.skipped} == {"unused folder"}


def test_an_extra_folder_without_pictures_needs_no_warning(tmp_path: Path) -> None:
    make(tmp_path, "{train,test}/cat/1.png", "{train,test}/dog/1.png", "annotations/1.xml", "notes/", "LICENSE")
    contents = read_folder(tmp_path)
    assert contents.warnings == ()
    assert skipped(contents) == {("unused folder", ""): 2, ("not an image", ""): 1}


def test_an_extra_folder_beside_train_alone_is_left_out(tmp_path: Path) -> None:
    make(tmp_path, "train/{cat,dog}/1.png", "unlabeled/1.png")
    assert counts(read_folder(tmp_path)) == {"train": ANIMALS}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (("dataset/{cat,dog}/1.png",), {"": ANIMALS}),
        (("archive/data/{cat,dog}/1.png",), {"": ANIMALS}),
        (("dataset/{cat,dog}/1.png", "__MACOSX/dataset/cat/1.png", ".git/x/1.png"), {"": ANIMALS}),
        (("dataset/{cat,dog}/1.png", "annotations/1.xml"), {"": ANIMALS}),
        (("train/{cat,dog}/1.png",), {"train": ANIMALS}),
        (("data/train/{cat,dog}/1.png", "data/test/cat/1.png"), {"train": ANIMALS, "test": CAT}),
        (("test/train/{cat,dog}/1.png", "test/val/cat/1.png"), {"train": ANIMALS, "validation": CAT}),
        (("seg_train/seg_train/{cat,dog}/1.png", "seg_test/seg_test/cat/1.png"), {"train": ANIMALS, "test": CAT}),
        (("train/{cat,dog}/1.png", "test/cat/1.png"), {"train": ANIMALS, "test": CAT}),
        (("train/{cat,dog}/1.png", "test/cat/old/1.png"), {"train": ANIMALS, "test": CAT}),
        (("train/{cat,dog}/1.png", "test/data/cat/1.png", "test/data/dog/1.png"), {"train": ANIMALS, "test": ANIMALS}),
    ],
)  # fmt: skip
def test_a_folder_that_holds_one_folder_is_entered(
    files: tuple[str, ...], expected: dict[str, dict[str, int]], tmp_path: Path
) -> None:
    contents = read_folder(make(tmp_path, *files))
    assert counts(contents) == expected
    assert contents.root == tmp_path
    assert all((tmp_path / name).is_file() for name in contents.stats)


def test_a_class_is_not_entered_because_the_other_is_empty(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one class folder with images, cat"):
        read_folder(make(tmp_path, "cat/{near,far}/1.png", "dog/"))


@pytest.mark.parametrize(
    "files",
    [
        ("test/{1,2,3}.jpg",),
        ("test/public/{1,2}.jpg", "test/private/1.jpg"),
        ("test/unknown/{1,2,3}.jpg",),
        ("test/0/{1,2,3}.jpg",),
        ("test/unlabeled images/{1,2,3}.jpg",),
        ("test/test/{1,2,3}.jpg",),
    ],
)
def test_an_unlabelled_test_folder_stops_nothing(files: tuple[str, ...], tmp_path: Path) -> None:
    contents = read_folder(make(tmp_path, "train/{cat,dog}/1.png", *files))
    assert counts(contents) == {"train": ANIMALS}
    path = tmp_path / "test"
    assert said(contents) == (
        f"{path} is left out, because its 3 images are in no class folder; to classify: cnnkit predict {path}"
    )
    assert skipped(contents) == {("unlabelled", ""): 3}


@pytest.mark.parametrize("files", [("val/",), ("val/{cat,dog}/",), ("val/readme.txt",)])
def test_an_empty_split_is_left_out_and_said(files: tuple[str, ...], tmp_path: Path) -> None:
    contents = read_folder(make(tmp_path, "train/{cat,dog}/1.png", *files))
    assert counts(contents) == {"train": ANIMALS}
    assert said(contents) == f"{tmp_path / 'val'} is left out: it has no images"


def test_a_split_may_lack_classes(tmp_path: Path) -> None:
    make(tmp_path, "train/{a,b,c,d,e,f}/1.png", "val/{f,e,d,c,b}/1.png", "test/a/1.png")
    contents = read_folder(tmp_path)
    assert contents.classes == tuple("abcdef")
    assert contents.warnings == (
        f"{tmp_path / 'val'} has no images of the class a",
        f"{tmp_path / 'test'} has no images of the classes b, c, d and 2 others",
    )
    assert pairs(contents)["test"] == (("test/a/1.png", 0),)


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS takes both forms for one name")
def test_both_unicode_forms_are_one_class(tmp_path: Path) -> None:
    contents = read_folder(make(tmp_path, f"train/{NFC}/1.png", "train/bar/1.png", f"test/{NFD}/1.png"))
    assert contents.classes == ("bar", NFC)
    assert counts(contents) == {"train": {"bar": 1, NFC: 1}, "test": {NFC: 1}}
    assert counts(read_folder(make(tmp_path / "D", f"{NFC}/1.png", f"{NFD}/{{1,2}}.png", "bar/1.png"))) == {
        "": {"bar": 1, NFC: 3}
    }


def test_an_empty_class_is_left_out_and_said(tmp_path: Path) -> None:
    contents = read_folder(make(tmp_path, *TWO, "empty/", "notes/{1,2}.txt"))
    assert contents.classes == ("cat", "dog")
    assert said(contents) == f"class folders without images are left out of {tmp_path}: empty and notes"


def test_hidden_and_system_files_are_skipped_without_a_warning(tmp_path: Path) -> None:
    expected = read_folder(make(tmp_path, *TWO))
    make(
        tmp_path, "cat/._1.png", "cat/.DS_Store", "cat/Thumbs.db", "cat/desktop.ini", ".thumbnails/1.png",
        *(f"cat/{name}/1.png" for name in (".ipynb_checkpoints", "@eaDir", "deep/__pycache__", ".Trash-1000")),
        *(f"{n}/a/1.png" for n in ("__MACOSX", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found")),
    )  # fmt: skip
    contents = read_folder(tmp_path)
    assert (contents.stats, contents.classes, contents.warnings) == (expected.stats, expected.classes, ())
    assert skipped(contents) == {("hidden", ""): 5, ("system folder", ""): 7, ("system file", ""): 2}


def test_thumbnails_beside_images_are_left_out_and_said(tmp_path: Path) -> None:
    contents = read_folder(make(tmp_path, *TWO, "cat/thumbs/1.png", "dog/2024/Thumbnails/1.png", "dog/2024/2.png"))
    assert list(contents.stats) == ["cat/1.png", "dog/1.png", "dog/2024/2.png"]
    assert said(contents) == "2 files and folders are left out: 2 thumbnail folders, such as cat/thumbs/"


def test_what_could_be_meant_as_an_image_is_said(tmp_path: Path) -> None:
    make(tmp_path, *TWO, "cat/{a,b,c}.heic", "cat/{a,b,c}.txt", "dog/noending", "stray.jpg")
    for name in ("gone", "lost"):
        (tmp_path / "cat" / f"{name}.jpg").symlink_to("nowhere.jpg")
    contents = read_folder(tmp_path)
    assert said(contents) == (
        "10 files are left out: 3 .heic, 2 broken links, 1 image outside the class folders, 3 .txt and 1 without an "
        "ending, such as cat/a.heic"
    )
    assert skipped(contents) == {
        ("not an image", ".heic"): 3, ("not an image", ".txt"): 3, ("broken link", ".jpg"): 2,
        ("not an image", ""): 1, ("outside the class folders", ".jpg"): 1,
    }  # fmt: skip
    assert list(contents.stats) == ["cat/1.png", "dog/1.png"]


def test_labels_beside_images_need_no_warning(tmp_path: Path) -> None:
    assert read_folder(make(tmp_path, *TWO, "cat/{1,2}.txt", "dog/1.XML", "classes.csv")).warnings == ()


@pytest.mark.parametrize("ending", ["jfif", "JPE", "avif", "jif", "dib", "apng", "tif", "PGM"])
def test_every_ending_of_an_image_counts(ending: str, tmp_path: Path) -> None:
    assert f"cat/2.{ending}" in read_folder(make(tmp_path, *TWO, f"cat/2.{ending}")).stats


def test_links_lead_to_files_and_classes_but_not_to_folders_inside(tmp_path: Path) -> None:
    make(tmp_path, "D/dog/1.png", "cats/{1,2}.png", "more/1.png", "file.png")
    folder = tmp_path / "D"
    (folder / "cat").symlink_to(tmp_path / "cats")
    (folder / "dog" / "inside").symlink_to(tmp_path / "more")
    (folder / "dog" / "round").symlink_to(folder)
    (folder / "dog" / "file.png").symlink_to(tmp_path / "file.png")
    (folder / "dog" / "itself.png").symlink_to("itself.png")
    (folder / "back").symlink_to(folder)
    (tmp_path / "link").symlink_to(folder)
    contents = read_folder(tmp_path / "link")
    assert list(contents.stats) == ["cat/1.png", "cat/2.png", "dog/1.png", "dog/file.png"]
    assert skipped(contents) == {("link to a folder", ""): 3, ("broken link", ".png"): 1}
    assert said(contents).startswith("4 files and folders are left out: 3 links to a folder and 1 broken link")


def test_a_split_folder_may_be_a_link(tmp_path: Path) -> None:
    make(tmp_path, "D/train/{cat,dog}/1.png", "elsewhere/{cat,dog}/2.png")
    (tmp_path / "D" / "test").symlink_to(tmp_path / "elsewhere")
    assert counts(read_folder(tmp_path / "D")) == {"train": ANIMALS, "test": ANIMALS}


@pytest.mark.parametrize(("link", "target"), [("test", "train"), ("train/cow", "cat"), ("train/cow", "cat/old")])
def test_a_link_to_another_class_or_split_is_refused(link: str, target: str, tmp_path: Path) -> None:
    make(tmp_path, "train/{cat,dog}/1.png", "train/cat/old/2.png")
    (tmp_path / link).symlink_to(target)
    with pytest.raises(DataError, match="are one folder, by a link"):
        read_folder(tmp_path)


def test_a_closed_folder_is_said(tmp_path: Path) -> None:
    make(tmp_path, *TWO, "cat/closed/1.png")
    closed = tmp_path / "cat" / "closed"
    closed.chmod(0)
    try:
        if os.access(closed, os.R_OK):
            pytest.skip("root, and everybody on Windows, may read every folder")
        contents = read_folder(tmp_path)
        assert skipped(contents) == {("cannot be read", ""): 1}
        assert said(contents) == "one folder is left out: 1 that cannot be read, cat/closed/"
        (tmp_path / "cat").chmod(0)
        with pytest.raises(DataError, match="cat cannot be read"):
            read_folder(tmp_path)
        (said_of_walk,) = walk(tmp_path / "cat")[1]
        assert (said_of_walk.reason, said_of_walk.examples) == ("cannot be read", ("./",))
        with pytest.raises(DataError, match="closed cannot be read"):
            read_folder(closed)
    finally:
        (tmp_path / "cat").chmod(0o700)
        closed.chmod(0o700)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other limits")
def test_folders_too_deep_for_a_path_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, *TWO)
    monkeypatch.chdir(tmp_path / "cat")
    for _ in range(2200):  # deeper than Python's stack too
        Path("d").mkdir()
        os.chdir("d")
    contents = read_folder(tmp_path)
    assert contents.classes == ("cat", "dog")
    assert skipped(contents) == {("cannot be read", ""): 1}
    for _ in range(2200):
        os.chdir("..")
        Path("d").rmdir()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has none")
def test_a_pipe_named_as_an_image_is_no_image(tmp_path: Path) -> None:
    os.mkfifo(make(tmp_path, *TWO) / "cat" / "pipe.png")
    make(tmp_path, "cat/folder.png/3.png")
    contents = read_folder(tmp_path)
    assert list(contents.stats) == ["cat/1.png", "cat/folder.png/3.png", "dog/1.png"]
    assert skipped(contents) == {("not a file", ".png"): 1}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems want names that are text")
def test_names_of_files_need_not_be_text_and_labels_must(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    contents = read_folder(make(tmp_path, *TWO, f"cat/{name}.png"))
    assert f"cat/{name}.png" in contents.stats
    make(tmp_path, f"{name}/1.png")
    with pytest.raises(DataError, match="is not UTF-8"):
        read_folder(tmp_path)


def test_files_are_sorted_folder_by_folder_with_their_stats_and_fingerprint(tmp_path: Path) -> None:
    make(tmp_path, *TWO, "cat/{a,a b,a/1}.png", "cat/2024/may/deep.JPG")
    (tmp_path / "cat" / "a.png").write_bytes(b"12345")
    contents = read_folder(tmp_path)
    names = ["cat/1.png", "cat/2024/may/deep.JPG", "cat/a/1.png", "cat/a b.png", "cat/a.png", "dog/1.png"]
    assert list(contents.stats) == names
    assert pairs(contents) == {"": tuple((name, int(name.startswith("dog"))) for name in names)}
    assert contents.stats["cat/a.png"] == stat(tmp_path / "cat" / "a.png")
    assert contents.stats["cat/a.png"][0] == 5
    lines = "\n".join(f"{name} {size}" for name, (size, *_) in contents.stats.items())
    assert contents.fingerprint == sha256(lines.encode())


@pytest.mark.parametrize(
    ("files", "photos"),
    [(("{cat,dog}/1.jpg",), True), (("{cat,dog}/1.png",), False), (("{cat,dog}/1.png", "cat/{1,2,3}.JPEG"), True)],
)
def test_photographs_are_told_by_their_endings(files: tuple[str, ...], photos: bool, tmp_path: Path) -> None:
    assert read_folder(make(tmp_path, *files)).fit == ("cover" if photos else "contain")


def test_a_walk_finds_the_images_of_every_layout(tmp_path: Path) -> None:
    make(tmp_path, "1.png", "train/cat/{a,b}.jpg", ".hidden/1.png", "__MACOSX/1.png", "thumbs/1.png", "x/thumbs/1.png")
    make(tmp_path, "train/1.heic")
    images, left = walk(tmp_path)
    assert list(images) == ["1.png", "train/cat/a.jpg", "train/cat/b.jpg", "x/thumbs/1.png"]
    assert {(s.reason, s.ending) for s in left} == {
        ("hidden", ""), ("system folder", ""), ("thumbnail folder", ""), ("not an image", ".heic"),
    }  # fmt: skip


PARTS = st.sampled_from(
    ["train", "Test", "val", "valid", "cat", "Cat", "dog", NFC, NFD, "data", "seg_train", "birds_test", "thumbs",
     "__MACOSX", ".git", "annotations", "images", "masks", "validaci\u00f3n", "my cat", "x.png"]
)  # fmt: skip
FILES = st.sampled_from(["1.png", "2.JPG", "a.heic", "a.txt", ".c.png.icloud", ".b.png", "none", ""])
LINKS = st.tuples(st.lists(PARTS, min_size=1, max_size=3), st.lists(PARTS, max_size=2))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.lists(PARTS, max_size=4), FILES), max_size=14), st.lists(LINKS, max_size=2))
def test_any_tree_is_read_or_refused(
    files: list[tuple[list[str], str]], links: list[tuple[list[str], list[str]]]
) -> None:
    root = Path(tempfile.mkdtemp())
    try:
        for parts, name in files:
            folder = root.joinpath(*parts)
            folder.mkdir(parents=True, exist_ok=True)
            if name:
                (folder / name).write_bytes(b"x")
        for parts, target in links:
            link = root.joinpath(*parts)
            if not os.path.lexists(link) and link.parent.is_dir():
                link.symlink_to(root.joinpath(*target))
        walk(root)
        try:
            contents = read_folder(root)
        except DataError:
            return
        check(contents)
    finally:
        shutil.rmtree(root)


def check(contents: Images) -> None:
    every = [pair for found in pairs(contents).values() for pair in found]
    names = [name for name, _ in every]
    assert sorted(names) == sorted(contents.stats)
    assert len(set(names)) == len(names)
    assert len({os.path.realpath(contents.root / name) for name in names}) == len(names)
    assert all((contents.root / name).is_file() for name in names)
    assert list(contents.stats) == sorted(contents.stats, key=lambda name: name.split("/"))
    assert set(pairs(contents)) == {""} or "train" in pairs(contents)
    assert pairs(contents).keys() <= {"", "train", "validation", "test"}
    assert all(pairs(contents).values())
    assert len(contents.classes) >= 2
    assert list(contents.classes) == sorted(set(contents.classes))
    assert all(unicodedata.is_normalized("NFC", label) for label in contents.classes)
    first = next(iter(pairs(contents).values()))
    assert {index for _, index in first} == set(range(len(contents.classes)))
    for name, index in every:  # one of the folders above an image is its class
        assert contents.classes[index] in unicodedata.normalize("NFC", name).split("/")
    assert all(s.count > 0 for s in contents.skipped)
    assert not any(sentence.endswith(".") for sentence in contents.warnings)
