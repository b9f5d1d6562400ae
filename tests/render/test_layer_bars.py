"""The chart of parameters and multiply-adds."""

from pathlib import Path

import pytest
from matplotlib.axes import Axes
from PIL import Image

import cnnkit
from cnnkit.errors import OutputError
from cnnkit.render import layer_bars


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    """Collect the lengths of the bars of each panel."""
    lengths: list[list[float]] = []
    real = Axes.barh

    def barh(self: Axes, places: range, widths: list[float], **options: object) -> object:
        lengths.append(list(widths))
        return real(self, places, widths, **options)

    monkeypatch.setattr(Axes, "barh", barh)
    return lengths


def test_every_layer_with_work_has_its_bars(drawn: list[list[float]], tmp_path: Path) -> None:
    layer_bars.draw(cnnkit.summarize("lenet"), tmp_path / "lenet.png")
    assert drawn == [[156, 2416, 48_120, 10_164, 850], [117_600, 240_000, 48_000, 10_080, 840]]
    with Image.open(tmp_path / "lenet.png") as image:
        assert image.format == "PNG"
        assert image.width > 1000


def test_too_many_layers_are_drawn_one_level_up(drawn: list[list[float]], tmp_path: Path) -> None:
    found = cnnkit.summarize("torchvision/densenet121")
    layer_bars.draw(found, tmp_path / "net.png")
    parameters, multiply_adds = drawn
    assert len(parameters) <= 40
    assert (sum(parameters), sum(multiply_adds)) == (found.parameters, found.multiply_adds)


def test_a_bar_of_several_alike_is_that_of_all(drawn: list[list[float]], tmp_path: Path) -> None:
    found = cnnkit.summarize("torchvision/resnet18", fold=True)
    layer_bars.draw(found, tmp_path / "net.png")
    parameters, multiply_adds = drawn
    assert (sum(parameters), sum(multiply_adds)) == (found.parameters, found.multiply_adds)


def test_a_network_without_parameters_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "nets")
    layer_bars.draw(cnnkit.summarize("oddnets:Empty"), tmp_path / "empty.png")
    assert (tmp_path / "empty.png").is_file()


def test_a_chart_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        layer_bars.draw(cnnkit.summarize("lenet"), tmp_path)
