"""What all tests share: a fixed terminal, the command line, few drawn shapes, small image folders, and tiny runs."""

import dataclasses
import difflib
import functools
import os
import re
import shutil
import signal
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import platformdirs
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image

from cnnkit import zoo
from cnnkit.data import sets
from cnnkit.data.dataset import Dataset

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from typer.testing import Result

# Typer and Rich read these when they are imported, so nothing above this imports them.
for _name in (
    "FORCE_COLOR", "NO_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "TERMINAL_WIDTH",
    "LINES", "CNNKIT_DATA",
):  # fmt: skip
    os.environ.pop(_name, None)
os.environ["COLUMNS"] = "80"
# Networks this small lose more to waiting for a second thread than they gain from it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Two processes test at once, on machines that may be busy besides: time tells nothing about an example. Half as many
# examples as usual, because every run draws others.
settings.register_profile(
    "busy", settings(), max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy")

# Where platformdirs looks: on Linux and macOS, and on Windows.
_CACHE_VARIABLES = ("XDG_CACHE_HOME", "WIN_PD_OVERRIDE_LOCAL_APPDATA")
GOLDEN = Path(__file__).parent / "golden"
NETS = Path(__file__).parent / "nets"
SIGNALS = [signal.SIGINT, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
FEW = dataclasses.replace(sets.BUILT_IN["shapes"], train=60, test=30)


@pytest.fixture(scope="session", autouse=True)
def caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the user's cache out of reach of all tests; what the fixtures of the session load is cached here."""
    folder = tmp_path_factory.mktemp("caches")
    with pytest.MonkeyPatch.context() as patch:
        for name in _CACHE_VARIABLES:
            patch.setenv(name, str(folder / "session"))
        yield folder


@pytest.fixture(autouse=True)
def user_cache(caches: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test a cache folder of its own, which is not there yet."""
    for name in _CACHE_VARIABLES:
        monkeypatch.setenv(name, str(caches / uuid.uuid4().hex))
    return platformdirs.user_cache_path("cnnkit")


@pytest.fixture(scope="session", autouse=True)
def signals() -> Iterator[None]:
    """Let Ctrl-C and hang-ups do what they do in the foreground.

    A run in the background or under nohup ignores them, and so would the processes that tests start.
    """
    ignored = [number for number in SIGNALS if signal.getsignal(number) == signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every test the same terminal, whatever another one did to it."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("CNNKIT_DATA", raising=False)


@pytest.fixture(scope="session", autouse=True)
def uncounted() -> Iterator[None]:
    """Let PyTorch's exporter run without coverage, which would take as long again and count no line of cnnkit there."""
    if sys.gettrace() is None:
        yield
        return
    import torch

    export = torch.onnx.export

    @functools.wraps(export)
    def untraced(*arguments: Any, **options: Any) -> Any:
        trace = sys.gettrace()
        sys.settrace(None)
        try:
            return export(*arguments, **options)
        finally:
            sys.settrace(trace)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.onnx, "export", untraced)
        yield


@pytest.fixture
def cli() -> "Callable[..., Result]":
    """Run the command line in this process: `cli("summary", "lenet").stdout`."""
    from typer.testing import CliRunner

    from cnnkit.cli import make_app

    app = make_app()

    def run(*arguments: object, input: bytes | str | None = None) -> "Result":
        return CliRunner().invoke(app, [str(argument) for argument in arguments], input=input)

    return run


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compare a text with `golden/<name>.txt`; CNNKIT_UPDATE_GOLDEN=1 rewrites the file instead."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / f"{name}.txt"
        # Spaces at the ends of lines are what editors remove and nobody sees.
        found = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
        if os.environ.get("CNNKIT_UPDATE_GOLDEN") == "1":
            path.write_text(found, "utf-8", newline="\n")
        assert path.is_file(), f"{path.name} is missing; CNNKIT_UPDATE_GOLDEN=1 writes it"
        expected = path.read_text("utf-8")
        assert found == expected, "\n".join(difflib.unified_diff(expected.splitlines(), found.splitlines()))

    return check


@pytest.fixture
def few_shapes(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Let `shapes` be 60 images to train and 30 to test."""
    monkeypatch.setitem(sets.BUILT_IN, "shapes", FEW)
    return FEW


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every download fail at once, whether or not this machine has a network."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def nets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `tinynets:…` importable, as a user's own package is."""
    monkeypatch.syspath_prepend(NETS)


@pytest.fixture
def zoo_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], Path]]:
    """Put the zoo into another folder: `zoo_at(folder)`."""

    def put(folder: Path) -> Path:
        monkeypatch.setattr(zoo, "folder", lambda: folder)
        zoo.entries.cache_clear()
        return folder

    yield put
    zoo.entries.cache_clear()


@pytest.fixture
def no_zoo(zoo_at: Callable[[Path], Path], tmp_path: Path) -> Path:
    """An installation without a zoo."""
    return zoo_at(tmp_path / "no-zoo")


def make_photos(folder: Path, *, each: int = 10, size: tuple[int, int] = (12, 10)) -> Path:
    """Draw a folder of noisy grey images that are easily told apart: `dark/` and `light/`."""
    rng = np.random.default_rng(7)
    for name, level in (("dark", 50), ("light", 205)):
        (folder / name).mkdir(parents=True)
        for index in range(each):
            pixels = rng.normal(level, 20, (size[1], size[0], 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index:02}.png")
    return folder


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image folder of two classes, 10 images each; read only."""
    return make_photos(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture
def own_photos(photos: Path, tmp_path: Path) -> Path:
    """A copy of `photos` that a test may change."""
    return Path(shutil.copytree(photos, tmp_path / "photos"))


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of shapes-cnn after two epochs on few shapes."""
    import cnnkit

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sets.BUILT_IN, "shapes", FEW)
        recipe = cnnkit.default_recipe("shapes-cnn", epochs=2)
        runs = tmp_path_factory.mktemp("runs")
        list(cnnkit.train(recipe, runs_dir=runs, device="cpu"))
    return runs / "shapes-cnn-shapes-1"


@pytest.fixture(scope="session")
def tiny_onnx(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ONNX file of `tiny_run`."""
    import cnnkit

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sets.BUILT_IN, "shapes", FEW)
        return cnnkit.export(tiny_run, tmp_path_factory.mktemp("onnx") / "tiny.onnx").path


@pytest.fixture(scope="session")
def photos_run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of softmax-regression trained on `photos`, which it tells apart without a mistake."""
    import cnnkit

    recipe = cnnkit.default_recipe(
        "softmax-regression",
        data=str(photos),
        input_shape=(1, 28, 28),
        epochs=10,
        learning_rate=0.002,
        normalisation="standard",
    )
    runs = tmp_path_factory.mktemp("runs")
    records = list(cnnkit.train(recipe, runs_dir=runs, device="cpu"))
    assert records[-1].validation_accuracy == 1.0
    return runs / "softmax-regression-photos-1"


@pytest.fixture(scope="session")
def photos_onnx(photos_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ONNX file of `photos_run`."""
    import cnnkit

    return cnnkit.export(photos_run, tmp_path_factory.mktemp("onnx") / "photos.onnx").path


# Not for the whole session: while Playwright runs, no other test in its process can run an event loop.
@pytest.fixture(scope="module")
def chromium() -> Iterator["Browser"]:
    """A real browser: the one that is installed, or Playwright's own."""
    from playwright.sync_api import Error, sync_playwright

    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        except Error as error:
            reason = f"no Chromium could be started, so that no page was tested in a browser: {error.message}"
            (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
        yield browser
        browser.close()


@pytest.fixture
def stands_alone(chromium: "Browser") -> Callable[[Path], str]:
    """Open a page that is one file as readers do, check it, and return its text: `stands_alone(path)`.

    Nothing is requested, nothing is refused or breaks, every image is decoded and described, and nothing reaches out of
    the screen of a phone, in the light or in the dark.
    """

    def check(path: Path) -> str:
        requested: list[str] = []
        said: list[str] = []
        for scheme in ("light", "dark"):
            context = chromium.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
            page = context.new_page()
            page.on("request", lambda request: requested.append(request.url))
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.goto(path.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
            images = page.evaluate("""async () => await Promise.all([...document.images].map(async image => {
                await image.decode(); return [image.naturalWidth, image.alt] }))""")
            assert all(width > 0 and alt for width, alt in images)
            paper, ink = page.evaluate(
                "(({backgroundColor, color}) => [backgroundColor, color])(getComputedStyle(document.body))"
            )
            brightness = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (paper, ink)]
            assert (brightness[0] > brightness[1]) == (scheme == "light")
            text: str = page.inner_text("body")
            context.close()
        assert {url for url in requested if not url.startswith("data:")} == {path.as_uri()}
        assert said == []
        return text

    return check
