import re

import pytest

from cnnkit import errors
from cnnkit.errors import CnnkitError, StoppedError, UnknownNameError

# Scripts match on these; a code that changes breaks them.
CODES = {
    "CnnkitError": ("error", 1),
    "UsageError": ("usage", 2),
    "UnknownNameError": ("unknown-name", 1),
    "DataError": ("data", 1),
    "DamagedFilesError": ("damaged-files", 1),
    "OverlapError": ("overlap", 1),
    "ImageError": ("image", 1),
    "ImageFormatError": ("image-format", 1),
    "ImageTooLargeError": ("image-too-large", 1),
    "CostlyImageError": ("image-costly", 1),
    "CheckpointError": ("checkpoint", 1),
    "ZooError": ("zoo", 1),
    "ForwardError": ("forward", 1),
    "OnnxError": ("onnx", 1),
    "DeviceError": ("device", 1),
    "InstallationError": ("installation", 1),
    "ClusterError": ("cluster", 1),
    "ServerError": ("server", 1),
    "OutputError": ("output", 1),
    "MissingDependencyError": ("missing-dependency", 1),
    "TrainingDivergedError": ("diverged", 1),
    "OutOfMemoryError": ("out-of-memory", 1),
    "LostProcessError": ("lost-process", 75),
    "CheckFailedError": ("check-failed", 3),
    "ParityError": ("parity", 3),
    "AccuracyError": ("accuracy", 3),
    "PrecisionError": ("precision", 3),
}


def tree(base=CnnkitError):
    yield base
    for child in base.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child)


def test_codes_and_exit_codes_of_the_whole_tree_are_pinned():
    found = {cls.__name__: (cls.code, cls.exit_code) for cls in tree() if cls is not StoppedError}
    assert found == CODES
    assert StoppedError.code == "interrupted"  # its exit code depends on the signal


def test_every_error_has_a_code_of_its_own():
    codes = [cls.code for cls in tree()]
    assert len(set(codes)) == len(codes)
    assert "internal" not in codes  # the command line's word for a bug


def test_the_drawn_tree_shows_every_error_where_it_is():
    drawn = re.findall(r"^([│├└─ ]*)(\w+Error)\b", errors.__doc__, re.MULTILINE)
    parents, found = [], {}
    for branch, name in drawn:
        depth = len(branch) // 4
        del parents[depth:]
        found[name] = parents[-1] if parents else "Exception"
        parents.append(name)
    assert found == {cls.__name__: cls.__base__.__name__ for cls in tree()}


@pytest.mark.parametrize(
    ("name", "close"),
    [("lenett", ("lenet",)), ("mnist-cn", ("mnist-cnn",)), ("qqqq", ()), ("", ())],
)
def test_an_unknown_name_is_answered_with_the_close_matches(name, close):
    error = UnknownNameError("model", name, ["lenet", "mnist-cnn", "softmax-regression"])
    assert error.close_matches[: len(close)] == close
    assert bool(error.close_matches) == bool(close)
    assert repr(name) in str(error)
    if close:
        assert f"Did you mean {close[0]}" in str(error)
    else:
        assert "Known: lenet, mnist-cnn, softmax-regression." in str(error)


def test_an_unknown_name_among_none_is_answered_by_the_hint_alone():
    assert str(UnknownNameError("model", "x", [], hint="Install some.")) == "there is no model 'x'. Install some."


def test_the_known_names_may_come_from_a_generator():
    error = UnknownNameError("model", "lenett", (name for name in ("lenet", "mlp")))
    assert error.close_matches == ("lenet",)


def test_a_failed_check_carries_what_was_found():
    assert errors.ParityError("they differ", result=7).result == 7
    assert errors.AccuracyError("too low").result is None


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (["b", "a"], "Known: a, b."),
        (
            [f"n{number:02}" for number in range(12)],
            "Known: n00, n01, n02, n03, n04, n05, n06, n07, n08, n09, n10, n11.",
        ),
        ([f"n{number:02}" for number in range(13)], "Known: n00, n01, n02 and 10 others."),
    ],
)
def test_of_many_known_names_a_few_are_given(known, said):
    assert errors.guess("zzzz", known) == said
