"""What docs/serving.md says of the server is what the server does; its examples run."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cnnkit.cli.loading import load
from cnnkit.errors import ImageError, ImageFormatError, ImageTooLargeError, OnnxError
from cnnkit.serving.http.errors import error_of
from cnnkit.serving.info import description

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "serving.md").read_text("utf-8")
SOURCES = {file: file.read_text("utf-8") for file in (ROOT / "cnnkit" / "serving").rglob("*.py")}


def blocks(marker):
    return re.findall(rf"<!-- {marker} -->\n```\w+\n(.*?)```", TEXT, re.S)


def table(heading):
    """Return the cells of the table below a heading, without its head."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S)[1]
    rows = [line.strip()[1:-1].split("|") for line in section.splitlines() if re.match(r"\| (?!---)", line)]
    return [[cell.strip() for cell in row] for row in rows[1:]]


def here(text, server):
    return text.replace("127.0.0.1:8000", urlsplit(server.url).netloc)


def run(command):
    environment = {**os.environ, "no_proxy": "127.0.0.1", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.fixture
def curl():
    """Return a function that runs a line of the docs and returns the JSON that comes."""
    if (program := shutil.which("curl")) is None:
        pytest.skip("no curl")
    return lambda line, server: json.loads(run([program, "-sS", *shlex.split(here(line, server))[1:]]))


def test_json_in_base64_is_taken(curl, server):
    answer = json.loads(run(["sh", "-c", here(blocks("run: json")[0], server).replace("curl -H", "curl -sSH")]))
    assert (answer["label"], answer["warnings"]) == ("7", [])


def test_curl_gets_the_answer_that_is_shown(curl, server):
    got, shown = curl(blocks("run: curl")[0], server), json.loads(blocks("answer")[0])
    own = {"request_id", "timings_ms", "probability", "probabilities"}
    assert {key: got[key] for key in got.keys() - own} == {key: shown[key] for key in shown.keys() - own}
    assert got.keys() == shown.keys()
    assert got["timings_ms"].keys() == shown["timings_ms"].keys()
    assert got["probability"] == pytest.approx(shown["probability"], abs=1e-4)
    assert [each["label"] for each in got["probabilities"]] == [each["label"] for each in shown["probabilities"]]


@pytest.mark.parametrize(("code", "printed"), [*zip(blocks("run: python"), ["7\n", ":7:7\n"], strict=True)])
def test_the_python_examples_read_the_seven(code, printed, server):
    assert run([sys.executable, "-c", here(code, server)]).endswith(printed)


def test_curl_reloads_all_models_or_one(curl, serve):
    server = serve("digits", "lenet", "--admin")
    everything, one = blocks("run: reload")[0].splitlines()
    outcomes = [
        [(each["model"], each["version"]) for each in curl(line, server)["models"]] for line in (everything, one)
    ]
    assert outcomes == [[("digits", "1"), ("lenet", "1")], [("lenet", "1")]]


@pytest.mark.skipif(sys.platform == "win32", reason="a signal to one process")
def test_the_server_starts_from_python(tmp_path):
    script = tmp_path / "server.py"
    script.write_text(blocks("run: server")[0].replace("port=8000", "port=0"), "utf-8")
    with subprocess.Popen([sys.executable, script], stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        try:
            assert any(" serving digits, lenet at http" in line for line in process.stderr)
            process.terminate()
            assert "stopped" in process.communicate(timeout=60)[1]
        finally:
            process.kill()
    assert process.returncode == 0


def test_an_error_has_the_form_that_is_shown(client):
    path = re.search(r"<!-- error: (\S+) -->", TEXT)[1]
    shown = json.loads(blocks(f"error: {path}")[0])["error"]
    got = client.post(path, content=b"x").json()["error"]
    assert got.keys() == shown.keys()
    assert got["code"] == shown["code"]
    assert got["message"].startswith(shown["message"].rstrip("…"))


def raised():
    """Yield status and code of every problem that the source can make."""
    for file, source in SOURCES.items():
        for node in ast.walk(ast.parse(source, file.name)):
            match node:
                case ast.Call(func=ast.Name("HttpError"), args=[ast.Constant(status), ast.Constant(code), *_]):
                    yield str(status), code
                case ast.Call(func=ast.Name("busy"), args=[ast.Constant(code), *_]):
                    yield "503", code
                case ast.Call(func=ast.Name("HttpError"), args=[ast.IfExp() as either, ast.Constant(code), *_]):
                    for status in (either.body, either.orelse):
                        yield str(ast.literal_eval(status)), code
    for error in (ImageError(), ImageFormatError(), ImageTooLargeError(), OnnxError()):
        problem = error_of(error)
        yield str(problem.status), problem.code


def test_the_table_of_errors_has_all_that_the_source_has():
    shown = [(status, code.strip("`")) for status, code, _ in table("Errors")]
    assert len(shown) == len(set(shown))
    assert set(shown) == set(raised())


def test_the_table_of_endpoints_is_that_of_the_description():
    shown = set(re.findall(r"`(GET|POST) (\S+)`", " ".join(row[0] for row in table("Endpoints"))))
    paths = description()["paths"]
    described = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert shown == {(method, path) for method, path in described if "/versions/" not in path}


def test_the_table_of_options_is_that_of_the_command():
    options = [each for each in load("serve").params if each.param_type_name == "option"]
    known = {name: each for each in options for name in (*each.opts, *each.secondary_opts)}
    for names, default, _ in table("Options"):
        for name in re.findall(r"`(--[\w-]+)`", names):
            value = known.pop(name).default
            if value is None and default == "none":
                continue
            if isinstance(value, bool):
                assert default == ("watch" if value else "off")
            elif value is not None:
                assert default.replace(",", "") == (f"{value:g}" if isinstance(value, float) else str(value))
    assert {"--install-completion", "--show-completion", "--help"} >= known.keys()


def test_the_table_of_metrics_is_that_of_the_server(client):
    served = re.findall(r"^# TYPE (cnnkit_\S+)", client.get("/metrics").text, re.M)
    shown = [(name.strip("`"), labels.split(", ")) for name, labels, _ in table("Metrics")]
    assert {name for name, _ in shown} == set(served)
    lines = client.get("/metrics").text
    for name, labels in shown:
        if found := re.search(rf"^{name}(?:_count)?{{(.*?)}}", lines, re.M):
            assert set(re.findall(r"(\w+)=", found[1])) == set(labels)


def test_the_events_of_the_log_are_those_of_the_source():
    known = set(re.findall(r'"event": "([a-z-]+)"', "".join(SOURCES.values())))
    said = re.search(r"The events are\s(.*?)\.\n", TEXT, re.S)[1]
    assert set(re.findall(r"`([a-z-]+)`", said)) == known
