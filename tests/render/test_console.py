"""The two consoles, and lines of prose on them."""

import io
import os
import subprocess
import sys

import pytest
from rich.console import Console
from rich.text import Text

from cnnkit.render import console

LONG = "stopped by Ctrl-C; all is saved, the best epoch so far included. Go on with: cnnkit train --resume runs/a-b-1"


def said(text: str, *, terminal: bool) -> list[str]:
    target = Console(file=io.StringIO(), force_terminal=terminal, width=40, color_system=None)
    console.say(target, Text(text))
    assert isinstance(target.file, io.StringIO)
    return target.file.getvalue().splitlines()


def test_a_command_at_the_end_gets_a_line_of_its_own_that_never_breaks() -> None:
    lines = said(LONG.replace("a-b-1", "a-rather-long-name-of-a-network-1"), terminal=True)
    assert lines[-1] == "cnnkit train --resume runs/a-rather-long-name-of-a-network-1"
    assert lines[-2].rstrip().endswith("Go on with:")
    assert all(len(line) <= 40 for line in lines[:-1])


def test_prose_fills_a_terminal_and_stays_one_line_in_a_file() -> None:
    assert len(said(LONG.partition(": ")[0], terminal=True)) > 1
    assert said(LONG, terminal=False) == [LONG]


@pytest.mark.parametrize("text", ["\x1b[2Ja.png", "a\x07.png", "a\x9b31m.png"])
def test_what_could_steer_the_terminal_is_replaced(text: str) -> None:
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in console.printable(text))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other errors, and no such terminals")
@pytest.mark.parametrize("made", ["pipe", "openpty"])
def test_a_reader_of_the_progress_that_leaves_takes_no_result_with_it(made: str) -> None:
    program = """
from cnnkit.render import console
console.out().print("one")
console.note("progress")
console.warning("more of it")
console.out().print("two")
"""
    reader, writer = getattr(os, made)()
    os.close(reader)
    try:
        found = subprocess.run(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            stderr=writer,
            encoding="utf-8",
            timeout=300,
            check=False,
        )
    finally:
        os.close(writer)
    assert (found.returncode, found.stdout.split()) == (0, ["one", "two"])
