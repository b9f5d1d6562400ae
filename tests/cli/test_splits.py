"""What commands say of the images that a network was trained on, and of those that it was not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cnnkit.training import networks

Cli = Callable[..., Any]
Shows = Callable[[Path], str]
FAST = ("softmax-regression", "--epochs", "1", "--device", "cpu")
QUICK = ("--without", "corruptions,attacks,parity,benchmark", "--device", "cpu")
UNSEEN = ", none of them seen in training"


@pytest.fixture
def train(cli: Cli, tmp_path: Path) -> Callable[..., Path]:
    """Train for an epoch and return the run folder: `train("--data", folder)`."""

    def run(*options: object) -> Path:
        result = cli("train", *FAST, "--runs-dir", tmp_path / "runs", *options)
        assert result.exit_code == 0, result.output
        return Path(result.stdout.splitlines()[-1]).parent

    return run


@pytest.fixture
def given_validation(photos: Path, tmp_path: Path) -> Path:
    """A folder with train/ and val/, and no test/."""
    for part, first in (("train", 0), ("val", 6)):
        for label in ("dark", "light"):
            (tmp_path / "given" / part / label).mkdir(parents=True)
            for index in range(first, first + (6 if part == "train" else 4)):
                shutil.copy(photos / label / f"{index:02}.png", tmp_path / "given" / part / label)
    return tmp_path / "given"


def title_of(result: Any) -> str:
    """Return the title of the first table, which a narrow terminal would break."""
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split(" accuracy ")[0].split())


def warnings_of(result: Any) -> list[str]:
    return [line for line in result.stderr.splitlines() if line.startswith("warning: ")]


@pytest.mark.parametrize("how", ["fraction", "folder"])
def test_without_a_test_set_every_command_says_so_and_goes_on(
    how: str, photos: Path, given_validation: Path, cli: Cli, tmp_path: Path
) -> None:
    name, options = {
        "fraction": ("photos", ("--data", photos, "--test-fraction", "0")),
        "folder": ("given", ("--data", given_validation)),
    }[how]
    result = cli("train", *FAST, "--runs-dir", tmp_path / "runs", *options)
    run = tmp_path / "runs" / f"softmax-regression-{name}-1"
    assert result.exit_code == 0
    assert ", no test set, " in result.stdout.splitlines()[0]
    assert warnings_of(result)[0].startswith(f"warning: there is no test set in {name}; ")
    assert " to validate, 0 to test; " in result.stderr
    assert "test_accuracy" not in networks.load_checkpoint(run / "best.safetensors", "best")[1].metrics

    said = f"warning: there is no test set in {name}; these are validation figures: the images chose the best epoch."
    evaluation = cli("evaluate", run, "--device", "cpu")
    assert f"on {name}, validation: " in title_of(evaluation)
    assert UNSEEN not in title_of(evaluation)
    assert warnings_of(evaluation) == [said]

    mistakes = cli("mistakes", run, "-o", tmp_path / "mistakes", "--device", "cpu")
    assert mistakes.exit_code == 0
    assert warnings_of(mistakes) == [said]
    attack = cli("attack", run, "--only", "corruptions", "-o", tmp_path / "attack", "--device", "cpu")
    assert attack.exit_code == 0
    assert warnings_of(attack) == [said]
    assert cli("export", run, "--onnx").exit_code == 0
    verification = cli("verify", run / "model.onnx", "--json")
    assert verification.exit_code == 0
    found = json.loads(verification.stdout)
    assert found["data"]["split"] == "validation"
    assert found["warnings"] == [said.removeprefix("warning: ").removesuffix(".")]


def test_json_of_a_run_without_a_test_set_has_no_test_accuracy(photos: Path, cli: Cli, tmp_path: Path) -> None:
    result = cli("train", *FAST, "--runs-dir", tmp_path, "--data", photos, "--test-fraction", "0", "--json")
    found = json.loads(result.stdout)["data"]
    assert (found["result"]["test_accuracy"], found["result"]["test_images"]) == (None, 0)
    assert [row["test"] for row in found["data"]["classes"]] == [0, 0]


def test_a_test_split_that_is_not_there_cannot_be_named(photos: Path, train: Callable[..., Path], cli: Cli) -> None:
    result = cli("evaluate", train("--data", photos, "--test-fraction", "0"), "--split", "test")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "test" in result.stderr


def test_a_report_without_a_test_set_says_so_once(
    given_validation: Path, train: Callable[..., Path], cli: Cli, stands_alone: Shows
) -> None:
    run = train("--data", given_validation)
    result = cli("report", run, *QUICK)
    assert result.exit_code == 0
    assert (result.stdout + result.stderr).count("no test set in given") == 1
    text = stands_alone(run / "report.html")
    assert text.count("There is no test set in given; these are validation figures") == 1
    assert " validation images it gets " in text or " validation images right" in text


@pytest.mark.parametrize(
    ("split", "proven"), [("test", True), ("validation", False), ("train", False), ("all", False), (None, True)]
)
def test_that_none_were_seen_is_said_where_it_is_proven(
    split: str | None, proven: bool, photos: Path, train: Callable[..., Path], cli: Cli
) -> None:
    result = cli("evaluate", train("--data", photos), *([] if split is None else ["--split", split]))
    assert (UNSEEN in title_of(result)) == proven
    assert (warnings_of(result) == []) == proven


def test_images_that_were_seen_are_counted(photos: Path, train: Callable[..., Path], cli: Cli) -> None:
    run = train("--data", photos)
    assert warnings_of(cli("evaluate", run, "--split", "train")) == [
        "warning: the network was trained on all of these 12 images, so it does better on them than on new ones."
    ]
    assert warnings_of(cli("evaluate", run, "--split", "validation")) == [
        "warning: the network's best epoch was chosen on all of these 4 images."
    ]
    exposure = json.loads(cli("evaluate", run, "--split", "all", "--json").stdout)["data"]["exposure"]
    assert exposure == {
        "known": True,
        "trained": 12,
        "validated": 4,
        "pretraining": "none",
        "exact": True,
        "changed": 0,
    }


def test_a_copy_of_the_training_images_is_recognised_by_content(
    photos: Path, train: Callable[..., Path], cli: Cli, tmp_path: Path
) -> None:
    run = train("--data", photos)
    copy = tmp_path / "elsewhere"
    for path in photos.rglob("*.png"):
        (copy / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy / path.parent.name / f"renamed-{path.name}")
    assert "on elsewhere, test: 4 images" in title_of(cli("evaluate", run, "--data", copy))
    # Images of which it has seen none are measured all together.
    seen = {path.read_bytes() for path in photos.rglob("*.png")}
    fresh = Path(shutil.copytree(photos, tmp_path / "fresh"))
    for path in fresh.rglob("*.png"):
        path.write_bytes(path.read_bytes() + b"\0")  # behind the last chunk, where no decoder looks
        assert path.read_bytes() not in seen
    result = cli("evaluate", run, "--data", fresh)
    assert "on fresh, all: 20 images" in title_of(result)
    assert UNSEEN in title_of(result)


def test_nothing_is_said_to_be_unseen_without_the_list_of_the_training(
    photos: Path, train: Callable[..., Path], cli: Cli, tmp_path: Path
) -> None:
    run = train("--data", photos)
    alone = tmp_path / "alone.safetensors"
    shutil.copy(run / "best.safetensors", alone)
    other = Path(shutil.copytree(photos, tmp_path / "other"))
    (other / "dark" / "00.png").unlink()
    result = cli("evaluate", alone, "--data", other)
    assert UNSEEN not in title_of(result)
    assert "split.csv" in " ".join(warnings_of(result))
    # Beside the very images of the training, the list can be made again.
    assert UNSEEN in title_of(cli("evaluate", alone))


@pytest.fixture
def across_splits(photos: Path, tmp_path: Path) -> Path:
    """A folder whose test/ has two images of its train/."""
    folder = tmp_path / "leaky"
    shutil.copytree(photos, folder / "train")
    for label in ("dark", "light"):
        (folder / "test" / label).mkdir(parents=True)
        for index in (0, 1):
            content = (photos / label / f"{index:02}.png").read_bytes()
            (folder / "test" / label / f"t{index}.png").write_bytes(content + b"\0" * index)
    return folder


ACROSS_SPLITS = (
    "2 identical images stand in more than one split, which makes results look better than they are: "
    "train/dark/00.png = test/dark/t0.png; train/light/00.png = test/light/t0.png"
)
ACROSS_CLASSES = (
    "1 identical image stands in more than one class, so that some labels must be wrong: dark/00.png = light/new.png"
)


@pytest.mark.parametrize("kind", ["splits", "classes"])
def test_duplicates_are_said_by_every_command_that_measures(
    kind: str, across_splits: Path, own_photos: Path, cli: Cli, tmp_path: Path, stands_alone: Shows
) -> None:
    folder, said = {"splits": (across_splits, ACROSS_SPLITS), "classes": (own_photos, ACROSS_CLASSES)}[kind]
    if kind == "classes":
        shutil.copy(own_photos / "dark" / "00.png", own_photos / "light" / "new.png")
    trained = cli("train", *FAST, "--runs-dir", tmp_path / "runs", "--data", folder)
    assert trained.exit_code == 0, trained.output
    run = Path(trained.stdout.splitlines()[-1]).parent
    measured = cli("evaluate", run, "--json")
    place = tmp_path / "mistakes"
    mistakes = cli("mistakes", run, "-o", place, "--device", "cpu")
    report = cli("report", run, *QUICK)
    for result in (trained, mistakes, report):
        flat = " ".join(result.stderr.split())
        lines = [line for line in warnings_of(result) if "identical" in line]
        assert lines == [f"warning: {set_order(said, lines[0])}."], flat
    found = json.loads(measured.stdout)
    assert any("identical" in text for text in found["warnings"])
    groups = found["data"]["duplicates"][f"across_{kind}"]
    assert sorted(map(sorted, groups)) == sorted(
        sorted(group.split(" = ")) for group in said.partition(": ")[2].split("; ")
    )
    for page in (place / "mistakes.html", run / "report.html"):
        text = " ".join(stands_alone(page).split())
        assert text.count(" more than one " + {"splits": "split", "classes": "class"}[kind]) == 1, page


def set_order(said: str, line: str) -> str:
    """Return a warning with its groups in the order of a line: that of the splits, which hashes decide."""
    head, _, groups = said.partition(": ")
    return head + ": " + "; ".join(sorted(groups.split("; "), key=line.find))


def test_weights_that_saw_what_is_held_out_are_refused(
    photos: Path, train: Callable[..., Path], cli: Cli, tmp_path: Path
) -> None:
    start = train("--data", photos)
    options = ("--data", photos, "--weights", start, "--split-seed", "1", "--runs-dir", tmp_path / "second")
    result = cli("train", *FAST, *options, "--json")
    found = json.loads(result.stdout)
    (error,) = found["errors"]
    assert (result.exit_code, error["code"]) == (1, "overlap")
    assert error["message"].startswith(f"{start} was trained on ")
    assert "--allow-overlap" in error["message"]
    # All of the images are named, by split.
    assert sum(map(len, found["data"].values())) > 0
    assert all((photos / name).is_file() for names in found["data"].values() for name in names)
    assert not list((tmp_path / "second").glob("*"))


def test_weights_that_saw_what_is_held_out_are_allowed_by_word_and_the_card_and_the_report_say_it(
    photos: Path, train: Callable[..., Path], cli: Cli, tmp_path: Path
) -> None:
    start = train("--data", photos)
    options = ("--data", photos, "--weights", start, "--split-seed", "1", "--runs-dir", tmp_path / "second")
    result = cli("train", *FAST, *options, "--allow-overlap")
    assert result.exit_code == 0
    (warning,) = warnings_of(result)
    assert warning.startswith(f"warning: {start} has seen ")
    run = tmp_path / "second" / "softmax-regression-photos-1"
    pretraining = networks.load_checkpoint(run / "best.safetensors", "best")[1].pretraining
    assert pretraining is not None
    assert pretraining.known
    assert sum(pretraining.overlap.values()) > 0
    evaluation = cli("evaluate", run)
    assert UNSEEN not in title_of(evaluation)
    assert "the network was trained on " in warnings_of(evaluation)[0]
    assert "(--allow-overlap)" in cli("report", run, *QUICK).stderr
    assert (run / "report.html").read_text("utf-8").count("(--allow-overlap)") == 1


def test_weights_bring_their_split_along(photos: Path, train: Callable[..., Path], cli: Cli, tmp_path: Path) -> None:
    start = train("--data", photos, "--split-seed", "7", "--test-fraction", "0.3")
    result = cli("train", *FAST, "--data", photos, "--weights", start, "--runs-dir", tmp_path / "second")
    assert result.exit_code == 0, result.output
    assert f"the split is that of {start}: by content, split seed 7" in result.stderr
    run = tmp_path / "second" / "softmax-regression-photos-1"
    rows = [set((folder / "split.csv").read_text("utf-8").splitlines()) for folder in (start, run)]
    assert {row for row in rows[1] if ",pretraining" not in row} == rows[0]
    assert UNSEEN in title_of(cli("evaluate", run))
