"""fp16 and int8: what is converted, what stays exact, what is measured, and what is refused."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper
from PIL import Image

import cnnkit
from cnnkit.card import CARD_KEY, ModelCard
from cnnkit.certificate import ParityCertificate
from cnnkit.data import shapes
from cnnkit.errors import DataError, OnnxError, PrecisionError, UsageError
from cnnkit.exporting import precision as reduced
from cnnkit.exporting.half import to_half
from cnnkit.exporting.quantisation import has_exact_products, quantise
from cnnkit.exporting.results import ExportResult, Measured, OutOfRange, PrecisionReport
from cnnkit.exporting.rounding import Rounded
from cnnkit.runtime.timing import Timing, race
from tests.expecting import expect_error

pytestmark = pytest.mark.usefixtures("nets")
ZOO = "shapes-cnn"


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def card_in(path: Path) -> ModelCard:
    card = ModelCard.from_metadata(session(path).get_modelmeta().custom_metadata_map, str(path))
    assert card is not None
    return card


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    """Measure latencies for a fifth of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reduced, "race", partial(race, seconds=0.2))
        yield


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    return cnnkit.export(ZOO, tmp_path_factory.mktemp("fp32") / "shapes.onnx")


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    path = tmp_path_factory.mktemp("int8") / "shapes.onnx"
    return cnnkit.export(ZOO, path, precision="int8", data="shapes", force=True, device="cpu")


@pytest.fixture(scope="module")
def fp16(tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    path = tmp_path_factory.mktemp("fp16") / "shapes.onnx"
    return cnnkit.export(ZOO, path, precision="fp16", data="shapes", force=True, device="cpu")


def train(net: str, photos: Path, runs: Path, **changes: object) -> Path:
    recipe = cnnkit.default_recipe(net, data=str(photos), **{"epochs": 20, "learning_rate": 0.002, **changes})
    list(cnnkit.train(recipe, runs_dir=runs, device="cpu"))
    return next(runs.iterdir())


@pytest.fixture(params=["int8", "fp16"])
def either(request: pytest.FixtureRequest) -> ExportResult:
    result = request.getfixturevalue(request.param)
    assert isinstance(result, ExportResult)
    return result


def test_the_contract_of_the_file_stays(either: ExportResult, plain: ExportResult) -> None:
    one, other = session(either.path), session(plain.path)
    for ours, theirs in zip(
        [*one.get_inputs(), *one.get_outputs()], [*other.get_inputs(), *other.get_outputs()], strict=True
    ):
        assert (ours.name, ours.type, ours.shape) == (theirs.name, theirs.type, theirs.shape)
    images = shapes.draw_shapes(2, seed=9)[0]
    for batch in (images[:1], images):
        logits, probabilities = one.run(["logits", "probabilities"], {"image": batch})
        np.testing.assert_allclose(probabilities, torch.from_numpy(logits).softmax(1), atol=1e-5)
    onnx.checker.check_model(onnx.load(either.path), full_check=True)


def test_the_normalisation_stays_exact(either: ExportResult, plain: ExportResult) -> None:
    exact = {w.name: numpy_helper.to_array(w) for w in onnx.load(plain.path).graph.initializer if "normalise" in w.name}
    model = onnx.load(either.path)
    found = {w.name: numpy_helper.to_array(w) for w in model.graph.initializer if "normalise" in w.name}
    assert exact.keys() == found.keys() == {"normalise.scale", "normalise.offset"}
    assert all(found[name].dtype == np.float32 and (found[name] == exact[name]).all() for name in exact)
    makers = {name: node for node in model.graph.node for name in node.output}
    (add,) = [node for node in model.graph.node if "normalise.offset" in node.input]
    (scaled,) = [name for name in add.input if name != "normalise.offset"]
    assert makers[scaled].op_type == "Mul"
    (pixels,) = [name for name in makers[scaled].input if name != "normalise.scale"]
    assert (makers[pixels].op_type, makers[pixels].attribute[0].i) == ("Cast", TensorProto.FLOAT)


def test_weights_are_in_the_precision(int8: ExportResult, fp16: ExportResult, plain: ExportResult) -> None:
    def types(result: ExportResult) -> set[int]:
        return {
            w.data_type
            for w in onnx.load(result.path).graph.initializer
            if len(w.dims) > 1 and w.name.startswith("network.")
        }

    assert types(plain) == {TensorProto.FLOAT}
    assert types(fp16) == {TensorProto.FLOAT16}
    assert types(int8) == {TensorProto.INT8}
    assert int8.size_mb < 0.4 * plain.size_mb
    assert fp16.size_mb < 0.6 * plain.size_mb


def test_each_channel_has_its_own_scale(int8: ExportResult) -> None:
    scales = {w.name: w.dims for w in onnx.load(int8.path).graph.initializer if w.name.endswith(".weight_scale")}
    assert scales["network.block1.conv1.weight_scale"] == [32]


def test_the_file_has_the_operator_sets_that_it_uses_and_the_card_alone(int8: ExportResult) -> None:
    model = onnx.load(int8.path)
    assert [imported.domain for imported in model.opset_import] == [""]
    assert [entry.key for entry in model.metadata_props] == [CARD_KEY]


def test_the_card_and_its_certificate_say_what_it_is(either: ExportResult, plain: ExportResult) -> None:
    card, report = card_in(either.path), either.precision
    assert report is not None
    assert card.precision == report.precision
    assert card_in(plain.path).precision == "fp32"
    certificate = card.parity
    assert certificate == either.certificate
    assert certificate is not None
    assert certificate.passed
    assert certificate.precision == report.precision
    assert certificate.images == f"{report.images:,} validation images of shapes"
    assert certificate.max_absolute_difference > 1e-4
    assert (certificate.torch_accuracy, certificate.onnx_accuracy) == (report.fp32.accuracy, report.reduced.accuracy)
    other = card_in(plain.path)
    assert (card.model, card.labels, card.preprocessing) == (other.model, other.labels, other.preprocessing)
    assert (card.weights_sha256, card.recipe, card.metrics) == (other.weights_sha256, other.recipe, other.metrics)


def test_the_report_is_what_evaluation_finds(either: ExportResult, plain: ExportResult) -> None:
    report = either.precision
    assert report is not None
    assert (report.split, report.test_images) == ("validation", 300)
    for file, measured in ((either, report.reduced), (plain, report.fp32)):
        decides = cnnkit.evaluate(file.path, data="shapes", split="validation", device="cpu")
        assert (measured.accuracy, report.images) == (decides.accuracy, decides.images)
        assert measured.test_accuracy == cnnkit.evaluate(file.path, data="shapes", split="test", device="cpu").accuracy
    assert report.top1_agreement >= 0.95
    low, high = report.speed_up_interval
    assert low <= report.speed_up <= high
    assert report.fp32.latency_p50_ms > 0
    assert report.engine == "onnxruntime CPU"


def test_the_report_says_whether_the_network_was_trained_on_the_data(
    int8: ExportResult, photos_run: Path, own_photos: Path, tmp_path: Path
) -> None:
    assert int8.precision is not None
    assert not int8.precision.trained_on
    other = Path(shutil.copytree(own_photos, tmp_path / "others"))
    (other / "dark" / "00.png").unlink()
    for data, known, count in ((None, True, 4), (str(own_photos), True, 4), (str(other), False, 3)):
        found = cnnkit.export(photos_run, tmp_path / "a.onnx", precision="fp16", data=data, force=True, device="cpu")
        assert found.precision is not None
        assert found.precision.trained_on is known
        assert found.certificate.images == f"{count} validation images of {found.precision.data}"


def test_verify_decides_on_the_split_that_export_decided_on(int8: ExportResult) -> None:
    found = cnnkit.verify(int8.path, data="shapes", device="cpu")
    assert (found.split, found.passed) == ("validation", True)
    assert found.certificate.torch_accuracy == int8.certificate.torch_accuracy
    assert cnnkit.verify(int8.path, data="shapes", split="test", device="cpu").split == "test"


DIM, BRIGHT = 60, 220


def draw(folder: Path, *, validation: int, test: int) -> Path:
    """Write an image folder with three split folders; their images of the class `light` are of that brightness."""
    for split, light in (("train", DIM), ("val", validation), ("test", test)):
        for label, value in (("dark", DIM), ("light", light)):
            place = folder / split / label
            place.mkdir(parents=True, exist_ok=True)
            for number in range(4):
                Image.new("RGB", (8, 8), (value - number,) * 3).save(place / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def saturating(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose network answers in eight bits as in float32 for dim images only."""
    folder = tmp_path_factory.mktemp("saturating")
    photos = draw(folder / "lights", validation=DIM, test=DIM)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent.parent / "nets")
        return train("tinynets:Saturating", photos, folder / "runs", epochs=1, learning_rate=1e-9, normalisation="unit")


@pytest.mark.parametrize(
    ("validation", "test", "accepted", "test_accuracies"),
    [
        (DIM, DIM, True, (0.5, 0.5)),
        (DIM, BRIGHT, True, (1.0, 0.5)),
        (BRIGHT, DIM, False, (0.5, 0.5)),
        (BRIGHT, BRIGHT, False, (1.0, 0.5)),
    ],
)
def test_validation_images_decide_and_test_images_do_not(
    validation: int,
    test: int,
    accepted: bool,
    test_accuracies: tuple[float, float],
    saturating: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def int8_is_faster(candidates: Mapping[str, object]) -> dict[str, Timing]:
        takes = {"fp32": 1e-3, "int8": 0.5e-3}
        return {name: Timing(1.0, *2 * [takes[name] * np.linspace(0.99, 1.01, 20)]) for name in candidates}

    monkeypatch.setattr(reduced, "race", int8_is_faster)
    photos = draw(tmp_path / "lights", validation=validation, test=test)
    path = tmp_path / "a.onnx"

    def export() -> PrecisionReport | None:
        return cnnkit.export(
            saturating, path, precision="int8", data=str(photos), trust_code=True, device="cpu"
        ).precision

    if accepted:
        report = export()
    else:
        with expect_error(PrecisionError, "50%", "100%", "8 validation images", "lights") as caught:
            export()
        report = caught.value.result  # type: ignore[assignment]
    assert path.exists() is accepted
    assert report is not None
    assert (report.fp32.test_accuracy, report.reduced.test_accuracy) == test_accuracies
    assert bool(report.objections) is not accepted


@pytest.mark.skipif(not has_exact_products(), reason="int8 is faster where the processor has instructions for it")
def test_int8_of_a_convolutional_network_is_faster(int8: ExportResult) -> None:
    assert int8.precision is not None
    # Medians, since another program may take the processor from a whole round.
    assert int8.precision.reduced.latency_p50_ms < int8.precision.fp32.latency_p50_ms


def test_every_layer_with_weights_is_ranked_by_its_own_error(int8: ExportResult, fp16: ExportResult) -> None:
    assert int8.precision is not None
    assert fp16.precision is not None
    layers = int8.precision.layers
    assert {layer.name for layer in layers} == {
        f"block{block}.conv{conv}" for block in (1, 2, 3) for conv in (1, 2)
    } | {"fc1", "fc2"}
    assert [layer.alone_snr_db for layer in layers] == sorted(layer.alone_snr_db for layer in layers)
    assert all(20 < layer.alone_snr_db < 80 for layer in layers)
    (first,) = [layer for layer in layers if layer.name == "block1.conv1"]
    assert first.alone_snr_db == pytest.approx(first.together_snr_db)
    assert fp16.precision.layers == ()


def test_the_same_calibration_gives_the_same_bytes(plain: ExportResult) -> None:
    batches = [shapes.draw_shapes(2, seed=seed)[0] for seed in range(3)]
    one, other = (quantise(onnx.load(plain.path), batches) for _ in range(2))
    assert one[0].SerializeToString(deterministic=True) == other[0].SerializeToString(deterministic=True)
    assert one[1] == other[1]


def test_a_layer_that_eight_bits_ruin_is_named_and_the_file_refused(photos: Path, tmp_path: Path) -> None:
    run = train("tinynets:Lopsided", photos, tmp_path / "runs")
    with expect_error(PrecisionError, "50%", "100%", "4 validation images", "50.0 points") as caught:
        cnnkit.export(run, precision="int8", trust_code=True, device="cpu")
    assert caught.value.exit_code == 3
    report = caught.value.result
    assert isinstance(report, PrecisionReport)
    assert report.layers[0].name == "middle"
    assert report.layers[0].alone_snr_db < 5
    assert report.layers[1].alone_snr_db > 30
    assert not list(run.glob("*.onnx"))
    forced = cnnkit.export(run, precision="int8", trust_code=True, device="cpu", force=True)
    assert forced.path == run / "model-int8.onnx"
    assert forced.precision is not None
    assert forced.precision.objections
    assert not card_in(forced.path).parity.passed  # type: ignore[union-attr]
    assert cnnkit.load(forced.path).card.precision == "int8"


def test_values_beyond_float16_are_refused_even_by_force(photos: Path, tmp_path: Path) -> None:
    run = train("tinynets:Loud", photos, tmp_path / "runs", epochs=1, learning_rate=1e-9)
    with expect_error(PrecisionError, "fp16", "layer loud"):
        cnnkit.export(run, precision="fp16", trust_code=True, device="cpu", force=True)
    assert not list(run.glob("*.onnx"))


def test_values_that_vanish_in_float16_are_refused_where_the_cpu_keeps_them(photos: Path, tmp_path: Path) -> None:
    run = train("tinynets:Fading", photos, tmp_path / "runs")
    with expect_error(PrecisionError, "GPU", "accuracy") as caught:
        cnnkit.export(run, precision="fp16", trust_code=True, device="cpu")
    report = caught.value.result
    assert isinstance(report, PrecisionReport)
    assert (report.reduced.accuracy, report.rounded_accuracy) == (1.0, 0.5)


def test_networks_of_the_zoo_fit_into_float16(fp16: ExportResult) -> None:
    report = fp16.precision
    assert report is not None
    assert (report.in_range, report.out_of_range) == (True, ())
    assert report.rounded_agreement == 1.0
    assert report.kept_fp32 == ("Softmax node_softmax",)


def test_what_is_not_faster_is_refused(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train("lenet", photos, tmp_path / "runs", epochs=1)

    def let_int8_take(seconds: float) -> None:
        def timed(candidates: Mapping[str, object]) -> dict[str, Timing]:
            takes = {"fp32": 1e-3, "int8": seconds}
            return {name: Timing(1.0, *2 * [takes[name] * np.linspace(0.99, 1.01, 20)]) for name in candidates}

        monkeypatch.setattr(reduced, "race", timed)

    let_int8_take(1.25e-3)
    with expect_error(PrecisionError, "1.25 ms", "1 ms", "0.80 times") as caught:
        cnnkit.export(run, precision="int8", accuracy_budget=100, device="cpu")
    assert caught.value.result.speed_up_interval[0] <= 1  # type: ignore[attr-defined]
    assert not list(run.glob("*.onnx"))
    let_int8_take(0.8e-3)
    taken = cnnkit.export(run, precision="int8", accuracy_budget=100, device="cpu")
    assert taken.precision is not None
    assert (taken.precision.objections, taken.precision.speed_up) == ((), pytest.approx(1.25))


def test_logits_that_no_layer_with_weights_makes_are_not_rounded_to_eight_bits(tmp_path: Path) -> None:
    path = cnnkit.export("tinynets:Pooled", tmp_path / "a.onnx").path
    images = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3), np.uint8)
    model, layers = quantise(onnx.load(path), [images])
    found = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    logits = found.run(["logits"], {"image": images})[0]
    np.testing.assert_allclose(logits, session(path).run(["logits"], {"image": images})[0], atol=0.02)
    assert len(np.unique(logits[:, 0])) > 48
    assert [layer.name for layer in layers] == ["conv"]


def test_a_network_without_weights_has_no_layers_to_rank(tmp_path: Path) -> None:
    path = cnnkit.export("tinynets:Weightless", tmp_path / "a.onnx").path
    images = np.zeros((2, 8, 8, 3), np.uint8)
    assert quantise(onnx.load(path), [images])[1] == ()
    model = onnx.load(path)
    rounded = Rounded(model, to_half(model))
    rounded.logits(images)
    assert not rounded.out_of_range


def test_what_onnxruntime_cannot_convert_is_an_error(
    photos_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("no such operator")

    monkeypatch.setattr(reduced, "quantise", fail)
    with expect_error(OnnxError, "int8", "operator", "--precision"):
        cnnkit.export(photos_run, tmp_path / "a.onnx", precision="int8")
    assert list(tmp_path.iterdir()) == []


def test_a_raw_file_is_quantised_too(photos_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "raw.onnx"
    result = cnnkit.export(photos_run, path, precision="int8", raw_input=True, force=True, device="cpu")
    (given,) = session(path).get_inputs()
    assert (given.type, given.shape) == ("tensor(float)", ["batch", 1, 28, 28])
    assert result.precision is not None
    assert result.precision.reduced.accuracy == cnnkit.evaluate(path, device="cpu").accuracy == 1.0
    assert result.precision.layers[0].name == "fc"


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_random_weights_are_refused(precision: str, tmp_path: Path) -> None:
    with expect_error(UsageError, f"--precision {precision}"):
        cnnkit.export("tinynets:Linear", tmp_path / "a.onnx", precision=precision)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_data_that_is_gone_is_named(own_photos: Path, tmp_path: Path) -> None:
    run = train("softmax-regression", own_photos, tmp_path / "runs", epochs=1)
    shutil.rmtree(own_photos)
    with expect_error(DataError, "int8", "--data", own_photos):
        cnnkit.export(run, precision="int8")
    assert not list(run.glob("*.onnx"))


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"precision": "int4"}, "int4"),
        (
            {"precision": "int8", "accuracy_budget": -1},
            "--accuracy-budget -1",
        ),
        ({"accuracy_budget": float("nan")}, "--accuracy-budget nan"),
    ],
)
def test_options_that_make_no_sense_are_wrong_usage(options: dict[str, object], name: str, tmp_path: Path) -> None:
    with expect_error(UsageError, name):
        cnnkit.export(ZOO, tmp_path / "a.onnx", **options)  # type: ignore[arg-type]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU that PyTorch can use")
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_it_is_measured_on_the_gpu_that_was_asked_for(precision: str, tmp_path: Path) -> None:
    result = cnnkit.export(
        ZOO,
        tmp_path / "a.onnx",
        precision=precision,
        data="shapes",
        force=True,
        device="cuda",  # type: ignore[arg-type]
    )
    assert result.precision is not None
    assert result.precision.engine == "onnxruntime CUDA"
    assert result.certificate.passed


@pytest.fixture
def measured() -> PrecisionReport:
    return PrecisionReport(
        precision="int8",
        data="mnist",
        trained_on=True,
        split="validation",
        images=12_000,
        test_images=10_000,
        calibration="512 training images",
        engine="onnxruntime CPU",
        batch=1,
        fp32=Measured(0.25, 0.99, 0.04),
        reduced=Measured(0.07, 0.985, 0.02),
        top1_agreement=0.99,
        in_range=True,
        accuracy_budget_points=0.5,
        speed_up=2.0,
        speed_up_interval=(1.9, 2.1),
        layers=(),
        objections=(),
    )


@pytest.fixture
def certificate() -> ParityCertificate:
    return ParityCertificate(
        images="12,000 validation images of mnist",
        batch_sizes=(1, 2, 7, 256),
        max_absolute_difference=0.5,
        max_relative_difference=0.05,
        max_tolerance_ratio=5000.0,
        top1_agreement=0.99,
        tolerance=1e-4,
        versions={},
        torch_accuracy=0.99,
        onnx_accuracy=0.985,
        precision="int8",
        accuracy_budget_points=0.5,
    )


Change = dict[str, object]


@pytest.mark.parametrize(
    ("report", "parity", "expected"),
    [
        ({}, {}, []),
        (
            {"accuracy_budget_points": 0.4},
            {"accuracy_budget_points": 0.4},
            ["It costs 0.50 points of accuracy, and the"],
        ),
        ({}, {"top1_agreement": 0.94}, ["Only 94.00% of the images have the top-1 class"]),
        ({"speed_up_interval": (1.0, 3.0)}, {}, ["It is not faster: 2.00 times as fast (95%: 1.00–3.00)"]),
        (
            {"in_range": False},
            {"max_absolute_difference": float("inf")},
            ["Its values leave the range of int8"],
        ),
        (
            {"in_range": False, "precision": "fp16", "out_of_range": (OutOfRange("conv1", "Conv", "weights", 1e5),)},
            {},
            ["Its weights leave the range of fp16, first in layer conv1"],
        ),
        (
            {"speed_up_interval": (0.5, 0.6)},
            {"onnx_accuracy": 0.9},
            ["It costs 9.00 points of accuracy, and the budget is 0.5", "It is not faster"],
        ),
    ],
)
def test_objections(
    report: Change, parity: Change, expected: list[str], measured: PrecisionReport, certificate: ParityCertificate
) -> None:
    found = reduced.objections_to(
        replace(measured, **report),  # type: ignore[arg-type]
        replace(certificate, **parity),  # type: ignore[arg-type]
    )
    assert len(found) == len(expected)
    assert all(text.startswith(start) for text, start in zip(found, expected, strict=True))


def test_force_overrules_objections(measured: PrecisionReport) -> None:
    objected = replace(measured, objections=("It is not faster",))
    reduced.refuse(measured, "lenet", force=False)
    reduced.refuse(objected, "lenet", force=True)
    with expect_error(PrecisionError, "--force"):
        reduced.refuse(objected, "lenet", force=False)


@pytest.mark.parametrize("missing", ["torch_accuracy", "onnx_accuracy"])
def test_a_reduced_precision_without_accuracies_is_not_proven(missing: str, certificate: ParityCertificate) -> None:
    assert certificate.passed
    assert not replace(certificate, **{missing: None}).passed  # type: ignore[arg-type]


def test_a_certificate_in_float32_knows_no_budget(certificate: ParityCertificate) -> None:
    assert not replace(certificate, precision="fp32", accuracy_budget_points=100.0).passed


@pytest.mark.parametrize(
    ("machine", "capabilities", "exact"),
    [
        ("x86_64", {"avx2": True}, False),
        ("AMD64", {"avx512_vnni": True}, True),
        ("x86_64", {"avx_vnni": True}, True),
        ("aarch64", {}, True),
    ],
)
def test_weights_get_seven_bits_where_products_overflow(
    machine: str, capabilities: dict[str, bool], exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert has_exact_products() is exact


def test_a_processor_of_old_gets_seven_bits(photos_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnkit.exporting.quantisation.has_exact_products", lambda: False)
    path = tmp_path / "a.onnx"
    cnnkit.export(photos_run, path, precision="int8", force=True, device="cpu")
    weights = {w.name: numpy_helper.to_array(w) for w in onnx.load(path).graph.initializer}
    assert 32 < np.abs(weights["network.fc.weight_quantized"].astype(int)).max() <= 64


def test_nothing_is_printed(photos_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cnnkit.export(photos_run, tmp_path / "a.onnx", precision="int8", force=True, device="cpu")
    assert capfd.readouterr() == ("", "")
