"""`cnnkit datasets`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from cnnkit.data.sets import BUILT_IN

Cli = Callable[..., Any]


def found(cli: Cli, *arguments: object) -> dict[str, Any]:
    envelope = json.loads(cli("datasets", *arguments, "--json").stdout)
    assert (envelope["command"], envelope["status"]) == ("datasets", "ok")
    return {data["name"]: data for data in envelope["data"]}


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """A data folder with all the files of MNIST, and one of CIFAR-10."""
    for file in (*BUILT_IN["mnist"].files, BUILT_IN["cifar10"].files[0]):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"")
    return tmp_path


def test_what_is_present_is_told_from_what_is_not(mnist: Path, cli: Cli) -> None:
    result = cli("datasets", "--data-dir", mnist)
    assert (result.exit_code, result.stderr) == (0, "")
    rows = {line.split()[0]: line.split() for line in result.stdout.splitlines() if line}
    assert rows["mnist"][1:] == ["28×28×1", "10", "60,000", "10,000", "yes", "under", "--data-dir"]
    assert rows["cifar10"][1:] == ["32×32×3", "10", "50,000", "10,000", "no", "not", "under", "--data-dir"]
    assert rows["shapes"][5:] == ["yes", "drawn", "by", "cnnkit"]
    assert f"Looked in {mnist}" in result.stdout


def test_json_has_a_line_a_data_set(mnist: Path, cli: Cli) -> None:
    listed = found(cli, "--data-dir", mnist)
    assert list(listed) == list(BUILT_IN)
    assert listed["mnist"] == {
        "name": "mnist",
        "classes": 10,
        "image_shape": [28, 28, 1],
        "train": 60_000,
        "test": 10_000,
        "folder": str(mnist),
        "present": True,
        "how_to_get": "under --data-dir",
    }
    assert (listed["shapes"]["folder"], listed["shapes"]["present"]) == (None, True)
    assert not listed["cifar10"]["present"]


def test_the_environment_names_the_folder(mnist: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNKIT_DATA", str(mnist))
    listed = found(cli)
    assert (listed["mnist"]["present"], listed["mnist"]["how_to_get"]) == (True, "under $CNNKIT_DATA")
    elsewhere = found(cli, "--data-dir", mnist / "elsewhere")
    assert (elsewhere["mnist"]["present"], elsewhere["mnist"]["how_to_get"]) == (False, "not under --data-dir")


@pytest.mark.parametrize(("there", "how"), [(True, "in the cache folder"), (False, "downloads when used")])
def test_without_a_folder_the_cache_is_looked_into(
    there: bool, how: str, mnist: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = mnist / "cache"
    cache.mkdir()
    if there:
        (mnist / "MNIST").rename(cache / "data-MNIST")
        (cache / "data").mkdir()
        (cache / "data-MNIST").rename(cache / "data" / "MNIST")
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: cache)
    listed = found(cli)
    assert (listed["mnist"]["present"], listed["mnist"]["how_to_get"]) == (there, how)
    assert listed["mnist"]["folder"] == str(cache / "data")
