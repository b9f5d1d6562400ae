import pytest


def flat(text):
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["lennet"], 1, "Did you mean lenet"),
        (["absent.onnx"], 1, "there is no file absent.onnx"),
        (["alexnet"], 1, "Train it first: cnnkit train alexnet"),
        (["torchvision/resnet18"], 1, "Train it first: cnnkit train torchvision/resnet18"),
        (["lenet", "lenet"], 2, "two models are called lenet"),
        (["lenet", "a b=digits"], 1, "there is no model"),
        (["lenet", "--preprocess", "other"], 2, "not one of imagenet"),
        (["lenet", "--device", "gpu"], 2, "there is no device 'gpu'"),
        (["lenet", "--workers", "0"], 2, "--workers"),
        (["digits", "--labels", "labels.txt"], 2, "the zoo's have one"),
    ],
)
def test_what_cannot_be_served_is_an_error(cli, arguments, code, said):
    done = cli("serve", *arguments, "--port", "0")
    assert done.exit_code == code
    assert said in flat(done.stderr)


def test_a_run_has_to_be_exported_first(cli, tiny_run):
    done = cli("serve", tiny_run)
    assert done.exit_code == 1
    assert "Export it first" in flat(done.stderr)


def test_a_file_whose_name_cannot_stand_in_a_url_needs_another(cli, tiny_onnx, tmp_path):
    path = tmp_path / "my net.onnx"
    path.write_bytes(tiny_onnx.read_bytes())
    done = cli("serve", path)
    assert done.exit_code == 2
    assert "Give it another" in flat(done.stderr)


def test_a_damaged_file_ends_the_start(cli, tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"garbage")
    done = cli("serve", tmp_path / "net.onnx", "--port", "0")
    assert done.exit_code == 1
    assert "not an ONNX file" in flat(done.stderr)
