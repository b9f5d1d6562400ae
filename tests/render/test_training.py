"""A training run as it is shown: rows and the bar on standard error, the result on standard output."""

import json
import re
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

import pytest

from cnnkit.data.results import ClassCount
from cnnkit.progress import LoadProgress, Notice
from cnnkit.recipe import Recipe
from cnnkit.render import notices, training
from cnnkit.training.results import (
    EpochRecord,
    StartRecord,
    StepProgress,
    TrainingEvent,
    TrainingFinished,
    TrainingStarted,
    TrainingStopped,
)
from tests.expecting import rows_of

Golden = Callable[[str, str], None]
Captured = pytest.CaptureFixture[str]
RUN = Path("net-photos-1")
RECIPE = Recipe(model="net", data="./photos", epochs=2, schedule="cosine", augmentation="affine", input_shape=(3, 8, 8))
STARTED = TrainingStarted(
    RUN,
    "cpu",
    1,
    21_578,
    21_578,
    48_000,
    12_000,
    10_000,
    750,
    classes=(ClassCount("cats", 24_000, 6_000, 5_000), ClassCount("dogs", 24_000, 6_000, 5_000)),
    preparation="32×24 to 640×480 RGB in 1,204 sizes to 8×8 RGB, cover",
)
FIRST = EpochRecord(1, 0.6543, 0.7812, 0.4321, 0.8765, 0.001, 12.34, 3890.5, True)
SECOND = EpochRecord(2, 0.4, 0.9, 0.5, 0.85, 0.0005, 11.0, 4200.0, False)
FINISHED = TrainingFinished(RUN, RUN / "best.safetensors", 1, 0.8765, 0.8712, 25.5, "epochs")
STOPPED = TrainingStopped(RUN, 1, 250, 1)
EVENTS: list[TrainingEvent] = [
    LoadProgress("train images", 256, 1000),
    STARTED,
    StartRecord(0.7012, 0.4875, 1000),
    StepProgress(1, 750, 48_000, 0.6543, 0.7812),
    FIRST,
    StepProgress(2, 750, 48_000, 0.4, 0.9),
    SECOND,
    FINISHED,
]


def run(*events: TrainingEvent, ends: type[BaseException] | None = None) -> Generator[TrainingEvent]:
    yield from events
    if ends is not None:
        raise ends


def test_an_epoch_that_was_cut_short_says_of_how_many_images_it_is(capsys: Captured) -> None:
    cut = replace(SECOND, train_images=3200)
    whole = replace(FIRST, train_images=48_000)
    assert training.show(run(STARTED, whole, cut, FINISHED), RECIPE, as_json=False) is None
    rows = capsys.readouterr().err.splitlines()[-2:]
    assert ["3,200 of 48,000 images" in row for row in rows] == [False, True]


def test_a_run_that_ends_well(golden: Golden, capsys: Captured) -> None:
    assert training.show(run(*EVENTS), RECIPE, as_json=False) is None
    out, err = capsys.readouterr()
    golden("train", err + out.replace("\\", "/"))


def test_a_run_of_no_epochs_says_what_it_measured_before_training(capsys: Captured) -> None:
    start = StartRecord(0.7012, 0.4875, 1000)
    finished = replace(FINISHED, best_epoch=0, validation_accuracy=0.4875, validation_images=1000, test_accuracy=None)
    training.show(run(STARTED, start, finished), RECIPE, as_json=False)
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "before training: validation 48.8%, on 1,000 of 12,000 images, 25.5 s"
    assert err.splitlines()[-1].split()[:5] == ["0", "–", "–", "0.7012", "48.8%"]


def test_a_run_that_goes_on_says_where_and_what_is_not_as_usual(capsys: Captured) -> None:
    unusual = {
        "epochs": 3, "warmup_epochs": 0.5, "weights": "resnet", "freeze": True, "ema": 0.99, "precision": "bf16",
        "compile": True, "mixup": 0.2, "adversarial_training": 0.1, "label_smoothing": 0.1,
    }  # fmt: skip
    started = replace(STARTED, processes=2, trainable=1_290, resumed_at=(2, 125), earlier=(FIRST, SECOND))
    third = replace(SECOND, epoch=3, is_best=True)
    events = run(Notice("starting from resnet, with a new head for other classes"), started, third, FINISHED)
    training.show(events, RECIPE.override(unusual), as_json=False)
    err = capsys.readouterr().err
    assert [row[0] for row in rows_of(err)[-4:]] == ["1", "2", "going on after step 125 of epoch 3", "3"]
    for text in ("resnet", "1,290", "2 processes", "warm-up 0.5", "mixup 0.2", "PGD", "bf16", "0.99", "compile"):
        assert text in err


@pytest.mark.parametrize(("at", "text"), [((2, 0), "going on after epoch 2"), (None, None)])
def test_a_run_that_goes_on_between_two_epochs_has_no_step(
    at: tuple[int, int] | None, text: str | None, capsys: Captured
) -> None:
    training.show(run(replace(STARTED, resumed_at=at), FINISHED), RECIPE, as_json=False)
    assert [line for line in capsys.readouterr().err.splitlines() if "going on" in line] == ([text] if text else [])


def test_a_dry_run_is_marked_wherever_a_figure_is_shown(capsys: Captured) -> None:
    notices.clear()
    first, second = (replace(record, dry_run=True) for record in (FIRST, SECOND))
    started = replace(STARTED, dry_run=(128, 64, 50))
    finished = replace(FINISHED, dry_run=True, validation_accuracy=0.5, test_accuracy=0.5)
    training.show(run(started, first, second, finished), RECIPE.override({"limit_batches": 2}), as_json=False)
    out, err = capsys.readouterr()
    assert [line.endswith("dry run") for line in err.splitlines()[-2:]] == [True, True]
    assert out.startswith("dry run: ")
    assert "warning: this is a dry run of 2 batches" in err
    notices.clear()


def test_a_warning_while_images_are_loaded_is_shown_once(capsys: Captured) -> None:
    notices.clear()
    note = Notice("some labels must be wrong", warning=True)
    training.show(run(note, note, *EVENTS), RECIPE, as_json=True)
    out, err = capsys.readouterr()
    assert err.count("warning: some labels must be wrong.\n") == 1
    assert json.loads(out)["warnings"] == ["some labels must be wrong"]
    notices.clear()


def test_a_run_without_test_split_says_so(capsys: Captured) -> None:
    training.show(run(*EVENTS[:-1], replace(FINISHED, test_accuracy=None)), RECIPE, as_json=False)
    assert capsys.readouterr().out.startswith("best epoch 1: validation 87.65%, no test set, 25.5 s\n")


@pytest.mark.parametrize("ended_by", ["patience", "max-seconds"])
def test_an_early_end_names_the_option_that_made_it(ended_by: str, capsys: Captured) -> None:
    training.show(run(*EVENTS[:-1], replace(FINISHED, ended_by=ended_by)), RECIPE, as_json=False)
    assert capsys.readouterr().out.startswith(
        f"best epoch 1: validation 87.65%, test 87.12%, 25.5 s (ended by --{ended_by})\n"
    )


def test_json_has_recipe_epochs_and_result_and_progress_stays_where_it_is(capsys: Captured) -> None:
    training.show(run(*EVENTS), RECIPE, as_json=True)
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["command"], found["status"]) == ("train", "ok")
    assert set(found["data"]) == {"recipe", "data", "start", "epochs", "result"}
    assert found["data"]["start"] == {
        "validation_loss": 0.7012, "validation_accuracy": 0.4875, "images": 1000, "dry_run": False,
    }  # fmt: skip
    assert found["data"]["data"] == {
        "classes": [
            {"label": "cats", "train": 24_000, "validation": 6_000, "test": 5_000},
            {"label": "dogs", "train": 24_000, "validation": 6_000, "test": 5_000},
        ],
        "preparation": "32×24 to 640×480 RGB in 1,204 sizes to 8×8 RGB, cover",
        "skipped": [],
    }
    assert found["data"]["recipe"]["input_shape"] == [3, 8, 8]
    assert [record["epoch"] for record in found["data"]["epochs"]] == [1, 2]
    assert found["data"]["result"]["test_accuracy"] == 0.8712
    assert "epoch  train loss" in err


def test_json_of_a_run_that_went_on_has_the_earlier_epochs_too(capsys: Captured) -> None:
    events = run(replace(STARTED, resumed_at=(1, 0), earlier=(FIRST,)), SECOND, FINISHED)
    training.show(events, RECIPE, as_json=True)
    assert [record["epoch"] for record in json.loads(capsys.readouterr().out)["data"]["epochs"]] == [1, 2]


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("last", [FINISHED, STOPPED])
def test_all_but_one_of_several_processes_are_quiet(last: TrainingEvent, as_json: bool, capsys: Captured) -> None:
    training.show(run(Notice("a note"), *EVENTS[:-1], last), RECIPE, as_json=as_json, quiet=True)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("quiet", [False, True])
def test_where_a_run_stopped_comes_back_after_all_its_events(quiet: bool, capsys: Captured) -> None:
    ended = []

    def events() -> Generator[TrainingEvent]:
        yield from [STARTED, FIRST, STOPPED]
        ended.append(True)

    assert training.show(events(), RECIPE, as_json=True, quiet=quiet) == STOPPED
    assert ended == [True]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("stopped", "text"),
    [
        (STOPPED, "stopped by Ctrl-C after step 250 of epoch 2. The best so far, epoch 1, is in net-photos-1. "),
        (replace(STOPPED, epochs=0, best_epoch=0), "stopped by Ctrl-C after step 250 of epoch 1. "),
        (replace(STOPPED, steps=0), "stopped by Ctrl-C after epoch 1. The best so far, epoch 1, is in net-photos-1. "),
    ],
)
def test_how_to_go_on_is_one_command(stopped: TrainingStopped, text: str) -> None:
    assert training.how_to_go_on(stopped, "Ctrl-C") == f"{text}Go on with: cnnkit train --resume net-photos-1"


@pytest.mark.parametrize("signal", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize(
    ("seen", "message"),
    [
        (0, "stopped: training had not begun, and nothing is left behind"),
        (1, "stopped: training had not begun, and nothing is left behind"),
        (3, "stopped: training had not begun, and nothing is left behind"),
        (5, "stopped: the best so far, epoch 1 (87.65%), is in net-photos-1"),
        (7, "stopped: the best so far, epoch 1 (87.65%), is in net-photos-1"),
    ],
)
def test_a_run_that_is_stopped_at_once_says_what_is_kept_in_one_line(
    signal: type[BaseException], seen: int, message: str, capsys: Captured
) -> None:
    with pytest.raises(signal):
        training.show(run(*EVENTS[:seen], ends=signal), RECIPE, as_json=False)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1] == message
    assert err.count("stopped") == 1


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["best.safetensors"], "stopped: no epoch was finished; the weights as they were are in {}"),
        (
            ["best.safetensors", "state.safetensors"],
            "stopped: no epoch was finished; the weights as they were are in {}; go on with: cnnkit train --resume {}",
        ),
    ],
)
def test_a_run_that_is_stopped_at_once_names_what_its_folder_has(
    files: list[str], message: str, tmp_path: Path, capsys: Captured
) -> None:
    for name in files:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(KeyboardInterrupt):
        training.show(run(replace(STARTED, run=tmp_path), ends=KeyboardInterrupt), RECIPE, as_json=False)
    assert capsys.readouterr().err.splitlines()[-1] == message.replace("{}", str(tmp_path))


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let standard error be a terminal."""
    monkeypatch.setenv("TTY_COMPATIBLE", "1")


def steps(*, resumed_at: tuple[int, int] | None = None) -> Generator[TrainingEvent]:
    yield LoadProgress("train images", 256, 1000)
    time.sleep(0.15)
    yield replace(STARTED, resumed_at=resumed_at)
    for step in (100, 200, 300):
        time.sleep(0.05)
        yield StepProgress(1, step, 64 * step, 1.2345, 0.5678)
    raise KeyboardInterrupt


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("resumed_at", [None, (0, 50)])
def test_a_terminal_sees_loss_accuracy_speed_and_time_left(
    resumed_at: tuple[int, int] | None, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(KeyboardInterrupt):
        training.show(steps(resumed_at=resumed_at), RECIPE, as_json=False)
    err = capsys.readouterr().err
    assert "reading train images" in err
    for part in ("epoch 1/2", "loss 1.2345", "56.78%", " images/s", " left"):
        assert part in err, part


@pytest.mark.usefixtures("terminal")
def test_a_terminal_of_80_columns_has_room_for_long_numbers_and_the_echo_of_ctrl_c(capsys: Captured) -> None:
    def events() -> Generator[TrainingEvent]:
        yield STARTED
        for step in (100, 200, 300):
            time.sleep(0.12)
            yield StepProgress(98, step, 200_000, 12.3456, 0.99999)
        time.sleep(0.12)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.show(events(), RECIPE.override({"epochs": 100, "batch_size": 2000}), as_json=False)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    bars = [line for line in re.split(r"[\r\n]", shown) if line.startswith("epoch 98")]
    assert re.search(r"[━╸╺] loss 12\.3456  >99\.99%  [0-9,]{5,} images/s [0-9:]+ left", bars[-1])
    assert max(map(len, bars)) <= 77


@pytest.mark.usefixtures("terminal")
def test_a_quiet_process_draws_nothing_on_a_terminal_either(capsys: Captured) -> None:
    with pytest.raises(KeyboardInterrupt):
        training.show(steps(), RECIPE, as_json=False, quiet=True)
    assert capsys.readouterr() == ("", "")


def test_a_huge_loss_does_not_hide_its_neighbours(capsys: Captured) -> None:
    wild = replace(FIRST, validation_loss=2.1e31, validation_accuracy=0.5)
    training.show(run(STARTED, wild, FINISHED), RECIPE, as_json=False)
    header, row = capsys.readouterr().err.splitlines()[4:6]
    assert len(row) <= len(header) + len(" best")
    assert "50.00%" in row
