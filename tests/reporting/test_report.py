"""A report is what the other commands find, and a part that cannot be had costs no other one."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import cnnkit
from cnnkit.data import sets
from cnnkit.errors import CheckpointError, DeviceError, OutputError, UnknownNameError, UsageError
from cnnkit.inspection.results import ModelSummary
from cnnkit.progress import Notice, WorkProgress
from cnnkit.reporting.report import EPSILONS, _affordable
from cnnkit.reporting.results import SECTIONS, Report
from cnnkit.words import percent, share
from tests.conftest import FEW
from tests.expecting import expect_error

IMAGES = 20


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spend less time on measuring speed, which is looked at elsewhere."""
    monkeypatch.setattr("cnnkit.reporting.report._SECONDS", 0.05)


@pytest.fixture(scope="module")
def found(tiny_run: Path) -> Report:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sets.BUILT_IN, "shapes", FEW)
        patch.setattr("cnnkit.reporting.report._SECONDS", 0.05)
        return cnnkit.report(tiny_run, images=IMAGES, device="cpu")


def test_nothing_is_left_out_of_a_run(found: Report) -> None:
    assert found.left_out == ()
    assert all(found.reason(name) is None for name in SECTIONS)
    assert found.is_run
    assert (found.origin.network, found.origin.dataset) == ("shapes-cnn", "shapes")
    assert found.origin.splits == {"train": 48, "validation": 12, "test": 30}
    assert found.origin.recipe["epochs"] == 2
    assert re.fullmatch(r"CPU, \d+ threads?", found.origin.hardware)


@pytest.mark.slow
@pytest.mark.usefixtures("few_shapes")
def test_its_numbers_are_those_of_the_other_commands(found: Report, tiny_run: Path, tmp_path: Path) -> None:
    assert found.evaluation is not None
    assert replace(found.evaluation, seconds=0) == replace(cnnkit.evaluate(tiny_run, device="cpu"), seconds=0)
    assert found.mistakes is not None
    mistakes = cnnkit.find_mistakes(tiny_run, device="cpu", top=12)
    assert replace(found.mistakes, seconds=0) == replace(mistakes, seconds=0)
    assert found.corruptions is not None
    corrupted = cnnkit.attack(tiny_run, only=["corruptions"], images=IMAGES, device="cpu")
    assert replace(found.corruptions, seconds=0) == replace(corrupted, seconds=0)
    assert found.attacks is not None
    attacked = cnnkit.attack(
        tiny_run, only=["fgsm", "pgd"], norms=["linf"], epsilons=EPSILONS, images=IMAGES, device="cpu"
    )
    assert [a.accuracies for a in found.attacks.attacks] == [a.accuracies for a in attacked.attacks]
    exported = cnnkit.export(tiny_run, tmp_path / "net.onnx")
    verified = cnnkit.verify(exported.path, against=str(tiny_run), device="cpu")
    assert (found.certificate, found.onnx_mb) == (verified.certificate, exported.size_mb)
    assert found.layers == cnnkit.summarize(tiny_run)
    assert found.parameters == 174_243
    assert [row.epoch for row in found.records] == [1, 2]
    lines = (tiny_run / "metrics.csv").read_text("utf-8").splitlines()[1:]
    assert [line.split(",")[1] for line in lines] == [str(row.train_loss) for row in found.records]
    assert found.benchmark is not None
    assert [(row.device, row.batch, row.model) for row in found.benchmark.measurements] == [
        ("CPU", 1, str(tiny_run)),
        ("CPU", 32, str(tiny_run)),
    ]


def test_the_page_says_these_numbers_and_stands_alone(
    found: Report, tmp_path: Path, stands_alone: Callable[[Path], str]
) -> None:
    from cnnkit.render import report

    report.write(found, tmp_path / "report.html")
    text = stands_alone(tmp_path / "report.html")
    scores, proof = found.evaluation, found.certificate
    assert scores is not None
    assert proof is not None
    assert found.corruptions is not None
    assert found.attacks is not None
    expected = [
        share(scores.accuracy, of=scores.images),
        f"{scores.loss:.4f}",
        percent(scores.calibration_error, of=scores.images),
        "174,243",
        "48 images",
    ]
    fractions = [value for row in scores.classes for value in (row.precision, row.recall, row.f1)]
    for measured in (*found.corruptions.corruptions, *found.attacks.attacks):
        fractions += measured.accuracies
    expected += [percent(value, of=scores.images) for value in fractions]
    expected += [f"{row.validation_loss:.4f}" for row in found.records]
    expected += [proof.images, f"{proof.max_absolute_difference:.2g}", found.origin.weights_sha256]
    assert [value for value in expected if value not in text] == []
    assert "This part is missing" not in text
    # Nothing of where the page was made travels with it.
    assert str(Path(found.model).parent) not in (tmp_path / "report.html").read_text("utf-8")


def test_pictures_of_what_was_done_to_images_are_kept(found: Report) -> None:
    assert {len(pictures) for pictures in found.samples.values()} == {5}
    assert len(found.samples) == 8
    assert all(content.startswith(b"\x89PNG") for pictures in found.samples.values() for content in pictures)
    assert found.corruptions is not None
    assert {curve.samples for curve in found.corruptions.corruptions} == {()}


@pytest.mark.slow
@pytest.mark.usefixtures("few_shapes")
def test_the_run_is_left_as_it_was(tiny_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    cnnkit.export(run)
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    without = [name for name in SECTIONS if name not in {"parity", "curves"}]
    found = cnnkit.report(run, without=without, device="cpu")
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    assert not found.onnx_made
    assert found.certificate is not None
    assert found.certificate.images_count == 30
    # The file of other weights is not taken for the run's.
    cnnkit.export("lenet", run / "model.onnx")
    assert cnnkit.report(run, without=without, device="cpu").onnx_made


@pytest.mark.slow
@pytest.mark.usefixtures("few_shapes")
def test_a_zoo_entry_lacks_the_records_only() -> None:
    found = cnnkit.report("shapes-cnn", data="shapes", without=["corruptions", "attacks"], device="cpu")
    asked = "it was not asked for"
    assert [(out.section, out.reason == asked) for out in found.left_out] == [
        ("curves", False),
        ("corruptions", True),
        ("attacks", True),
    ]
    assert (
        found.reason("curves")
        == "records of the training are in a run folder, and shapes-cnn-basicshapes is no run folder"
    )
    # The data is not that of the training, whose sizes it says nothing about.
    assert (found.origin.dataset, found.origin.splits, found.origin.saved) == ("basicshapes", {}, "")
    assert found.evaluation is not None
    assert replace(found.evaluation, seconds=0) == replace(
        cnnkit.evaluate("shapes-cnn", data="shapes", device="cpu"), seconds=0
    )


@pytest.mark.usefixtures("few_shapes")
def test_an_exported_file_has_no_gradients_and_carries_its_certificate(tiny_onnx: Path) -> None:
    found = cnnkit.report(tiny_onnx, without=["mistakes", "corruptions"], images=5, device="cpu")
    assert {out.section for out in found.left_out} == {"curves", "mistakes", "corruptions", "attacks"}
    assert "fgsm and pgd follow gradients" in str(found.reason("attacks"))
    assert found.certificate == cnnkit.load(tiny_onnx).card.parity
    assert found.parameters == 174_243


@pytest.mark.slow
def test_without_the_images_all_else_is_there(photos_run: Path, tmp_path: Path) -> None:
    found = cnnkit.report(photos_run, data=str(tmp_path / "gone"), device="cpu")
    assert {out.section for out in found.left_out} == {"evaluation", "mistakes", "corruptions", "attacks"}
    assert len({out.reason for out in found.left_out}) == 1
    assert "there is no image folder" in str(found.reason("evaluation"))
    assert found.certificate is not None
    assert found.certificate.passed
    assert len(found.records) == 10
    assert found.layers is not None


@pytest.mark.usefixtures("nets")
def test_a_network_that_cannot_be_exported_has_neither_proof_nor_speed(photos: Path, tmp_path: Path) -> None:
    recipe = cnnkit.default_recipe("tinynets:Branching", data=str(photos), epochs=1)
    list(cnnkit.train(recipe, runs_dir=tmp_path, device="cpu"))
    run = tmp_path / "tinynets-Branching-photos-1"
    found = cnnkit.report(run, without=["corruptions", "mistakes"], images=4, trust_code=True, device="cpu")
    reasons = {out.section: out.reason for out in found.left_out}
    assert {"parity", "benchmark"} <= set(reasons)
    assert reasons["parity"] == reasons["benchmark"]
    assert "cannot be exported to ONNX" in reasons["parity"]
    assert found.certificate is None
    assert found.evaluation is not None


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"without": ["everything"]}, UsageError),
        ({"images": -1}, UsageError),
        ({"device": "cuda:99"}, DeviceError),
        ({"output": "."}, OutputError),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_work(options: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        cnnkit.report("shapes-cnn", **options)  # type: ignore[arg-type]


def test_a_missing_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError):
        cnnkit.report(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with expect_error(CheckpointError):
        cnnkit.report(tmp_path / "empty")


def test_progress_names_the_part(photos_run: Path) -> None:
    steps = list(cnnkit.report.steps(photos_run, without=["corruptions", "attacks", "benchmark"], device="cpu"))
    assert all(isinstance(step, WorkProgress | Notice) for step in steps)
    parts = dict.fromkeys(step.what.partition(":")[0] for step in steps if isinstance(step, WorkProgress))
    assert list(parts) == ["images", "curves", "evaluation", "mistakes", "layers", "parity"]


@pytest.mark.parametrize(
    ("work", "engine", "images"),
    [
        (523_712, "PyTorch CPU", 500),
        (10**8, "PyTorch CPU", 100),
        (10**9, "PyTorch CPU", 50),
        (10**9, "PyTorch CUDA", 500),
    ],
)
def test_large_networks_are_attacked_on_fewer_images(work: int, engine: str, images: int) -> None:
    layers = ModelSummary("net", (3, 224, 224), 1, (), 0, 0, work, 0.0)
    assert _affordable("net", layers, engine, trust_code=False) == images
