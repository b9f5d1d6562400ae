"""Files made to do harm end in one clear error: no crash, no traceback, nothing read that is not theirs."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

_spec = importlib.util.spec_from_file_location("crafted", Path(__file__).with_name("crafted.py"))
crafted = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(crafted)

MEMORY = 6 << 30
CPU_SECONDS = 20

# One process for all files, so that a crash shows and costs one start; its last line tells which file it was.
CHILD = """
import json, sys, time
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
except ImportError:
    pass
from typer.testing import CliRunner
from cnnkit.cli import make_app
for line in sys.stdin:
    command = json.loads(line)
    started = time.process_time()
    result = CliRunner().invoke(make_app(), command)
    seconds = time.process_time() - started
    print(json.dumps([result.exit_code, result.stdout, result.stderr, seconds]), flush=True)
"""


def run_all(commands, folder, timeout=600):
    """Run command lines in one process; return (exit code, stdout, stderr, CPU seconds) for each that ended."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(MEMORY)],
        input="".join(json.dumps(list(map(str, command))) + "\n" for command in commands),
        capture_output=True,
        check=False,
        cwd=folder,
        text=True,
        timeout=timeout,
    )
    results = [json.loads(line) for line in done.stdout.splitlines()]
    if len(results) < len(commands):
        pytest.fail(f"{commands[len(results)]} ended the process with {done.returncode}: {done.stderr[-500:]}")
    return results


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crafted")
    Image.new("RGB", (4, 4), (9, 99, 199)).save(folder / "image.png")
    files = crafted.write_all(folder)
    predict = [["predict", "image.png", "--model", path, "--device", "cpu"] for path in files.values()]
    summary = [["summary", path] for path in files.values()]
    found = run_all(predict + summary, folder)
    return {
        "predict": dict(zip(files, found[: len(files)], strict=True)),
        "summary": dict(zip(files, found[len(files) :], strict=True)),
    }


def test_there_are_enough_of_them():
    assert len(crafted.CASES) >= 70


@pytest.mark.parametrize("command", ["predict", "summary"])
@pytest.mark.parametrize("name", crafted.CASES)
def test_a_crafted_file_ends_in_one_clear_error(results, name, command):
    _, said, summary = crafted.CASES[name]
    exit_code, stdout, stderr, seconds = results[command][name]
    assert seconds < CPU_SECONDS
    if command == "summary" and not summary:
        assert "Traceback" not in stderr
        return
    assert (exit_code, stdout) == (1, ""), stdout + stderr
    assert stderr.startswith("error: ")
    assert len(stderr.splitlines()) == 1
    assert "net.onnx" in stderr
    assert re.search(said, stderr), stderr
    assert "Traceback" not in stderr
    assert "internal error" not in stderr


def test_the_same_network_without_harm_opens(tmp_path):
    Image.new("RGB", (4, 4), (9, 99, 199)).save(tmp_path / "image.png")
    crafted.write(tmp_path, crafted.network())
    (tmp_path / "beside").mkdir()
    crafted.external(tmp_path / "beside", offset=0, length=768, place=tmp_path / "beside" / "w.bin")
    files = [tmp_path / "net.onnx", tmp_path / "beside" / "net.onnx"]
    found = run_all([["predict", "image.png", "-m", path, "--json"] for path in files], tmp_path)
    assert [result[0] for result in found] == [0, 0]
    first, second = (json.loads(result[1])["data"]["predictions"][0]["scores"] for result in found)
    assert first == second
