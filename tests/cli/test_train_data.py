"""`cnnkit train` and its images: what it says of them, which it leaves out, and how it divides them."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnnkit.recipe import Recipe
from cnnkit.training import networks

Cli = Callable[..., Any]
FAST = ("softmax-regression", "--epochs", "1", "--device", "cpu")
OLD_RUN = Path(__file__).parent.parent / "data" / "version_0_1" / "photos-run"


@pytest.fixture
def train(cli: Cli, tmp_path: Path) -> Cli:
    """Train for an epoch, in this process: `train("--data", folder)`; run folders go to `tmp_path / "runs"`."""

    def run(*options: object) -> Any:
        return cli("train", *FAST, "--runs-dir", tmp_path / "runs", *options)

    return run


def run_of(result: Any) -> Path:
    assert result.exit_code == 0, result.output
    return Path(result.stdout.splitlines()[-1]).parent


def as_jpeg(folder: Path, *, size: tuple[int, int]) -> Path:
    """Make a folder of JPEG files of that size from one of PNG files."""
    for path in folder.rglob("*.png"):
        with Image.open(path) as image:
            image.resize(size).save(path.with_suffix(".jpg"))
        path.unlink()
    return folder


def warnings_of(result: Any) -> list[str]:
    return [line for line in result.stderr.splitlines() if line.startswith("warning: ")]


@pytest.mark.usefixtures("few_shapes")
def test_the_classes_of_a_data_set_and_its_images_are_said(cli: Cli, tmp_path: Path) -> None:
    result = cli("train", "shapes-cnn", "--epochs", "1", "--runs-dir", tmp_path, "--device", "cpu")
    assert result.stderr.splitlines()[1:3] == [
        "3 classes: circles (30), squares (30), triangles (30)", "images: 28×28 RGB, as they are",
    ]  # fmt: skip


def test_of_many_classes_the_first_ones_are_named(tmp_path: Path, train: Cli) -> None:
    rng = np.random.default_rng(1)
    for label in range(25):
        (tmp_path / "many" / f"c{label:02}").mkdir(parents=True)
        for index in range(3):
            Image.fromarray(rng.integers(0, 256, (4, 4), np.uint8)).save(tmp_path / f"many/c{label:02}/{index}.png")
    classes = train("--data", tmp_path / "many").stderr.splitlines()[1]
    assert classes.startswith("25 classes: c00 (3), c01 (3), ")
    assert classes.endswith(", c19 (3) and 5 more")


@pytest.mark.parametrize(
    ("kind", "options", "fit", "crop", "interpolation", "said"),
    [
        ("png", [], "contain", 1.0, "bilinear", "16×12 RGB to 28×28 grey, contain"),
        ("jpeg", [], "cover", 1.0, "bilinear", "16×12 RGB to 28×28 grey, cover"),
        ("jpeg", ["--fit", "contain"], "contain", 1.0, "bilinear", "16×12 RGB to 28×28 grey, contain"),
        (
            "png",
            ["--fit", "cover", "--crop-fraction", "0.875", "--interpolation", "bicubic"],
            "cover",
            0.875,
            "bicubic",
            "16×12 RGB to 28×28 grey, cover, the middle 87.5% of each side, bicubic",
        ),
        ("jpeg", ["--crop-fraction", "0.9"], "cover", 0.9, "bilinear", "cover, the middle 90.0% of each side"),
        ("png", ["--fit", "stretch", "--interpolation", "box"], "stretch", 1.0, "box", "28×28 grey, stretch, box"),
    ],
)
def test_the_way_of_the_pixels_is_chosen_said_and_kept_in_the_card(
    kind: str,
    options: list[str],
    fit: str,
    crop: float,
    interpolation: str,
    said: str,
    own_photos: Path,
    train: Cli,
) -> None:
    for path in own_photos.rglob("*.png"):
        with Image.open(path) as image:
            image.resize((16, 12)).save(path)
    folder = own_photos if kind == "png" else as_jpeg(own_photos, size=(16, 12))
    result = train("--data", folder, "--input", "1x28x28", *options)
    form = networks.load_checkpoint(run_of(result) / "best.safetensors", "best")[1].preprocessing
    assert (form.fit, form.crop, form.interpolation) == (fit, crop, interpolation)
    assert result.stderr.splitlines()[2].endswith(said)


@pytest.mark.parametrize("options", [[], ["--fit", "stretch"]])
def test_a_crop_without_a_cover_is_wrong_usage(options: list[str], photos: Path, train: Cli, tmp_path: Path) -> None:
    result = train("--data", photos, "--crop-fraction", "0.8", *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--crop-fraction is for --fit cover, and the fit of " in result.stderr
    assert result.stderr.endswith(f" is {options[-1] if options else 'contain'}.\n")
    assert not list(tmp_path.glob("runs/*"))


def test_a_class_without_images_is_left_out_and_that_is_said(own_photos: Path, train: Cli) -> None:
    (own_photos / "empty").mkdir()
    result = train("--data", own_photos)
    (warning,) = warnings_of(result)
    assert "empty" in warning
    assert "2 classes: dark (10), light (10)" in result.stderr
    assert run_of(result).is_dir()


@pytest.fixture
def damaged(own_photos: Path) -> Path:
    """Photos of which five cannot be decoded."""
    for index in range(4):
        (own_photos / "dark" / f"{index:02}.png").write_text("not an image")
    path = own_photos / "light" / "01.png"
    path.write_bytes(path.read_bytes()[:200])
    return own_photos


def test_all_damaged_files_are_found_at_once_and_listed(damaged: Path, train: Cli, tmp_path: Path) -> None:
    result = train("--data", damaged, "--json")
    found = json.loads(result.stdout)
    (error,) = found["errors"]
    assert (result.exit_code, found["status"], error["code"]) == (1, "error", "damaged-files")
    names = {*(f"dark/{index:02}.png" for index in range(4)), "light/01.png"}
    assert set(found["data"]["files"]) == names
    assert (found["data"]["folder"], found["data"]["total"]) == (str(damaged), 20)
    assert error["message"].startswith(f"5 of 20 files of {damaged} cannot be decoded: {damaged / 'dark' / '00.png'} ")
    assert "leave them out with --skip-damaged" in error["message"]
    assert f"all of them are listed in {found['data']['listed_in']}" in error["message"]
    with Path(found["data"]["listed_in"]).open(encoding="utf-8", newline="") as file:
        assert {row["file"]: row["problem"] for row in csv.DictReader(file)} == found["data"]["files"]
    assert "light/01.png is damaged" in found["data"]["files"]["light/01.png"].replace("\\", "/")
    assert not list(tmp_path.glob("runs/*"))


def test_damaged_files_are_left_out_where_that_is_wanted(damaged: Path, train: Cli, cli: Cli) -> None:
    result = train("--data", damaged, "--skip-damaged")
    run = run_of(result)
    (warning,) = warnings_of(result)
    assert warning.startswith(f"warning: 5 of 20 files of {damaged} cannot be decoded: ")
    assert warning.endswith("; they are left out.")
    assert "2 classes: dark (6), light (9)" in result.stderr
    with (run / "damaged.csv").open(encoding="utf-8", newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == [
            *(f"dark/{index:02}.png" for index in range(4)), "light/01.png",
        ]  # fmt: skip
    # The recipe of the run leaves them out in other commands too.
    again = cli("evaluate", run, "--json")
    assert again.exit_code == 0
    assert json.loads(again.stdout)["warnings"] == [warning.removeprefix("warning: ").removesuffix(".")]


def test_a_dry_run_says_that_no_figure_counts_wherever_it_shows_one(photos: Path, train: Cli, cli: Cli) -> None:
    result = train("--data", photos, "--limit-batches", "1", "--batch-size", "3", "--epochs", "2")
    run = run_of(result)
    assert result.stdout.startswith("dry run: best epoch ")
    assert warnings_of(result) == [
        "warning: this is a dry run of 1 batch an epoch: it uses 3 images to train, 3 to validate and 3 to test, and "
        "no figure of it counts."
    ]
    rows = result.stderr.splitlines()[-2:]
    assert [row.split()[0] for row in rows] == ["1", "2"]
    assert all(row.endswith(" dry run") for row in rows)
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as file:
        assert [row["dry_run"] for row in csv.DictReader(file)] == ["True", "True"]
    assert not {"validation_accuracy", "test_accuracy"} & set(
        networks.load_checkpoint(run / "best.safetensors", "best")[1].metrics
    )
    report = cli("report", run, "--without", "mistakes,corruptions,attacks,parity,benchmark", "--device", "cpu")
    flat = " ".join(report.stdout.split())
    assert "It was trained on 3 images of photos in 2 epochs" in flat
    assert "dry run" in report.stderr
    assert "dry run" in (run / "report.html").read_text("utf-8")


def test_json_of_a_dry_run_is_marked(photos: Path, train: Cli) -> None:
    found = json.loads(train("--data", photos, "--limit-batches", "1", "--batch-size", "3", "--json").stdout)
    assert [epoch["dry_run"] for epoch in found["data"]["epochs"]] == [True]
    result = found["data"]["result"]
    assert (result["dry_run"], result["validation_images"], result["test_images"]) == (True, 3, 3)
    assert found["warnings"][0].startswith("this is a dry run of 1 batch an epoch")


def test_a_whole_run_is_not_marked_as_a_dry_one(photos: Path, train: Cli) -> None:
    found = json.loads(train("--data", photos, "--json").stdout)
    assert [epoch["dry_run"] for epoch in found["data"]["epochs"]] == [False]
    result = found["data"]["result"]
    assert (result["dry_run"], result["validation_images"], result["test_images"]) == (False, 4, 4)


def held_out(run: Path, part: str) -> set[str]:
    with (run / "split.csv").open(encoding="utf-8", newline="") as file:
        return {row["image"] for row in csv.DictReader(file) if row["split"] == part}


def test_the_seed_of_the_training_moves_no_image_and_that_of_the_split_does(photos: Path, train: Cli) -> None:
    first = run_of(train("--data", photos))
    other_seed = run_of(train("--data", photos, "--seed", "5"))
    other_split = run_of(train("--data", photos, "--split-seed", "5"))
    assert (first / "split.csv").read_bytes() == (other_seed / "split.csv").read_bytes()
    assert held_out(first, "test") != held_out(other_split, "test")
    assert len(held_out(first, "test")) == len(held_out(other_split, "test")) == 4


def test_the_recipe_of_an_earlier_version_is_divided_anew_and_that_is_said(
    photos: Path, tmp_path: Path, cli: Cli
) -> None:
    config = tmp_path / "run.toml"
    config.write_text((OLD_RUN / "run.toml").read_text("utf-8").replace('"/data/photos"', json.dumps(str(photos))))
    result = cli("train", "--config", config, "--runs-dir", tmp_path / "runs", "--device", "cpu")
    (warning,) = warnings_of(result)
    assert warning == (
        f"warning: {config} was written before version 0.2, when the seed divided the images; this run divides them by "
        "their content, so that its figures are not those of that run; to divide them as then, add --split-by path "
        "--split-seed 3."
    )
    recipe = Recipe.from_toml(run_of(result) / "run.toml")
    assert (recipe.split_by, recipe.split_seed, recipe.seed) == ("content", 0, 3)
    as_then = cli(
        "train", "--config", config, "--runs-dir", tmp_path / "runs", "--device", "cpu", "--split-by", "path",
        "--split-seed", "3",
    )  # fmt: skip
    assert warnings_of(as_then) == []
    assert held_out(run_of(as_then), "test") != held_out(run_of(result), "test")
    # The files of the folder have the names that they had then.
    old = shutil.copytree(OLD_RUN, tmp_path / "old")
    own = cli("train", "--config", old / "run.toml", "--data", OLD_RUN.parent / "photos", "--runs-dir", tmp_path)
    assert own.exit_code == 0
    assert warnings_of(own)[0].startswith(f"warning: {old / 'run.toml'} was written before version 0.2")


def test_the_recipe_of_this_version_is_repeated_without_a_word(photos: Path, train: Cli, cli: Cli) -> None:
    run = run_of(train("--data", photos))
    result = cli("train", "--config", run / "run.toml", "--runs-dir", run.parent, "--device", "cpu")
    assert warnings_of(result) == []
    assert (run_of(result) / "split.csv").read_bytes() == (run / "split.csv").read_bytes()


@pytest.mark.parametrize(
    ("options", "folders", "named"),
    [
        (["--validation-fraction", "0.2"], ("train", "val"), "validation"),
        (["--validation-fraction", "0.3"], ("train", "val"), "validation"),
        (["--split-seed", "1"], ("train", "val"), "validation"),
        (["--split-by", "path"], ("train", "val"), "validation"),
        (["--split-by", "content"], ("train", "val", "test"), "validation and test"),
        (["--test-fraction", "0.2"], ("train", "test"), "test"),
    ],
    ids=" ".join,
)
def test_how_to_divide_a_folder_that_is_divided_is_refused(
    options: list[str], folders: tuple[str, ...], named: str, photos: Path, tmp_path: Path, cli: Cli
) -> None:
    for number, name in enumerate(folders):
        for kind in ("dark", "light"):
            target = tmp_path / "data" / name / kind
            target.mkdir(parents=True)
            for path in sorted((photos / kind).iterdir())[number::3]:
                shutil.copy(path, target)
    result = cli("train", "mlp", "--data", tmp_path / "data", *options, "--runs-dir", tmp_path / "runs")
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{' '.join(options)} has no effect: data has folders for its {named} images" in " ".join(
        result.stderr.split()
    )
    assert not (tmp_path / "runs").exists()
