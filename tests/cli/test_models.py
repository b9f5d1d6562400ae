"""`cnnkit models`."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from cnnkit.registry import models

Cli = Callable[..., Any]


def test_every_network_is_listed(cli: Cli) -> None:
    result = cli("models")
    assert (result.exit_code, result.stderr) == (0, "")
    rows = {line.split()[0]: line for line in result.stdout.splitlines() if line and not line.startswith(" ")}
    for spec in models().values():
        assert "×".join(map(str, spec.input_shape)) in rows[spec.name]
        assert f"{spec.parameters:,}" in rows[spec.name]
        assert spec.recipe.data in rows[spec.name]
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_json_has_a_line_a_network(cli: Cli) -> None:
    found = json.loads(cli("models", "--json").stdout)
    assert (found["command"], found["status"]) == ("models", "ok")
    by_name = {model["name"]: model for model in found["data"]}
    assert list(by_name) == list(models())
    assert set(by_name["lenet"]) == {
        "name", "input_shape", "parameters", "dataset", "reference_accuracy", "source", "zoo",
    }  # fmt: skip
    assert by_name["mnist-cnn"]["reference_accuracy"] == 0.9864
    assert by_name["alexnet"]["reference_accuracy"] is None


@pytest.mark.usefixtures("no_zoo")
def test_without_a_zoo_the_networks_are_still_listed(cli: Cli) -> None:
    found = json.loads(cli("models", "--json").stdout)
    assert {tuple(model["zoo"]) for model in found["data"]} == {()}
