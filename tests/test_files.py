import hashlib
import os
import stat
import time

import pytest

from cnnkit.errors import OutputError
from cnnkit.files import (
    open_atomic,
    remove_temporaries,
    require_writable,
    sha256,
    write_atomic,
    write_folder_atomic,
    writing,
)
from tests.expecting import expect_error


@pytest.fixture
def umask():
    def change(value):
        old.append(os.umask(value))

    old = []
    yield change
    for value in reversed(old):
        os.umask(value)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("data", [b"", b"short", bytes(range(256)) * 10_000], ids=["empty", "short", "long"])
def test_what_is_written_is_what_is_read_and_nothing_else_is_left(tmp_path, data):
    write_atomic(tmp_path / "model.onnx", data)
    assert (tmp_path / "model.onnx").read_bytes() == data
    assert names(tmp_path) == ["model.onnx"]


def test_folders_on_the_way_are_made(tmp_path):
    write_atomic(tmp_path / "runs" / "lenet-1" / "run.toml", b"x")
    assert (tmp_path / "runs" / "lenet-1" / "run.toml").read_bytes() == b"x"


def test_an_older_file_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "model.onnx"
    target.write_bytes(b"old and longer")
    with target.open("rb") as reader:
        write_atomic(target, b"new")
        # Whoever had it open keeps reading the old one: it was renamed over, not written into.
        assert reader.read() == b"old and longer"
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == ["model.onnx"]


def test_a_target_that_is_a_folder_is_refused_and_left_alone(tmp_path):
    (tmp_path / "model.onnx").mkdir()
    (tmp_path / "model.onnx" / "inside").write_bytes(b"kept")
    with expect_error(OutputError, "model.onnx"):
        write_atomic(tmp_path / "model.onnx", b"new")
    assert names(tmp_path) == ["model.onnx"]
    assert names(tmp_path / "model.onnx") == ["inside"]


def test_a_target_below_a_file_is_refused_and_the_file_left_alone(tmp_path):
    (tmp_path / "file").write_bytes(b"kept")
    with expect_error(OutputError):
        write_atomic(tmp_path / "file" / "model.onnx", b"new")
    assert (tmp_path / "file").read_bytes() == b"kept"
    assert names(tmp_path) == ["file"]


def test_a_disk_that_fills_up_halfway_leaves_the_old_file_whole_and_no_temporary(tmp_path):
    resource = pytest.importorskip("resource", reason="only Unix can limit the size of files")
    target = tmp_path / "model.onnx"
    target.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with expect_error(OutputError, "model.onnx"):
            write_atomic(target, bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["model.onnx"]


def test_an_older_file_is_kept_under_the_name_it_is_given(tmp_path):
    target, keep = tmp_path / "state", tmp_path / "state.previous"
    for number in range(4):
        write_atomic(target, b"%d" % number, keep=keep)
        assert target.read_bytes() == b"%d" % number
        assert (keep.read_bytes() if keep.exists() else None) == (b"%d" % (number - 1) if number else None)
    assert names(tmp_path) == ["state", "state.previous"]


def test_what_cannot_be_written_leaves_both_the_file_and_the_one_that_is_kept(tmp_path):
    resource = pytest.importorskip("resource", reason="only Unix can limit the size of files")
    target, keep = tmp_path / "state", tmp_path / "state.previous"
    write_atomic(target, b"first", keep=keep)
    write_atomic(target, b"second", keep=keep)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with expect_error(OutputError):
            write_atomic(target, bytes(5000), keep=keep)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (target.read_bytes(), keep.read_bytes()) == (b"second", b"first")
    assert names(tmp_path) == ["state", "state.previous"]


def test_a_place_to_keep_it_that_is_a_folder_is_an_output_error_and_nothing_is_lost(tmp_path):
    target, keep = tmp_path / "state", tmp_path / "state.previous"
    target.write_bytes(b"first")
    keep.mkdir()
    with expect_error(OutputError):
        write_atomic(target, b"second", keep=keep)
    assert target.read_bytes() == b"first"
    assert names(tmp_path) == ["state", "state.previous"]


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_behind_a_link_the_file_that_it_names_is_replaced_and_kept(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "there" / "real")
    write_atomic(tmp_path / "link", b"new", keep=tmp_path / "kept")
    assert (tmp_path / "there" / "real").read_bytes() == b"new"
    assert (tmp_path / "kept").read_bytes() == b"old"
    assert (tmp_path / "link").is_symlink()


def test_only_the_temporaries_of_killed_writers_are_removed(tmp_path):
    left = [".cnnkit.0a1b.tmp", ".cnnkit..tmp"]
    mine = ["cnnkit.0a1b.tmp", ".cnnkit.0a1b.tmp.txt", ".other.tmp", "state.safetensors", "run.toml"]
    for name in left + mine:
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / ".cnnkit.1.tmp").write_bytes(b"x")
    (tmp_path / ".cnnkit.folder.tmp").mkdir()
    remove_temporaries(tmp_path)
    assert names(tmp_path) == sorted([*mine, "below", ".cnnkit.folder.tmp"])
    assert names(tmp_path / "below") == [".cnnkit.1.tmp"]


def test_temporaries_that_are_young_may_be_left_alone(tmp_path):
    old, young = (tmp_path / f".cnnkit.{name}.tmp" for name in ("old", "young"))
    for path, age in ((old, 61), (young, 30)):
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    remove_temporaries(tmp_path, older_than=60)
    assert names(tmp_path) == [young.name]


def test_where_there_is_no_folder_there_are_no_temporaries(tmp_path):
    remove_temporaries(tmp_path / "nowhere")
    assert names(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_mode_of_a_file_follows_the_umask(tmp_path, umask, mask, mode):
    umask(mask)
    write_atomic(tmp_path / "model.onnx", b"x")
    assert stat.S_IMODE((tmp_path / "model.onnx").stat().st_mode) == mode
    assert os.umask(mask) == mask, "the umask itself is left as it was"


def test_a_name_as_long_as_the_file_system_allows_can_be_written(tmp_path):
    name = "n" * 250 + ".onnx"
    write_atomic(tmp_path / name, b"x")
    assert names(tmp_path) == [name]


def test_looking_whether_a_folder_can_be_written_leaves_nothing_behind(tmp_path):
    require_writable(tmp_path / "runs" / "new")
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with expect_error(OutputError, "file"):
        require_writable(tmp_path / "file" / "runs")


def test_sha256_is_that_of_everybody_else():
    assert sha256(b"abc") == hashlib.sha256(b"abc").hexdigest()
    assert sha256(b"abc").startswith("ba7816bf")


def test_a_file_written_bit_by_bit_takes_its_place_at_the_end(tmp_path):
    target = tmp_path / "rows.csv"
    target.write_bytes(b"old")
    with open_atomic(target) as file:
        for row in (b"a", b"b"):
            file.write(row)
            assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"ab"
    assert names(tmp_path) == ["rows.csv"]


def test_a_block_that_fails_leaves_the_older_file_and_its_own_error(tmp_path):
    (tmp_path / "rows.csv").write_bytes(b"old")

    def write_half():
        with open_atomic(tmp_path / "rows.csv") as file:
            file.write(b"half")
            raise ConnectionError("elsewhere")

    with expect_error(ConnectionError, "elsewhere"):
        write_half()
    assert (tmp_path / "rows.csv").read_bytes() == b"old"
    assert names(tmp_path) == ["rows.csv"]


def test_a_write_of_the_block_that_fails_is_an_error_of_the_file(tmp_path):
    resource = pytest.importorskip("resource", reason="only Unix can limit the size of files")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    target = tmp_path / "rows.csv"

    def write_much():
        with open_atomic(target) as file:
            for _ in range(50):
                with writing(target):
                    file.write(bytes(1000))

    try:
        with expect_error(OutputError, "rows.csv"):
            write_much()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == []


def test_a_folder_is_there_with_all_its_files(tmp_path):
    write_folder_atomic(tmp_path / "new" / "net", {"a.txt": b"a", "1/model.onnx": b"b"})
    assert names(tmp_path / "new") == ["net"]
    assert (tmp_path / "new" / "net" / "a.txt").read_bytes() == b"a"
    assert (tmp_path / "new" / "net" / "1" / "model.onnx").read_bytes() == b"b"


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "net").mkdir()
    with expect_error(OutputError, "net"):
        write_folder_atomic(tmp_path / "net", {"a.txt": b"a"})
    assert names(tmp_path) == ["net"]
    assert names(tmp_path / "net") == []


def test_a_folder_that_cannot_be_finished_is_not_there(tmp_path):
    with expect_error(OutputError, "net"):
        write_folder_atomic(tmp_path / "net", {"a": b"a", "a/b": b"below a file"})
    assert names(tmp_path) == []
