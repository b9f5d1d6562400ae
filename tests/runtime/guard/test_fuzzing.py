"""A few hostile files through `predict` and the reload of a server: the script that opens fifty thousand, in small."""

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "scripts" / "fuzz_models.py"


def test_no_file_ends_or_holds_up_the_program(tmp_path):
    command = [sys.executable, SCRIPT, "--mutants", "12", "--built", "12", "--seed", "7", "--seconds", "20"]
    done = subprocess.run([*command, "--save", tmp_path], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"24 files, slowest .* s: 0 failures, exit code 0", done.stdout)
    assert sum(int(count) for count in re.findall(r"^ *(\d+)  ", done.stdout, re.MULTILINE)) == 48
