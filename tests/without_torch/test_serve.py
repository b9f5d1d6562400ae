import http.client
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

DRAWINGS = Path(os.environ.get("DRAWINGS", ""))


@pytest.fixture(scope="module")
def server():
    command = [sys.executable, "-m", "cnnkit", "serve", "digits", "--port", "0", "--log-format", "json"]
    # On Windows a signal goes to a group of processes; this one must not be the tests' own.
    flags = subprocess.CREATE_NEW_PROCESS_GROUP if sys.platform == "win32" else 0
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8", creationflags=flags)
    lines = []
    for line in process.stderr:
        lines.append(line)
        if '"event": "serving"' in line:
            break
    else:
        pytest.fail("".join(lines))
    yield json.loads(lines[-1])["url"].removeprefix("http://")
    process.send_signal(signal.CTRL_BREAK_EVENT if sys.platform == "win32" else signal.SIGTERM)
    rest = process.communicate(timeout=30)[1]
    assert process.returncode == 0, rest


def ask(address, method, path, body=None):
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.request(method, path, body)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def test_a_drawing_is_read(server):
    drawing = next((DRAWINGS / "7").iterdir()).read_bytes()
    status, content = ask(server, "POST", "/predict/digits?show=input,features", drawing)
    assert status == 200, content
    found = json.loads(content)
    assert found["label"] == "7"
    assert found["features"]


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/metrics", "/v2/health/ready"])
def test_the_wheel_has_what_the_server_shows(server, path):
    status, content = ask(server, "GET", path)
    assert status == 200, content
    assert content
