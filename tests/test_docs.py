"""What docs/ says of the code is what the code says of itself."""

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def script_named(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def test_the_table_of_corruptions_is_that_of_the_corruptions():
    script = script_named("corruption_table")
    assert script.BEGIN + script.table() + script.END in script.DOCUMENT.read_text("utf-8")


def test_the_table_of_recipe_fields_is_that_of_the_recipe():
    script = script_named("recipe_table")
    assert script.DOCUMENT.read_text("utf-8").endswith(script.table()), "run python scripts/recipe_table.py"


def test_links_between_the_documents_lead_somewhere():
    for document in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text("utf-8")):
            assert target.startswith("http") or (document.parent / target).exists(), f"{document.name}: {target}"
