from cnnkit.serving.versions import Versions, fingerprint


def test_files_are_numbered_in_the_order_in_which_they_served(tmp_path):
    versions = Versions(None)
    assert [versions.number("net", str(n)) for n in (5, 3, 5, 9, 3)] == [1, 2, 1, 3, 2]
    assert versions.number("other", "3") == 1
    assert not any(tmp_path.iterdir())


def test_workers_that_share_a_folder_agree_whatever_each_has_seen(tmp_path):
    early, late = Versions(tmp_path), Versions(tmp_path)
    assert [early.number("net", str(n)) for n in (1, 2)] == [1, 2]
    assert late.number("net", "2") == 2
    assert late.number("net", "3") == 3
    assert [early.number("net", str(n)) for n in (3, 1)] == [3, 1]


def test_a_fingerprint_changes_with_its_file(tmp_path):
    path = tmp_path / "net.onnx"
    assert fingerprint(path) is fingerprint(None) is None
    path.write_bytes(b"1")
    first = fingerprint(path)
    path.write_bytes(b"12")
    assert fingerprint(path) != first
