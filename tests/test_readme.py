"""The README's examples run as they stand."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def test_the_python_example_runs(tmp_path):
    code = re.search(r"```python\n(.*?)```", README, re.S)[1]
    shutil.copytree(ROOT / "docs" / "images", tmp_path / "docs" / "images")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("7\n")
    assert (tmp_path / "lenet.onnx").is_file()


@pytest.mark.parametrize("name", ["try", "test"])
def test_the_two_commands_are_one_line_each(name):
    block = re.search(rf"<!-- command: {name} -->\n```sh\n(.*?)```", README, re.S)[1]
    assert block.count("\n") == 1


def test_the_job_of_the_first_command_runs(tmp_path):
    line = re.search(r"<!-- command: try -->\n```sh\n(.*?)\n```", README, re.S)[1]
    steps = [step.split() for step in line.split(" && ") if step.startswith("cnnkit ")]
    assert [step[1] for step in steps] == ["train", "evaluate", "export", "predict"]
    epochs = steps[0].index("--epochs") + 1
    assert int(steps[0][epochs]) > 1
    steps[0][epochs] = "1"  # all else is done as it stands
    shutil.copytree(ROOT / "docs" / "images", tmp_path / "docs" / "images")
    for step in steps:
        done = subprocess.run(
            [sys.executable, "-m", *step], cwd=tmp_path, capture_output=True, text=True, check=False, encoding="utf-8"
        )
        assert done.returncode == 0, done.stderr
    assert re.search(r"^triangles +\d", done.stdout, re.M)
