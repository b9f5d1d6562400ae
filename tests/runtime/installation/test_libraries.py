import sys

import pytest

from cnnkit.runtime import libraries

linux = pytest.mark.skipif(sys.platform != "linux", reason="the names are those of Linux")
gpu_package = pytest.mark.skipif(libraries.provider_file("cuda") is None, reason="needs onnxruntime-gpu")


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
