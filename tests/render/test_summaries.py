"""Summaries of networks, as tables in terminals and files, as CSV and as Markdown."""

import csv
import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

import cnnkit
from cnnkit.errors import ForwardError, UsageError
from cnnkit.inspection.results import ModelSummary
from cnnkit.render import console, summaries
from tests.expecting import expect_error, rows_of

Golden = Callable[[str, str], None]
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Draw to a terminal without colours, as wide as said."""

    def be(width: int) -> None:
        made = lambda: Console(  # noqa: E731
            width=width, force_terminal=True, color_system=None, highlight=False, markup=False, emoji=False
        )
        monkeypatch.setattr(console, "out", made)

    return be


def test_summary_of_nested_layers_with_a_batch(golden: Golden, capsys: Captured) -> None:
    summaries.summary(replace(cnnkit.summarize("shapes-cnn", batch=8), trainable_parameters=174_000))
    golden("summary", capsys.readouterr().out)


@pytest.fixture(scope="module")
def residual() -> ModelSummary:
    return cnnkit.summarize("torchvision/resnet18", fold=True)


@pytest.fixture(scope="module")
def transformer() -> ModelSummary:
    return cnnkit.summarize("torchvision/vit_b_16", fold=True)


@pytest.mark.parametrize("width", [80, 120])
def test_all_columns_fit_a_terminal_or_are_said_to_be_missing(
    width: int, residual: ModelSummary, capsys: Captured, terminal: Callable[[int], None]
) -> None:
    terminal(width)
    summaries.summary(residual, summaries.COLUMNS)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= width
    # As many columns as there is room for.
    assert ["conv1", "Conv2d"] in [row[:2] for row in rows_of(out)]
    assert ("receptive" in out.partition("─")[0]) == (width == 120)


def test_a_tree_has_its_lines_and_the_network_on_top(
    transformer: ModelSummary, capsys: Captured, terminal: Callable[[int], None]
) -> None:
    terminal(80)
    summaries.summary(transformer, tree=True)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    rows = rows_of(out)
    assert rows[3][:1] == ["torchvision/vit_b_16"] or ["torchvision/vit_b_16", "86.6M", "17.6G"] in rows
    assert ["│ │ └─encoder_layer_0 ×12", "EncoderBlock", "197×768", "7.09M", "1.45G"] in rows
    assert ["└─head", "Linear", "1000", "769k", "768k"] in rows


def test_a_file_has_all_columns_however_wide(residual: ModelSummary, capsys: Captured) -> None:
    summaries.summary(residual, summaries.COLUMNS)
    out = capsys.readouterr().out
    assert "118,013,952" in out
    assert "receptive field" in out
    assert "…" not in out


def test_a_network_that_failed_ends_with_the_layer(capsys: Captured) -> None:
    with pytest.raises(ForwardError) as caught:
        cnnkit.summarize("torchvision/alexnet", shape=(3, 40, 224))
    assert isinstance(caught.value.result, ModelSummary)
    summaries.summary(caught.value.result)
    assert rows_of(capsys.readouterr().out.rstrip())[-1] == ["12", "MaxPool2d", "failed"]


def test_what_is_odd_about_a_network_is_said(capsys: Captured) -> None:
    found = replace(
        cnnkit.summarize("lenet"), own_parameters=768, idle=("a", "b", "c", "d"), idle_parameters=1234,
        unregistered_parameters=20, device="cpu",
    )  # fmt: skip
    summaries.summary(found)
    out = " ".join(capsys.readouterr().out.split())
    assert "768 parameters are the network's own, outside these layers." in out
    assert "Not used: 1,234 parameters of a, b, c and others." in out
    assert "20 parameters are used and in no module, as in a Python list" in out
    assert "it ran on zeros, another input may go another way." in out


def test_names_cannot_steer_the_terminal(capsys: Captured) -> None:
    found = cnnkit.summarize("lenet")
    evil = replace(found.layers[0], name="conv\x1b[2J", kind="[red]Conv\x07")
    summaries.summary(replace(found, layers=(evil,)))
    out = capsys.readouterr().out
    assert "conv�[2J" in out
    assert "[red]Conv�" in out


def test_csv_is_for_programs(residual: ModelSummary, capsys: Captured) -> None:
    summaries.write_csv(residual)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows[0] == {
        "layer": "conv1", "type": "Conv2d", "depth": "1", "repeats": "1", "kernel": "7x7", "input_shape": "3x224x224",
        "output_shape": "64x112x112", "parameters": "9408", "trainable_parameters": "9408",
        "multiply_adds": "118013952", "memory_mb": "3.211264", "receptive_field": "7x7",
    }  # fmt: skip
    assert [row["repeats"] for row in rows if row["layer"] == "layer1.0"] == ["2"]
    summaries.write_csv(cnnkit.summarize("lenet"), ["parameters"])
    assert capsys.readouterr().out.splitlines()[:2] == ["layer,type,depth,parameters", "conv1,Conv2d,1,156"]


def test_markdown_is_a_table_with_totals(capsys: Captured) -> None:
    found = cnnkit.summarize("shapes-cnn", depth=2)
    odd = replace(found.layers[1], name="block1.a_b|c")
    summaries.write_markdown(replace(found, layers=(found.layers[0], odd, *found.layers[2:])), ["kernel", "parameters"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "| layer | type | kernel | parameters |",
        "| --- | --- | ---: | ---: |",
        "| block1 | Sequential |  | 10,144 |",
        r"| &nbsp;&nbsp;a\_b\|c | Conv2d | 3×3 | 896 |",
    ]
    assert lines[-1] == "| **total** |  |  | **174,243** |"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, None),
        ("all", summaries.COLUMNS),
        ("kernel,all", summaries.COLUMNS),
        ("kernel, output,kernel", ("kernel", "output")),
        ("receptive-field", ("receptive-field",)),
    ],
)
def test_columns_are_parsed(text: str | None, found: tuple[str, ...] | None) -> None:
    assert summaries.columns_of(text) == found


@pytest.mark.parametrize(
    ("text", "name"),
    [("kernl", "kernel"), ("output,macs", "macs"), ("all,macs", "macs"), ("", "all, input")],
)
def test_a_column_that_does_not_exist_is_said(text: str, name: str) -> None:
    with expect_error(UsageError, name):
        summaries.columns_of(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (999, "999"), (1000, "1.00k"), (21_578, "21.6k"), (999_499, "999k"), (999_999, "1.00M"),
        (46_764_746, "46.8M"), (1_016_717_000_000, "1,017G"),
    ],
)  # fmt: skip
def test_short_numbers(value: int, text: str) -> None:
    assert summaries.short(value) == text


def test_an_unknown_receptive_field_is_a_dash_with_its_reason(capsys: Captured) -> None:
    found = cnnkit.summarize("lenet")
    lost = replace(found.layers[1], receptive_field=(), receptive_field_lost="grid_sampler_2d")
    changed = replace(found, layers=(found.layers[0], lost))
    summaries.summary(changed, ["receptive-field"])
    out = capsys.readouterr().out
    assert [line.split()[-1] for line in out.splitlines() if line.startswith(("conv1", "sigmoid1"))] == ["5", "–"]
    assert out.splitlines()[-1].endswith("not known after grid_sampler_2d.")
    summaries.summary(changed)
    assert "grid_sampler_2d" not in capsys.readouterr().out
    summaries.write_markdown(changed, ["receptive-field"])
    assert "| sigmoid1 | Sigmoid | – |" in capsys.readouterr().out
