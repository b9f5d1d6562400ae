"""These tests are for an installation without PyTorch: `nox -s tests_without_torch` makes one and runs them."""

from importlib.util import find_spec

collect_ignore_glob = ["test_*.py"] if find_spec("torch") else []
