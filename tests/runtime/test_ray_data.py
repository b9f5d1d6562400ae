"""Ray Data on a local cluster of two workers: the same predictions as here, in order, whatever becomes of a worker."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

import cnnkit
from cnnkit.errors import (
    CheckpointError,
    ClusterError,
    DataError,
    DeviceError,
    ImageError,
    ImageFormatError,
    ImageTooLargeError,
    MissingDependencyError,
    UsageError,
)
from cnnkit.runtime import ray_cluster, ray_data
from cnnkit.sources import load_on_ray
from tests.expecting import expect_error

# Of Ray's own making.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    # What Ray 2.64 takes away: https://github.com/ray-project/ray/pull/65228
    pytest.mark.filterwarnings("error:.*ray_remote_args"),
]


@pytest.fixture(scope="module", autouse=True)
def patient():
    """Let Ray kill no worker where other programs need the memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_memory_monitor_refresh_ms", "0")
        yield


@pytest.fixture(scope="module")
def cluster(patient):
    """Two workers, in a cluster that the tests of this module share."""
    ray = ray_cluster.import_ray()
    with ray_cluster.connected(ray, 2):
        yield ray


@pytest.fixture
def hostile(own_photos):
    """The 20 photographs and, among them, what is no image, too large, not there, of an odd name, or of 16 bits."""
    (own_photos / "dark" / "03.png").write_bytes(b"no image")
    (own_photos / "light" / "00.png").write_bytes(bytes(65 * 2**20))
    paths = sorted(own_photos.rglob("*.png"))
    odd = own_photos / os.fsdecode(b"\xff odd.png")
    odd.write_bytes(paths[0].read_bytes())
    Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20)).save(own_photos / "deep.png")
    return [*paths[:7], own_photos / "absent.png", *paths[7:], odd, own_photos / "deep.png"]


def told(results):
    return [(type(result), str(result)) if isinstance(result, ImageError) else result for result in results]


@pytest.mark.parametrize("named", ["absolute", "relative"])
def test_results_are_those_of_the_local_engine_in_their_order(
    named, cluster, hostile, own_photos, photos_onnx, monkeypatch
):
    paths = hostile
    if named == "relative":
        monkeypatch.chdir(own_photos)
        paths = [str(path.relative_to(own_photos)) for path in hostile]
    classifier = load_on_ray(photos_onnx, workers=2)
    found = list(classifier.stream(paths, top=2, batch_size=3))
    here = cnnkit.load(photos_onnx, device="cpu")
    assert told(found) == told(here.stream(paths, top=2, batch_size=3))
    assert [type(found[index]) for index in (3, 7, 11)] == [ImageFormatError, ImageError, ImageTooLargeError]
    (guessed,) = found[-1].warnings
    assert guessed.kinds == ("the range of values is guessed from each image by itself",)
    assert classifier.engine == "onnxruntime CPU on 2 Ray workers"
    assert classifier.card == here.card
    assert cluster.is_initialized()


def test_a_worker_that_is_lost_costs_no_image(cluster, photos, photos_onnx):
    paths = sorted(photos.rglob("*.png")) * 50
    results = load_on_ray(photos_onnx, workers=2).stream(paths, batch_size=2)
    found = [next(results)]
    victim = next(
        child
        for child in psutil.Process().children(recursive=True)
        if child.name().startswith("ray::MapWork") or "MapWorker" in " ".join(child.cmdline())
    )
    victim.kill()
    found += results
    assert [Path(result.source) for result in found] == paths
    assert [result.label for result in found] == [path.parent.name for path in paths]


def test_a_network_that_no_worker_can_use_is_its_own_error(cluster, photos, make_onnx, tmp_path):
    (tmp_path / "net.onnx").write_bytes(make_onnx(("batch", 3, 10, 12), name="logits"))
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\nc\nd\n")
    classifier = load_on_ray(tmp_path / "net.onnx", labels=labels, workers=1)
    labels.unlink()
    with expect_error(DataError):
        list(classifier.stream([photos / "dark" / "00.png"]))


def test_what_lies_beside_the_file_gets_to_the_workers(cluster, photos, make_onnx, tmp_path):
    # As it ends in a Gemm, its scores would be those of one class among all.
    (tmp_path / "net.onnx").write_bytes(make_onnx(("batch", 3, 10, 12), name="logits"))
    (tmp_path / "config.json").write_text(
        '{"id2label": {"0": "a", "1": "b", "2": "c", "3": "d"}, "problem_type": "multi_label_classification"}'
    )
    image = photos / "dark" / "00.png"
    (found,) = load_on_ray(tmp_path / "net.onnx", workers=1).predict([image])
    (expected,) = cnnkit.load(tmp_path / "net.onnx", device="cpu").predict([image])
    assert found == expected
    assert found.independent
    assert found.label in set("abcd")


@pytest.fixture
def deadly(monkeypatch):
    """Let images of some name end the worker that classifies them, as no file that is known does."""

    class Worker(ray_data.Worker):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            usual = self._classifier.stream

            def stream(paths, **options):
                for path in paths:
                    if "deadly" in path.name:
                        os._exit(1)
                return usual(paths, **options)

            self._classifier.stream = stream

    # Made in a function, it travels to the worker by value.
    monkeypatch.setattr(ray_data, "Worker", Worker)


def test_an_image_that_ends_its_worker_costs_that_image(cluster, deadly, own_photos, photos_onnx):
    paths = sorted(own_photos.rglob("*.png"))
    for place in (3, 17):
        paths.insert(place, own_photos / f"deadly-{place}.png")
        paths[place].write_bytes(paths[0].read_bytes())
    found = list(load_on_ray(photos_onnx, workers=2).stream(paths, batch_size=4))
    assert [Path(result.source) for result in found if not isinstance(result, ImageError)] == [
        path for path in paths if "deadly" not in path.name
    ]
    for place in (3, 17):
        assert isinstance(found[place], ImageError)
        assert str(paths[place]) in str(found[place])


def test_workers_that_end_while_they_open_the_network_are_an_error_at_last(cluster, photos, photos_onnx, monkeypatch):
    def ended():
        class Worker(ray_data.Worker):
            def _begin(self, work):
                count = super()._begin(work)
                if work == "opening" and count <= 3:
                    os._exit(1)
                return count

        return Worker

    classifier = load_on_ray(photos_onnx, workers=1)
    monkeypatch.setattr(ray_data, "Worker", ended())
    with expect_error(ClusterError):
        list(classifier.stream([photos / "dark" / "00.png"]))


def test_gpus_that_are_not_there_are_an_error(cluster, photos, photos_onnx):
    classifier = load_on_ray(photos_onnx, workers=1000, device="cuda")
    with expect_error(DeviceError, 1000):
        list(classifier.stream([photos / "dark" / "00.png"]))


@pytest.mark.parametrize(
    ("images", "options"),
    [
        ([b"content"], {}),
        ([np.zeros((4, 4), np.uint8)], {}),
        ("one.png", {}),
        (Path("one.png"), {}),
        (["a.png"], {"top": 0}),
        (["a.png"], {"batch_size": 0}),
    ],
)
def test_what_cannot_be_sent_to_workers_is_wrong_usage(images, options, photos_onnx):
    with pytest.raises(UsageError):
        list(load_on_ray(photos_onnx).stream(images, **options))


def test_no_image_needs_no_cluster(photos_onnx):
    assert list(load_on_ray(photos_onnx).stream([])) == []


@pytest.mark.parametrize(("options", "name"), [({"workers": 0}, 0), ({"device": "cuda:1"}, "Ray")])
def test_options_that_make_no_sense_are_wrong_usage(options, name, photos_onnx):
    with expect_error(UsageError, name):
        load_on_ray(photos_onnx, **options)


def test_a_run_has_to_be_exported_first(photos_run):
    with expect_error(CheckpointError, f"cnnkit export {photos_run} --onnx"):
        load_on_ray(photos_run)


def test_without_ray_the_pip_line_is_told(photos_onnx, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with expect_error(MissingDependencyError, 'pip install "ray[data]"'):
        load_on_ray(photos_onnx)


def test_the_command_is_quiet_and_stops_what_it_started(photos, photos_onnx, tmp_path):
    arguments = ["predict", photos, "-m", photos_onnx, "-o", tmp_path / "found.csv", "--engine", "ray", "--workers", 2]
    done = subprocess.run(
        [sys.executable, "-m", "cnnkit", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=300
    )
    # Where Ray takes longer than ten seconds to start, the command's own progress is a line.
    said = [line for line in done.stderr.splitlines() if not line.startswith("predicting: ")]
    assert (done.returncode, said) == (0, [])
    assert done.stdout.splitlines() == [
        f"{tmp_path / 'found.csv'}: 20 images",
        f"model {photos_onnx}, onnxruntime CPU on 2 Ray workers",
    ]
    assert len((tmp_path / "found.csv").read_text().splitlines()) == 21
