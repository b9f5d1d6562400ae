"""What docs/ says of the code is what the code says of itself."""

import importlib
import re
from pathlib import Path

import pytest

from tests.expecting import expect_error

ROOT = Path(__file__).parent.parent


@pytest.fixture
def script_named(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module


def test_the_table_of_corruptions_is_that_of_the_corruptions(script_named):
    script = script_named("corruption_table")
    assert script_named("gathering").part_in(script.DOCUMENT, script.PART) == script.table()


def test_a_script_writes_its_own_part_of_a_page_or_none(script_named, tmp_path):
    gathering, page = script_named("gathering"), tmp_path / "page.md"
    old = "<!-- one -->\n1\n<!-- end -->\nbetween\n<!-- two -->\n2\n<!-- end -->\nafter\n"
    page.write_text(old, "utf-8")
    gathering.write_part(page, "one", ["3", "", "4"])
    assert page.read_text("utf-8") == old.replace("1\n", "3\n\n4\n")
    for name, text in (("three", old), ("two", old.replace("2\n<!-- end -->", "2"))):
        page.write_text(text, "utf-8")
        with expect_error(ValueError, name):
            gathering.write_part(page, name, ["5"])
        assert page.read_text("utf-8") == text


def test_results_gather_by_what_they_are_of(script_named, tmp_path):
    gathering, path = script_named("gathering"), tmp_path / "results.json"
    for model, seed, accuracy in (("a", 0, 0.1), ("a", 1, 0.2), ("b", 0, 0.3), ("a", 0, 0.4)):
        gathering.gather(path, {"model": model, "seed": seed, "accuracy": accuracy}, by=("model", "seed"))
    assert [found["accuracy"] for found in gathering.results_in(path)] == [0.2, 0.3, 0.4]


def test_a_name_that_nothing_is_measured_by_is_refused(script_named, capsys):
    parser = script_named("gathering").options("About.", ["lenet/mnist", "mlp"])
    assert parser.parse_args(["--data-dir", "d", "--only", "mlp"]).only == ["mlp"]
    with pytest.raises(SystemExit):
        parser.parse_args(["--data-dir", "d", "--only", "mlp,lenet"])
    assert "lenet: expected some of lenet/mnist,mlp" in capsys.readouterr().err


def test_the_table_of_recipe_fields_is_that_of_the_recipe(script_named):
    script = script_named("recipe_table")
    assert script.DOCUMENT.read_text("utf-8").endswith(script.table()), "run python scripts/recipe_table.py"


def test_links_between_the_documents_lead_somewhere():
    for document in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text("utf-8")):
            assert target.startswith("http") or (document.parent / target).exists(), f"{document.name}: {target}"
