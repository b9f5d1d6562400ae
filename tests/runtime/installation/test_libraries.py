import subprocess
import sys

import pytest

from cnnkit.runtime import libraries

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists what a provider needs")
gpu_package = pytest.mark.skipif(libraries.provider_file("cuda") is None, reason="needs onnxruntime-gpu")


@pytest.mark.parametrize("needed", [(), ("libmade_first.so.7",), ("libmade_first.so.7", "libmade_second.so.12")])
def test_what_a_file_needs_is_read_from_it(compiler, tmp_path, needed):
    (tmp_path / "empty.c").write_text("int nothing;")
    for name in needed:
        command = [compiler, "-shared", "-o", tmp_path / name, f"-Wl,-soname,{name}", tmp_path / "empty.c"]
        subprocess.run(command, check=True)
    made = tmp_path / "made.so"
    options = ["-shared", "-nostdlib", f"-L{tmp_path}", "-Wl,--no-as-needed"]
    links = [f"-l:{name}" for name in needed]
    subprocess.run([compiler, *options, "-o", made, tmp_path / "empty.c", *links], check=True)
    assert libraries.needed_by(made) == needed


@pytest.mark.parametrize(
    "content", [b"", b"MZ" + bytes(200), b"\x7fELF\x02\x01" + bytes(10), b"\x7fELF\x02\x01" + b"\xff" * 300]
)
def test_what_is_no_whole_library_needs_nothing(tmp_path, content):
    (tmp_path / "file.so").write_bytes(content)
    assert libraries.needed_by(tmp_path / "file.so") == ()
    assert libraries.needed_by(tmp_path / "absent.so") == ()


@linux
@gpu_package
@pytest.mark.parametrize("share", [0.0001, 0.001, 0.5, 0.999])
def test_a_cut_provider_is_no_crash(tmp_path, share):
    whole = libraries.provider_file("tensorrt").read_bytes()
    (tmp_path / "cut.so").write_bytes(whole[: int(len(whole) * share)])
    assert isinstance(libraries.needed_by(tmp_path / "cut.so"), tuple)


@linux
@gpu_package
def test_the_cuda_provider_needs_libraries_of_its_own_cuda():
    major = libraries.cuda_major()
    names = [library.name for library in libraries.scan("cuda")]
    assert f"libcudart.so.{major}" in names
    assert f"libcublas.so.{major}" in names
    assert "libcudnn.so.9" in names
    assert not any(name.startswith(("libc.", "libm.", "libstdc++")) for name in names)


def test_a_library_that_is_not_there_is_told_by_the_loader():
    assert "libnowhere" in libraries.load("libnowhere.so.3")


@linux
@gpu_package
def test_without_the_packages_of_nvidia_their_libraries_are_missing(elsewhere, without_nvidia):
    code = "from cnnkit.runtime import libraries as l; print(*[x.name for x in l.scan('cuda') if x.error])"
    missing = elsewhere("-c", code, packages=without_nvidia).stdout.decode().split()
    assert "libcurand.so.10" in missing
    assert "libcudnn.so.9" in missing


def test_without_onnxruntime_there_is_no_provider(elsewhere, packages_without):
    code = "from cnnkit.runtime import libraries as l; print(l.provider_file('cuda'), l.cuda_major(), l.scan('cuda'))"
    assert elsewhere("-c", code, packages=packages_without("onnxruntime")).stdout.decode() == "None None ()\n"
