import json

import numpy as np
import pytest

import cnnkit
from cnnkit import zoo
from cnnkit.card import CARD_KEY
from cnnkit.errors import CheckpointError, DeviceError, OnnxError, OutputError, UsageError
from cnnkit.runtime import hardware, session, tuning
from cnnkit.runtime.providers import ProviderOptions
from cnnkit.runtime.session import open_session
from cnnkit.runtime.timing import Timing
from tests.expecting import expect_error


@pytest.fixture
def exported(photos_onnx, tmp_path):
    """A copy of an exported file that a test may change."""
    path = tmp_path / "net.onnx"
    path.write_bytes(photos_onnx.read_bytes())
    return path


@pytest.fixture
def timed(monkeypatch):
    """Make up what the sets of options take: `timed({"threads 1": 0.5}, {...})`, one table a race; 1.0 for the rest."""

    def use(*tables):
        left = list(tables)

        def race(candidates, *, seconds, rounds, seed):
            table = left.pop(0)
            for call in candidates.values():
                call()
            noise = np.linspace(0.99, 1.01, rounds)
            made = {name: table.get(name, 1.0) * noise for name in candidates}
            return {name: Timing(0.1, rounds, rounds) for name, rounds in made.items()}

        monkeypatch.setattr(tuning, "race", race)

    return use


def card_of(path):
    return json.loads(open_session(path, "net", device="cpu").get_modelmeta().custom_metadata_map[CARD_KEY])


def test_the_winner_is_stored_and_used_from_then_on(exported, timed):
    before = open_session(exported, "net", device="cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (3, *before.get_inputs()[0].shape[1:]), np.uint8)
    expected = before.run(None, {"image": pixels})
    timed({"threads 1": 0.5, "no arena": 0.8}, {"threads 1": 0.5})
    result = cnnkit.tune(exported, device="cpu", batch=4)
    assert (result.winner, result.options, result.stored_in) == ("threads 1", {"threads": 1}, exported)
    assert result.speed_up == pytest.approx((2.0, 2.0, 2.0))
    verdicts = {row.name: row.verdict for row in result.tried}
    assert (verdicts["default"], verdicts["no arena"], verdicts["optimisation extended"]) == (
        "default",
        "faster",
        "no difference",
    )
    entry = card_of(exported)["tuning"][f"cpu: {hardware.processor()}"]
    assert (entry["options"], entry["batch"], entry["speed_up"]) == ({"threads": 1}, 4, 2.0)
    after = open_session(exported, "net", device="cpu")
    assert (after.placement.options, after.placement.tuned) == (ProviderOptions(threads=1), True)
    for found, wanted in zip(after.run(None, {"image": pixels}), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    # What the caller says counts more than the card.
    assert open_session(exported, "net", device="cpu", threads=2).placement.options.threads == 2
    plain = open_session(exported, "net", device="cpu", options=ProviderOptions())
    assert (plain.placement.options, plain.placement.tuned) == (ProviderOptions(), False)
    assert cnnkit.load(exported, device="cpu").network.engine == "onnxruntime CPU"


@pytest.mark.parametrize("tables", [({},), ({"threads 1": 0.5}, {}), ({"threads 1": 1.5},)])
def test_without_a_winner_beyond_the_noise_the_file_is_untouched(exported, timed, tables):
    before = exported.read_bytes()
    timed(*tables)
    result = cnnkit.tune(exported, device="cpu", batch=2)
    assert (result.winner, result.options, result.stored_in, result.removed) == (None, {}, None, False)
    assert exported.read_bytes() == before


def test_what_the_card_held_goes_when_nothing_wins_any_more(exported, timed):
    timed({"threads 1": 0.5}, {"threads 1": 0.5}, {})
    cnnkit.tune(exported, device="cpu", batch=2)
    assert cnnkit.tune(exported, device="cpu", batch=2).removed
    assert card_of(exported)["tuning"] is None
    assert not open_session(exported, "net", device="cpu").placement.tuned


def test_options_of_other_hardware_stay_and_are_not_used(exported, timed):
    from cnnkit.card import ModelCard
    from cnnkit.exporting.carding import replace_card

    card = ModelCard.from_metadata({CARD_KEY: json.dumps(card_of(exported))}, "net")
    other = {"cuda: Test GPU": {"options": {"nhwc": True}}}
    replace_card(exported, ModelCard(**{**vars(card), "tuning": other}))
    assert not open_session(exported, "net", device="cpu").placement.tuned
    timed({"no arena": 0.5}, {"no arena": 0.5})
    cnnkit.tune(exported, device="cpu", batch=2)
    assert set(card_of(exported)["tuning"]) == {"cuda: Test GPU", f"cpu: {hardware.processor()}"}


def test_a_card_with_options_that_are_not_valid_is_refused(exported):
    from cnnkit.card import ModelCard
    from cnnkit.exporting.carding import replace_card

    card = ModelCard.from_metadata({CARD_KEY: json.dumps(card_of(exported))}, "net")
    bad = {f"cpu: {hardware.processor()}": {"options": {"threads": 10**6}}}
    replace_card(exported, ModelCard(**{**vars(card), "tuning": bad}))
    with expect_error(CheckpointError, "net", "tuning"):
        open_session(exported, "net", device="cpu")


@pytest.mark.slow
def test_a_real_race_finds_a_row_for_every_set(exported):
    result, card = tuning.race_options(exported, "net", device="cpu", batch=2, seconds=0.02, rounds=3)
    assert [row.name for row in result.tried] == ["default", *map(str, tuning.candidates("cpu"))]
    assert all(row.mean_ms > 0 for row in result.tried)
    assert card.model == "softmax-regression"


def test_a_set_whose_logits_differ_does_not_take_part(exported):
    session = open_session(exported, "net", device="cpu")
    images = np.random.default_rng(0).integers(0, 256, (2, *session.get_inputs()[0].shape[1:]), np.uint8)
    logits = session.run(["logits"], {"image": images})[0]
    assert tuning._refusal(session, [images], [logits], 1e-4) == ""
    assert tuning._refusal(session, [images], [logits + 9e-5], 1e-4) == ""
    assert "logits differ by 0.00" in tuning._refusal(session, [images], [logits + np.float32(2e-3)], 1e-4)
    assert "logits differ by nan" in tuning._refusal(session, [images], [logits * np.nan], 1e-4)


def test_the_sets_differ_from_the_default_and_each_other():
    for kind in ("cpu", "cuda", "tensorrt"):
        sets = tuning.candidates(kind)
        assert len(set(sets)) == len(sets)
        assert ProviderOptions() not in sets


@pytest.mark.parametrize("ref", ["lenet-mnist", "lenet", "digits"])
def test_the_zoo_is_not_tuned(ref):
    with expect_error(UsageError, ref, f"cnnkit export {ref} --onnx"):
        cnnkit.tune(ref, device="cpu")


def test_a_file_of_the_zoo_is_not_tuned():
    with expect_error(UsageError, "zoo"):
        cnnkit.tune(zoo.folder() / "lenet-mnist" / "model.onnx", device="cpu")


def test_what_is_no_exported_file_is_not_tuned(photos_run, make_onnx, tmp_path):
    with expect_error(CheckpointError, "cnnkit export"):
        cnnkit.tune(photos_run, device="cpu")
    (tmp_path / "foreign.onnx").write_bytes(make_onnx())
    with expect_error(OnnxError, "card"):
        cnnkit.tune(tmp_path / "foreign.onnx", device="cpu")


def test_a_batch_that_cannot_be_is_wrong_usage(exported):
    with expect_error(UsageError, 0):
        cnnkit.tune(exported, device="cpu", batch=0)


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_time_that_is_none_is_wrong_usage(exported, seconds):
    with expect_error(UsageError):
        cnnkit.tune(exported, device="cpu", seconds=seconds)


def test_a_set_that_onnxruntime_does_not_run_is_a_row_and_no_end(exported, timed, monkeypatch):
    failing = ProviderOptions(threads=1)

    def refuse(session, *arguments):
        # An error of onnxruntime's own, which is no RuntimeError.
        return session.run(["nothing"], {}) if session.placement.options == failing else ""

    monkeypatch.setattr(tuning, "_refusal", refuse)
    timed({})
    rows = {row.name: row for row in cnnkit.tune(exported, device="cpu", batch=2).tried}
    assert (rows["threads 1"].verdict, rows["no arena"].verdict) == ("failed", "no difference")
    assert rows["threads 1"].reason


def test_a_device_that_refuses_stored_options_runs_without_them(exported, timed, monkeypatch):
    timed({"threads 1": 0.5}, {"threads 1": 0.5})
    cnnkit.tune(exported, device="cpu", batch=2)
    place = session._place

    def refuse(*arguments, tuned=False):
        if tuned:
            raise DeviceError("not these options")
        return place(*arguments)

    monkeypatch.setattr(session, "_place", refuse)
    assert not open_session(exported, "net", device="cpu").placement.tuned


def test_a_device_that_cannot_be_had_is_an_error_and_changes_nothing(exported):
    if hardware.has_driver():
        pytest.skip("this machine has a driver")
    before = exported.read_bytes()
    with expect_error(DeviceError, "NVIDIA"):
        cnnkit.tune(exported, device="cuda")
    assert exported.read_bytes() == before


def test_a_folder_that_cannot_be_written_is_found_before_the_race(exported, monkeypatch):
    import tempfile

    def refuse(**options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with expect_error(OutputError):
        cnnkit.tune(exported, device="cpu")


@pytest.mark.gpu
def test_tuning_on_a_gpu_keeps_the_logits(exported):
    driver = hardware.find_driver()
    if driver is None or not driver.gpus:
        pytest.skip("needs an NVIDIA GPU")
    result = cnnkit.tune(exported, device="cuda", batch=8, seconds=0.1)
    assert result.device == "CUDA"
    assert not [row for row in result.tried if row.verdict == "failed"]
    cpu, gpu = (cnnkit.load(exported, device=device).network for device in ("cpu", "cuda"))
    pixels = np.random.default_rng(0).integers(0, 256, (5, *cpu.card.preprocessing.shape), np.uint8)
    np.testing.assert_allclose(gpu.logits(pixels), cpu.logits(pixels), atol=1e-4)
