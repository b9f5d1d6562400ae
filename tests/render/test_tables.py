"""Tables, as they look in a terminal of 80 columns: see `tests/golden`."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cnnkit import listing
from cnnkit.certificate import ParityCertificate
from cnnkit.data.results import DatasetInfo, Exposure
from cnnkit.evaluation.results import Evaluation
from cnnkit.exporting.results import ExportResult
from cnnkit.render import tables
from tests.expecting import rows_of

Golden = Callable[[str, str], None]
Make = Callable[..., Evaluation]
Captured = pytest.CaptureFixture[str]


def test_models_with_their_zoo_entries(
    golden: Golden, capsys: Captured, zoo_at: Callable[[Path], Path], tmp_path: Path
) -> None:
    entries = [
        {"name": name, "model": "lenet", "dataset": data, "accuracy": accuracy, "files": {}, "test_images": images}
        for name, data, accuracy, images in (
            ("lenet-mnist", "mnist", 0.9881, 10_000),
            ("lenet-fashion", "fashion-mnist", 0.9, 10_000),
            ("lenet-shapes", "shapes", 1.0, 90),
        )
    ]
    (tmp_path / "index.json").write_text(json.dumps({"entries": entries}))
    zoo_at(tmp_path)
    tables.models(listing.list_models())
    golden("models", capsys.readouterr().out)


def test_datasets(golden: Golden, capsys: Captured) -> None:
    shape, place = (28, 28, 1), Path("data")
    tables.datasets(
        [
            DatasetInfo("mnist", 10, shape, 60_000, 10_000, place, True, "under --data-dir"),
            DatasetInfo("fashion-mnist", 10, shape, 60_000, 10_000, place, False, "not under --data-dir"),
            DatasetInfo("emnist-letters", 26, shape, 124_800, 20_800, None, False, "downloads when used"),
            DatasetInfo("flowers", 102, None, 1_020, 0, None, False, "not under --data-dir"),
            DatasetInfo("shapes", 3, (28, 28, 3), 1_200, 300, None, True, "drawn by cnnkit"),
        ]
    )
    golden("datasets", capsys.readouterr().out)


def test_evaluation(golden: Golden, capsys: Captured, evaluation: Evaluation) -> None:
    tables.evaluation(evaluation)
    golden("evaluate", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("exposure", "said"),
    [
        (Exposure(known=True), True),
        (Exposure(known=True, pretraining="known"), True),
        (Exposure(), False),
        (Exposure(known=True, trained=1), False),
        (Exposure(known=True, validated=1), False),
        (Exposure(known=True, pretraining="unknown"), False),
    ],
)
def test_that_none_were_seen_is_said_only_where_it_is_proven(
    exposure: Exposure, said: bool, capsys: Captured, evaluation: Evaluation
) -> None:
    tables.evaluation(replace(evaluation, exposure=exposure))
    assert (", none of them seen in training" in " ".join(capsys.readouterr().out.split())) == said


def test_evaluation_of_long_labels_numbers_the_columns(capsys: Captured, make_evaluation: Make) -> None:
    tables.evaluation(make_evaluation(tuple(f"a rather long label {letter}" for letter in "abcdef")))
    rows = rows_of(capsys.readouterr().out)
    assert ["0", "1", "2", "3", "4", "5"] in rows
    assert ["5 a rather long label f", "1", "·", "·", "·", "·", "9"] in rows


def test_a_confusion_matrix_that_is_too_wide_points_to_the_plot(capsys: Captured, make_evaluation: Make) -> None:
    tables.evaluation(make_evaluation(tuple(map(str, range(100)))))
    out = capsys.readouterr().out
    assert "The confusion matrix is too wide for this terminal: --plot FILE.png draws it." in out
    assert "Confusion matrix: rows" not in out


@pytest.mark.parametrize("classes", [2, 3, 10, 14, 20])
def test_no_line_is_wider_than_the_terminal(classes: int, capsys: Captured, make_evaluation: Make) -> None:
    tables.evaluation(make_evaluation(tuple(f"class {index}" for index in range(classes)), images=1000))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert all(any(f"class {index}" in line for line in lines) for index in range(classes))


def test_export(golden: Golden, capsys: Captured, certificate: ParityCertificate) -> None:
    result = ExportResult(
        Path("lenet.onnx"), 0.25, 20, True, "lenet trained on mnist", "uint8 [N, H, W, C]", certificate
    )
    tables.export(result)
    trained = capsys.readouterr().out
    golden("export", trained)
    tables.export(replace(result, trained=False))
    untrained = capsys.readouterr().out
    assert untrained == trained + "The weights are random: this network was never trained.\n"


def test_brackets_in_names_are_shown_as_they_are(capsys: Captured, make_evaluation: Make) -> None:
    labels = ("cats [old]", "dogs [/]")
    tables.evaluation(make_evaluation(labels))
    out = capsys.readouterr().out
    assert [out.count(label) for label in labels] == [2 + 1, 2 + 1]


def test_two_classes_have_no_top_k(capsys: Captured, make_evaluation: Make) -> None:
    tables.evaluation(make_evaluation(("cats", "dogs")))
    out = capsys.readouterr().out
    assert "top-" not in out
    assert "18 of 20 (90%)" in out


def test_scores_of_a_class_without_images_are_dashes(capsys: Captured, evaluation: Evaluation) -> None:
    empty = replace(evaluation.classes[2], precision=None, recall=None, f1=None, support=0)
    confusion = ((5, 1, 0), (0, 4, 0), (0, 0, 0))
    tables.evaluation(replace(evaluation, classes=(*evaluation.classes[:2], empty), confusion=confusion))
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("triangles"))
    assert row.split() == ["triangles", "–", "–", "–", "0"]


@pytest.mark.parametrize(("smallest", "recall"), [(20_000, "99.00%"), (2_000, "99.0%"), (200, "99%")])
def test_classes_have_the_decimals_of_the_smallest(
    smallest: int, recall: str, capsys: Captured, evaluation: Evaluation
) -> None:
    classes = tuple(replace(row, recall=0.99) for row in evaluation.classes)
    confusion = ((50_000, 0, 0), (0, 50_000, 0), (0, 0, smallest))
    tables.evaluation(replace(evaluation, classes=classes, confusion=confusion))
    assert capsys.readouterr().out.count(f" {recall} ") == 3


@pytest.mark.parametrize(("value", "text"), [((6, 28, 28), "6×28×28"), ((10,), "10"), ((), "–")])
def test_shape(value: tuple[int, ...], text: str) -> None:
    assert tables.shape(value) == text
