"""The project's checks. `nox --no-venv` runs them in the environment at hand, otherwise each session makes its own."""

import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.10"
nox.options.sessions = ["lint", "types", "tests", "tests_without_torch"]
nox.options.reuse_venv = "yes"

# As a server without PyTorch is installed: README.md and the Dockerfile do the same.
WITHOUT_TORCH = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "server")

# A file's tests stay in one process, as they share what is slow to make. The files that end soonest come last.
SPREAD = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")

SOAK = (
    *("--sigterms", "100", "--reloads", "200", "--bad", "40", "--dribblers", "300"),
    *("--attack-seconds", "30", "--images", "20000", "--requests", "20000"),
)


def install(session: nox.Session, *packages: str) -> None:
    """Install unless the session runs in the caller's environment."""
    if session.virtualenv.is_sandboxed:
        session.install(*packages)


def install_browser(session: nox.Session) -> None:
    """Bring the browser that pages are tested in; on a user's machine its absence skips those tests, and says so."""
    if os.environ.get("CI") and not shutil.which("chromium") and shutil.which("apt-get"):
        session.run("apt-get", "update", "-qq", external=True)
        session.run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium", external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, banned imports and the import contracts."""
    install(session, "-e", ".[dev]")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Check types."""
    install(session, "-e", ".[dev]")
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests."""
    install(session, "-e", ".[dev]")
    install_browser(session)
    # `python -m`, so that `tests` can be imported.
    session.run("python", "-m", "pytest", *SPREAD, *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests and require their coverage; apart, as counting lines takes as long as what is slow in Python."""
    install(session, "-e", ".[dev]")
    install_browser(session)
    command = ("python", "-m", "pytest", *SPREAD, "--cov", "--cov-report=term:skip-covered", *session.posargs)
    # Newer Pythons count lines at next to no cost.
    newer = sys.version_info >= (3, 12)
    session.run(*command, env={"COVERAGE_CORE": "sysmon"} if newer else None)


@nox.session
def quick(session: nox.Session) -> None:
    """Run in two minutes the tests that start no process; the others are in `tests`."""
    install(session, "-e", ".[dev]")
    session.run(
        "python", "-m", "pytest", "-p", "tests.quick", "-n", "2", "--dist", "loadfile", "-r", "fE", *session.posargs
    )


@nox.session(venv_backend="venv")
def tests_without_torch(session: nox.Session) -> None:
    """Build the wheel, install it without PyTorch, and predict and benchmark with it."""
    dist = Path(session.create_tmp()) / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.install("build", "pytest")
    session.run("python", "-m", "build", "--wheel", "--outdir", str(dist), silent=True)
    session.install("--no-deps", "--force-reinstall", *map(str, dist.glob("*.whl")))
    session.install(*WITHOUT_TORCH)
    # Away from the source tree, so that the installed package is the one that is tested.
    tests = Path("tests/without_torch").resolve()
    drawings = Path("tests/data/drawings").resolve()
    session.chdir(session.create_tmp())
    options = ("-q", "-c", os.devnull, "--rootdir", str(tests), "--confcutdir", str(tests), "-p", "no:cacheprovider")
    session.run("python", "-m", "pytest", *options, str(tests), env={"DRAWINGS": str(drawings)})


@nox.session
def bench_train(session: nox.Session) -> None:
    """Measure training against the notebook loop, Lightning and Keras; `-- --data-dir DIR` says where MNIST is."""
    install(session, "-e", ".", "lightning", "keras")
    session.run("python", "scripts/bench_train.py", *session.posargs)


@nox.session
def bench_onnx(session: nox.Session) -> None:
    """Measure `cnnkit benchmark` against a bare loop, and AlexNet on onnxruntime against PyTorch."""
    install(session, "-e", ".")
    session.run("python", "scripts/bench_onnx.py", *session.posargs)


@nox.session
def check_torchvision(session: nox.Session) -> None:
    """Compare `cnnkit summary` with what torchvision says of its networks, and with torchinfo."""
    install(session, "-e", ".", "torchinfo")
    session.run("python", "scripts/check_torchvision.py", *session.posargs)


@nox.session
def kill_training(session: nox.Session) -> None:
    """Kill a training at 200 moments, 50 of them inside a save, and resume it each time."""
    install(session, "-e", ".")
    session.run("python", "scripts/kill_training.py", *(session.posargs or ("--kills", "200", "--aimed", "50")))


@nox.session
def bench_serve(session: nox.Session) -> None:
    """Measure `cnnkit serve` against LitServe and a bare ASGI function, its overload and its cold start; needs wrk."""
    install(session, "-e", ".", "litserve", "uvicorn")
    session.run("python", "scripts/bench_serve.py", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Stop, reload, dribble at and feed rubbish to `cnnkit serve`, in large numbers."""
    install(session, "-e", ".")
    session.run("python", "scripts/soak_serve.py", *(session.posargs or SOAK))


@nox.session
def fuzz_models(session: nox.Session) -> None:
    """Open hostile model files, and reload a server with each: hours; `-- --mutants 4000 --start 8000` is a part."""
    install(session, "-e", ".")
    session.run("python", "scripts/fuzz_models.py", *(session.posargs or ("--mutants", "40000", "--built", "10000")))
