import json
import sys
from pathlib import Path

import pytest

from cnnkit import zoo
from cnnkit.runtime import checks, doctor, libraries
from cnnkit.runtime.hardware import Driver, find_driver
from tests.expecting import expect_error

GPU = Driver("580.65.06", (13, 0), ("Test GPU",))
gpu_package = pytest.mark.skipif(
    sys.platform != "linux" or libraries.provider_file("cuda") is None, reason="needs onnxruntime-gpu on Linux"
)


@pytest.fixture
def diagnose(elsewhere):
    """Return the exit code, the checks by what was looked at, and the whole envelope."""

    def run(**machine):
        done = elsewhere("-m", "cnnkit", "doctor", "--json", **machine)
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        envelope = json.loads(done.stdout)
        return done.returncode, {check["what"]: check for check in envelope["data"]["checks"]}, envelope

    return run


def add_package(folder, name, version="1.24.0", requires=()):
    """Write what pip writes of a package."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    (info / "METADATA").write_text("\n".join(lines) + "\n")


def test_this_installation_has_no_problem_and_runs_a_session(cli):
    result = cli("doctor", "--json")
    found = {check["what"]: check for check in json.loads(result.stdout)["data"]["checks"]}
    assert found["Python"]["found"].startswith(".".join(map(str, sys.version_info[:3])))
    assert found["session on CPU"] | {"verdict": "ok", "found": "runs lenet-mnist"} == found["session on CPU"]
    if find_driver() is None:
        assert result.exit_code == 0
        assert found["NVIDIA driver"]["verdict"] == "note"
        assert found["--device auto"]["found"] == "takes the CPU: NVIDIA driver: not found on this machine"


def test_the_table_is_drawn(cli):
    out = cli("doctor").stdout
    assert "session on CPU" in out
    assert "runs lenet-mnist" in out


def test_neither_torch_nor_onnxruntime_is_imported(elsewhere):
    code = "import sys, cnnkit; cnnkit.doctor(); print({'torch', 'onnxruntime'} & set(sys.modules))"
    assert elsewhere("-c", code).stdout == b"set()\n"


def test_an_installation_without_pytorch_is_fine(diagnose, packages_without):
    code, found, _ = diagnose(packages=packages_without("torch"))
    assert found["PyTorch"]["found"] == "not installed"
    assert found["PyTorch"]["verdict"] == "note"
    assert found["PyTorch"]["command"].startswith("pip install torch ")
    assert found["session on CPU"]["verdict"] == "ok"
    assert code == 0 or find_driver() is not None


def test_without_onnxruntime_that_is_the_problem(diagnose, packages_without):
    code, found, envelope = diagnose(packages=packages_without("onnxruntime"))
    assert code == 1
    assert (found["onnxruntime"]["found"], found["onnxruntime"]["verdict"]) == ("not installed", "problem")
    assert found["onnxruntime"]["command"] == 'pip install "onnxruntime-gpu[cuda,cudnn]"'
    assert not any(what.startswith("session") for what in found)
    assert (envelope["status"], envelope["errors"][0]["code"]) == ("error", "installation")


def test_an_onnxruntime_that_cannot_be_imported_is_the_problem(diagnose, packages_without):
    packages = packages_without("onnxruntime")
    add_package(packages, "onnxruntime-gpu")
    (packages / "onnxruntime").mkdir()
    (packages / "onnxruntime" / "__init__.py").write_text("raise ImportError('DLL load failed')")
    code, found, _ = diagnose(packages=packages)
    assert code == 1
    assert found["session on CPU"]["found"] == "DLL load failed"
    assert found["session on CPU"]["command"] == "pip install --force-reinstall --no-deps onnxruntime-gpu"


def test_a_session_that_kills_its_process_is_the_problem(diagnose, packages_without):
    packages = packages_without("onnxruntime")
    add_package(packages, "onnxruntime")
    (packages / "onnxruntime").mkdir()
    (packages / "onnxruntime" / "__init__.py").write_text("import os; os.abort()")
    code, found, _ = diagnose(packages=packages)
    assert code == 1
    assert found["session on CPU"]["found"].startswith("crashed with exit code -6")


def test_a_damaged_zoo_is_the_problem(zoo_at, tmp_path):
    damaged = tmp_path / "zoo" / "lenet-mnist" / "model.onnx"
    damaged.parent.mkdir(parents=True)
    (tmp_path / "zoo" / "index.json").write_bytes((zoo.folder() / "index.json").read_bytes())
    damaged.write_bytes(b"no network")
    zoo_at(tmp_path / "zoo")
    from cnnkit.errors import ZooError
    from cnnkit.runtime import smoke_test

    with expect_error(ZooError, "damaged"):
        smoke_test.run("cpu")


def test_two_packages_of_onnxruntime_are_a_problem(tmp_path, monkeypatch):
    add_package(tmp_path, "onnxruntime")
    add_package(tmp_path, "onnxruntime-gpu")
    add_package(tmp_path, "onnxruntime-extensions")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    check = checks.package_check()
    assert check.verdict == "problem"
    assert check.found == "onnxruntime 1.24.0, onnxruntime-gpu 1.24.0: more than one"
    assert check.command == (
        'pip uninstall -y onnxruntime onnxruntime-gpu && pip install "onnxruntime-gpu[cuda,cudnn]"'
    )


@pytest.mark.parametrize(
    ("version", "requires", "found"),
    [
        ("2.15.0", ["nvidia-cudnn-cu13==9.26; platform_system == 'Linux'"], ("2.15.0", 13)),
        ("2.10.0+cu126", [], ("2.10.0+cu126", 12)),
        ("2.10.0+cpu", [], ("2.10.0+cpu", None)),
        ("2.10.0", ["numpy"], ("2.10.0", None)),
    ],
)
def test_pytorchs_cuda_is_read_from_its_package(tmp_path, monkeypatch, version, requires, found):
    add_package(tmp_path, "torch", version, requires)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert checks.torch_cuda() == found


@gpu_package
def test_another_cuda_of_pytorch_matters_where_there_is_a_gpu(tmp_path, monkeypatch):
    add_package(tmp_path, "torch", "2.6.0+cu118")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *map(str, _home_of_onnxruntime())])
    for machine, verdict in ((GPU, "problem"), (None, "note")):
        check = next(check for check in checks.torch_checks(machine) if check.what == "CUDA versions")
        assert check.verdict == verdict
        assert check.found == f"PyTorch's is 11, onnxruntime's is {libraries.cuda_major()}"


def _home_of_onnxruntime() -> list[Path]:
    return [libraries.provider_file("cuda").parent.parent.parent]


def test_two_packages_of_cudnn_are_a_problem(tmp_path, monkeypatch):
    for name in ("torch", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13"):
        add_package(tmp_path, name)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    check = next(check for check in checks.torch_checks(None) if check.what == "cuDNN")
    assert check.verdict == "problem"
    assert check.command.startswith("pip uninstall -y nvidia-cudnn-cu12 nvidia-cudnn-cu13 && ")


@gpu_package
def test_a_driver_for_an_older_cuda_is_a_problem():
    check = checks.driver_check(Driver("535.104", (12, 2), ("Test GPU",)))
    assert check.verdict == "problem"
    assert check.found == f"535.104, runs CUDA up to 12.2; onnxruntime needs CUDA {libraries.cuda_major()}"
    assert "Update the driver" in check.advice


def test_a_platform_without_onnxruntime_gpu_is_not_sent_after_it(monkeypatch):
    monkeypatch.setattr(checks, "HAS_GPU_PACKAGE", False)
    check = checks.driver_check(None)
    assert (check.verdict, check.command) == ("note", "")
    assert check.found == "not looked for: no onnxruntime-gpu for this platform"


def test_gpus_that_are_hidden_are_noted(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    check = checks.gpu_check(Driver("580", (13, 0), (), "no CUDA-capable device is detected"))
    assert check.verdict == "note"
    assert check.advice == "CUDA_VISIBLE_DEVICES is ''. Unset it."


def test_a_gpu_of_a_number_that_is_not_there_is_named():
    assert checks.gpu_check(GPU, 0).verdict == "ok"
    assert checks.gpu_check(GPU, 3).found == "there is no GPU 3, only 0: Test GPU"


def test_an_onnxruntime_for_the_cpu_is_told_on_a_machine_with_a_gpu(diagnose, driver, packages_without):
    packages = packages_without("onnxruntime")
    add_package(packages, "onnxruntime")
    (packages / "onnxruntime").mkdir()
    for variables, command in (({}, "pip uninstall -y onnxruntime && "), ({"DRIVER_INIT": 100}, "")):
        _, found, _ = diagnose(packages=packages, driver=driver, **variables)
        assert found["CUDA provider"]["found"] == "not built into onnxruntime"
        assert found["CUDA provider"]["command"].startswith(command)
        assert bool(found["CUDA provider"]["command"]) == bool(command)


@gpu_package
def test_missing_libraries_are_a_problem_where_there_is_a_gpu(diagnose, driver, without_nvidia):
    code, found, envelope = diagnose(packages=without_nvidia, driver=driver)
    assert code == 1
    assert found["NVIDIA driver"]["found"] == "580.65.06, runs CUDA up to 13.0"
    assert found["GPUs"]["found"] == "0: Test GPU"
    assert "libcurand.so.10" in found["CUDA libraries"]["found"]
    assert "libcuda.so.1" not in found["CUDA libraries"]["found"]
    assert found["CUDA libraries"]["verdict"] == "problem"
    assert found["CUDA libraries"]["command"] == 'pip install "onnxruntime-gpu[cuda,cudnn]"'
    # TensorRT is an offer: its absence is no problem.
    assert found["TensorRT libraries"]["verdict"] == "note"
    assert 'pip install "tensorrt-cu' in found["TensorRT libraries"]["command"]
    assert found["session on CUDA"]["verdict"] == "problem"
    assert "CUDA libraries" in found["session on CUDA"]["found"]
    assert found["session on CPU"]["verdict"] == "ok"
    assert found["--device auto"]["found"].startswith("takes the CPU: CUDA libraries: not found: ")
    assert "CUDA libraries" in envelope["errors"][0]["message"]


@gpu_package
def test_missing_libraries_are_only_noted_where_there_is_no_gpu(diagnose, driver, without_nvidia):
    code, found, _ = diagnose(packages=without_nvidia, driver=driver, DRIVER_INIT=100)
    assert code == 0
    assert found["CUDA libraries"]["verdict"] == "note"
    assert found["GPUs"]["found"] == "none that can be used: no CUDA-capable device is detected"
    assert found["session on CUDA"]["found"] == "not run: no NVIDIA GPU"


def test_a_session_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(doctor, "PROBE_SECONDS", 0.01)
    check = doctor.session_check("cpu", None)
    assert (check.verdict, check.found) == ("problem", "did not finish within 0.01 seconds")


@pytest.mark.gpu
def test_a_session_runs_on_the_gpu():
    driver = find_driver()
    if driver is None or not driver.gpus:
        pytest.skip("needs an NVIDIA GPU")
    check = doctor.session_check("cuda", driver)
    assert check.verdict == "ok"
    assert "of the CPU's" in check.found
