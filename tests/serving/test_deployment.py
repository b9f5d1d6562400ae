"""The Dockerfile, the systemd unit and the lines of the docs install and run the same server."""

import configparser
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from nox.project import dependency_groups
from packaging.requirements import Requirement

from cnnkit.serving.process.server import NOTICE_SECONDS
from cnnkit.serving.settings import Settings

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
SERVING = (ROOT / "docs" / "serving.md").read_text("utf-8")
UNIT = ROOT / "docs" / "cnnkit.service"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
NEEDED_TO_STOP = Settings().drain_seconds + NOTICE_SECONDS + 1
TORCH = {"torch", "torchvision", "torchmetrics", "onnxscript", "safetensors", "matplotlib"}


def instructions(name):
    """Return the arguments of an instruction of the Dockerfile, in their order."""
    joined = DOCKERFILE.replace("\\\n", " ")
    return [line.removeprefix(name).strip() for line in joined.splitlines() if line.startswith(f"{name} ")]


def requirements(texts):
    return {each.name: (each.specifier, each.marker) for each in map(Requirement, texts)}


@pytest.mark.parametrize("group", ["server", "server-gpu"])
def test_a_server_takes_the_versions_that_the_whole_toolkit_takes(group):
    whole, server = requirements(PROJECT["project"]["dependencies"]), requirements(dependency_groups(PROJECT, group))
    engine = "onnxruntime-gpu" if group == "server-gpu" else "onnxruntime"
    assert server.pop(engine)[0] == whole[engine][0]
    assert server == {name: whole[name] for name in server}
    assert whole.keys() - server.keys() == TORCH | {"onnxruntime", "onnxruntime-gpu"}


def test_all_ways_to_install_it_name_the_same_group():
    line = "pip install --no-deps . && pip install --group server\n"
    assert line in (ROOT / "README.md").read_text("utf-8")
    assert line in SERVING
    assert 'dependency_groups(nox.project.load_toml("pyproject.toml"), "server")' in (ROOT / "noxfile.py").read_text()
    assert "PACKAGES=server" in instructions("ARG")
    assert set(re.findall(r"PACKAGES=([\w-]+)", SERVING)) == {"server-gpu"}
    installs = [part for run in instructions("RUN") for part in run.split(" && ") if "--python" in part]
    assert [shlex.split(part)[-2:] for part in installs] == [["--group", "${PACKAGES}"], ["--no-deps", "."]]


def test_the_image_gets_all_files_that_the_wheel_is_built_from_and_no_others():
    copied = {source for line in instructions("COPY") if "--from" not in line for source in line.split()[:-1]}
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*wheel["packages"], *wheel["force-include"], *PROJECT["project"]["license-files"]}
    assert copied == needed | {PROJECT["project"]["readme"], "pyproject.toml"}
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == copied
    assert "*" in ignored


def test_the_image_runs_the_server_as_nobody_in_particular():
    assert json.loads(instructions("ENTRYPOINT")[0]) == ["cnnkit", "serve", "--host", "0.0.0.0"]
    assert instructions("EXPOSE") == [str(Settings().port)]
    assert instructions("STOPSIGNAL") == ["SIGTERM"]
    user, _, group = instructions("USER")[0].partition(":")
    assert int(user) > 0
    assert int(group) > 0


@pytest.mark.skipif(sys.platform == "win32", reason="a signal to one process")
def test_the_health_check_of_the_image_follows_the_readiness_of_the_server(serve):
    server = serve("digits")
    _, *check = json.loads(re.search(r"CMD (\[.*\])", instructions("HEALTHCHECK")[0])[1])
    check = [
        sys.executable,
        *(part.replace(f"127.0.0.1:{Settings().port}", urlsplit(server.url).netloc) for part in check),
    ]
    environment = {**os.environ, "http_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(check, capture_output=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr.decode()
    server.process.send_signal(signal.SIGTERM)
    server.wait_for("stopping")
    assert subprocess.run(check, capture_output=True, check=False).returncode == 1
    assert server.process.wait(60) == 0


def test_whoever_stops_the_server_waits_for_its_requests():
    assert int(re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text("utf-8"), re.M)[1]) >= NEEDED_TO_STOP
    assert all(int(seconds) >= NEEDED_TO_STOP for seconds in re.findall(r"--stop-timeout (\d+)", SERVING))
    before = int(re.search(r"sleep: \{seconds: (\d+)\}", SERVING)[1])
    assert int(re.search(r"terminationGracePeriodSeconds: (\d+)", SERVING)[1]) >= NEEDED_TO_STOP + before


def test_the_unit_starts_the_server():
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str
    unit.read(UNIT, "utf-8")
    assert unit["Service"]["ExecStart"] == "/opt/cnnkit/bin/cnnkit serve $CNNKIT_ARGUMENTS"
    assert all(f"{path}/" in SERVING for path in ("/opt/cnnkit", unit["Service"]["WorkingDirectory"]))
    assert unit["Service"]["EnvironmentFile"].removeprefix("-") in SERVING


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd")
def test_systemd_takes_the_unit(tmp_path):
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text("utf-8").replace("/opt/cnnkit/bin/cnnkit", sys.executable), "utf-8")
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_size_is_measured_with_the_steps_of_the_dockerfile(tmp_path):
    spec = importlib.util.spec_from_file_location("image_size", ROOT / "scripts" / "image_size.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    steps = script.steps("server", tmp_path / "venv", tmp_path)
    assert len(steps) == 4
    assert all("/opt" not in part and "$" not in part for step in steps for part in step)
