"""A kind of model reference that an installed package adds: one file, and one entry point."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cnnkit
from cnnkit import plugins, sources
from cnnkit.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from typer.testing import Result

Install = Callable[..., None]

GOOD = '''
from cnnkit.sources import Source

class Hub(Source):
    """hub/N: a linear network for N×N images."""
    trainable = True

    @classmethod
    def find(cls, ref):
        return cls(ref) if isinstance(ref, str) and ref.startswith("hub/") else None

    @classmethod
    def offered(cls):
        return ["hub/8"]

    def input_shape(self):
        return 3, int(self.text[4:]), int(self.text[4:])

    def build(self, num_classes=None, input_shape=None):
        from torch import nn
        channels, height, width = self.input_shape()
        return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, num_classes or 2))
'''


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a distribution that registers `acme_hub:Hub`, as pip would: its files on the path."""

    def put(module: str) -> None:
        site = tmp_path / "site"
        info = site / "acme_hub-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-hub\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[cnnkit.sources]\nhub = acme_hub:Hub\n")
        (site / "acme_hub.py").write_text(module)
        monkeypatch.syspath_prepend(site)
        forget()

    def forget() -> None:
        plugins.registered.cache_clear()
        sources.installed_kinds.cache_clear()

    yield put
    forget()
    sys.modules.pop("acme_hub", None)


def test_its_references_work_in_every_command(
    install: Install, cli: "Callable[..., Result]", photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    install(GOOD)
    assert "hub/8" in list(sources.offered())
    assert cnnkit.summarize("hub/8").parameters == 3 * 64 * 2 + 2
    recipe = cnnkit.default_recipe("hub/8", data=str(photos), epochs=1, batch_size=4)
    list(cnnkit.train(recipe, device="cpu"))
    run = Path("runs") / "hub-8-photos-1"
    assert cnnkit.load(run, device="cpu").card.model == "hub/8"
    exported = cnnkit.export(run).path
    assert cli("predict", photos / "dark" / "00.png", "-m", exported, "--device", "cpu").exit_code == 0
    done = cli("serve", "hub/8")
    assert (done.exit_code, "cnnkit train hub/8" in done.stderr) == (1, True)
    assert cli("predict", "hub/8").exit_code == 2, "a model where images are expected"


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("1 / 0", "cannot be imported: division by zero"),
        ("", "cannot be imported"),
        ("Hub = 7", "is of the type int; expected a subclass"),
        ("class Hub: pass", "expected a subclass of cnnkit.sources.Source"),
        ("Hub = {}['x']", "cannot be imported"),
        (GOOD.replace("return cls(ref) if", "return 5 if"), "returned int for 'hub/8'"),
        (GOOD.replace("return cls(ref) if", "return 1 / 0 if"), "failed on 'hub/8': ZeroDivisionError"),
        (
            GOOD.replace("    trainable", "    def __init__(self, ref): pass\n    trainable"),
            "without a text",
        ),
    ],
)
def test_a_package_that_is_wrong_is_named(
    module: str, said: str, install: Install, cli: "Callable[..., Result]"
) -> None:
    install(module)
    with pytest.raises(UsageError, match="acme_hub"):
        sources.find("hub/8")
    done = cli("summary", "hub/8")
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in " ".join(done.stderr.split())
    assert cnnkit.summarize("lenet").parameters == 61_706, "what is cnnkit's own does not depend on it"


def test_a_package_cannot_take_the_references_of_others(install: Install) -> None:
    install(GOOD.replace('ref.startswith("hub/")', "True"))
    for ref in ("lenet", "lenet-mnist", "torchvision/resnet18", "a:b"):
        assert type(sources.find(ref)).__name__ != "Hub"
    assert type(sources.find("anything else")).__name__ == "Hub"


def test_without_it_the_reference_is_unknown() -> None:
    with pytest.raises(UnknownNameError):
        sources.find("hub/8")
