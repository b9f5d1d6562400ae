"""The JSON envelope: its keys are a promise, and whatever a command finds fits into it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cnnkit.card import ModelCard
from cnnkit.images import Preprocessing
from cnnkit.recipe import Recipe
from cnnkit.render import console, envelope, notices

Captured = pytest.CaptureFixture[str]


@dataclass(frozen=True)
class Inner:
    path: Path
    value: float


@dataclass(frozen=True)
class Outer:
    inner: tuple[Inner, ...]
    counts: dict[int, list[int]]
    name: str | None = None


@pytest.fixture(autouse=True)
def nothing_shown() -> Iterator[None]:
    """Begin and end as a command does, without warnings."""
    notices.clear()
    yield
    notices.clear()


def test_the_keys_and_their_order_are_fixed(capsys: Captured) -> None:
    envelope.write("summary", {"a": 1})
    out = capsys.readouterr().out
    assert (
        out == '{"cnnkit": 1, "command": "summary", "status": "ok", "data": {"a": 1}, "warnings": [], "errors": []}\n'
    )


def test_errors_are_objects_of_code_and_message_and_warnings_are_texts(capsys: Captured) -> None:
    console.warning("the device is slow.")
    console.warning("the device is slow")
    envelope.write("export", None, errors=[("parity", "they disagree")], status="failed")
    out, err = capsys.readouterr()
    assert err == "warning: the device is slow.\n"
    assert json.loads(out) == {
        "cnnkit": 1,
        "command": "export",
        "status": "failed",
        "data": None,
        "warnings": ["the device is slow"],
        "errors": [{"code": "parity", "message": "they disagree"}],
    }


def test_it_is_one_line_that_any_pipe_can_carry(capsys: Captured) -> None:
    envelope.write("predict", {"label": "Köln\n東京"})
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert out.isascii()
    assert json.loads(out)["data"] == {"label": "Köln\n東京"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_json_lacks_become_null(value: float, capsys: Captured) -> None:
    envelope.write("train", Outer((Inner(Path("x"), value),), {}))
    assert json.loads(capsys.readouterr().out)["data"]["inner"] == [{"path": "x", "value": None}]


def test_results_become_plain_values() -> None:
    found = envelope.plain(Outer((Inner(Path("a") / "b", 0.5),), {3: [1, 2]}, None))
    assert found == {"inner": [{"path": str(Path("a/b")), "value": 0.5}], "counts": {"3": [1, 2]}, "name": None}


def test_recipes_and_cards_become_plain_values() -> None:
    assert envelope.plain(Recipe(model="lenet", input_shape=(1, 28, 28)))["input_shape"] == [1, 28, 28]
    card = envelope.plain(ModelCard("lenet", ("a", "b"), Preprocessing(1, 2, 2, (0.0,), (1.0,))))
    assert (card["labels"], card["preprocessing"]["mean"]) == (["a", "b"], [0.0])
    json.dumps(card, allow_nan=False)


@pytest.mark.parametrize("value", [True, 0, "text", None, 1.5])
def test_what_json_has_stays(value: object) -> None:
    assert envelope.plain(value) is value


def test_what_a_result_does_not_show_of_itself_is_left_out() -> None:
    @dataclass(frozen=True)
    class Seen:
        name: str
        pixels: object = field(repr=False)

    assert envelope.plain([Seen("a", object())]) == [{"name": "a"}]
