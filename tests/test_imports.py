"""What a command imports: nobody waits for PyTorch who does not train, and `import cnnkit` costs nothing."""

import ast
import importlib
import os
import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import cnnkit
from cnnkit.card import CARD_KEY, ModelCard
from cnnkit.images import Preprocessing
from tests.expecting import expect_error

PUBLIC = [
    "Classifier",
    "CnnkitError",
    "ModelCard",
    "ModelSpec",
    "Preprocessing",
    "Recipe",
    "__version__",
    "attack",
    "benchmark",
    "create_model",
    "default_recipe",
    "doctor",
    "evaluate",
    "explain",
    "export",
    "find_mistakes",
    "list_datasets",
    "list_models",
    "load",
    "open_dataset",
    "report",
    "serve",
    "summarize",
    "train",
    "tune",
    "verify",
]
TRAINING = {"torch", "torchvision", "torchmetrics", "onnx", "onnxscript", "matplotlib", "safetensors"}
# Files that are none of the zoo are checked by onnx first.
FILE = TRAINING - {"onnx"}
TRAINING = {
    "torch", "torchvision", "torchmetrics", "onnx", "onnxscript", "matplotlib", "safetensors", "ray", "pyarrow",
}  # fmt: skip
HEAVY = TRAINING | {"onnxruntime", "numpy", "PIL", "pydantic"}


def test_the_public_names_are_pinned():
    assert sorted(cnnkit.__all__) == PUBLIC
    assert dir(cnnkit) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_can_be_imported_and_is_that_of_its_module(name):
    found = getattr(cnnkit, name)
    if name != "__version__":
        assert found is getattr(importlib.import_module(cnnkit._HOMES[name]), name)
        assert found.__doc__
        assert found.__name__ == name


def test_a_name_that_is_not_public_is_an_attribute_error():
    with expect_error(AttributeError, "lenet"):
        _ = cnnkit.lenet


def loaded(code, *arguments, cwd=None):
    """Run code in an interpreter of its own; return its exit code and the top-level modules that it loaded."""
    report = "print('\\n' + repr(sorted({m.partition('.')[0] for m in sys.modules})))"
    program = f"import sys, atexit\natexit.register(lambda: {report})\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, check=False, cwd=cwd, text=True
    )
    return done.returncode, set(ast.literal_eval(done.stdout.strip().splitlines()[-1])), done.stdout


@pytest.fixture(scope="module")
def carded(tmp_path_factory):
    """Make a folder with `net.onnx`, a carded linear classifier of 4×4 images, and `image.png`."""
    folder = tmp_path_factory.mktemp("carded")
    card = ModelCard(model="own:net", labels=("dark", "light"), preprocessing=Preprocessing(1, 4, 4, (0.0,), (1.0,)))
    nodes = [
        helper.make_node("Cast", ["image"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["values"], ["flat"]),
        helper.make_node("MatMul", ["flat", "table"], ["logits"]),
    ]
    table = numpy_helper.from_array(np.tile(np.array([0, 0.01], np.float32), (16, 1)), "table")
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 4, 4, 1])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])
    graph = helper.make_graph(nodes, "net", [image], [logits], [table])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {CARD_KEY: card.to_json()})
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    Image.new("L", (9, 9), 200).save(folder / "image.png")
    return folder


COMMAND = "from cnnkit.cli import main; main()"
CASES = {
    "import": ("import cnnkit", [], HEAVY, ""),
    "import and errors": ("import cnnkit; cnnkit.CnnkitError", [], HEAVY, ""),
    "help": (COMMAND, ["--help"], HEAVY, "predict"),
    "version": (COMMAND, ["--version"], HEAVY, cnnkit.__version__),
    "help of train": (COMMAND, ["train", "--help"], TRAINING, "--epochs"),
    "help of attack": (COMMAND, ["attack", "--help"], TRAINING, "--epsilon"),
    "help of report": (COMMAND, ["report", "--help"], TRAINING, "--without"),
    "help of predict": (COMMAND, ["predict", "--help"], TRAINING, "--model"),
    "models": (COMMAND, ["models"], TRAINING, "lenet"),
    "models as JSON": (COMMAND, ["models", "--json"], TRAINING, '"lenet"'),
    "doctor": (COMMAND, ["doctor"], HEAVY - {"numpy", "PIL", "pydantic"}, "session on CPU"),
    "datasets": (COMMAND, ["datasets"], TRAINING, "fashion-mnist"),
    "open a data set": ("import cnnkit; print(cnnkit.open_dataset('shapes').classes)", [], TRAINING, "triangles"),
    "predict": (COMMAND, ["predict", "image.png", "--model", "net.onnx", "--device", "cpu"], FILE, "light"),
    "predict as JSON": (COMMAND, ["predict", "image.png", "-m", "net.onnx", "--json"], FILE, '"light"'),
    "predict to CSV": (COMMAND, ["predict", "image.png", "-m", "net.onnx", "-o", "a.csv"], FILE, "1 image"),
    "predict by the zoo": (COMMAND, ["predict", "image.png"], TRAINING | {"pydantic"}, "digits"),
    "explain a file": (COMMAND, ["explain", "image.png", "-m", "net.onnx", "-o", "explained"], FILE, "index.html"),
    "explain a file here": (COMMAND, ["explain", "image.png", "-m", "net.onnx", "--terminal"], FILE, "occlusion"),
    "benchmark": (
        COMMAND,
        ["benchmark", "net.onnx", *["--device", "cpu", "--seconds", "0.01", "--batch", "1"]],
        FILE,
        "p95",
    ),
    "benchmark by the zoo": (
        "import cnnkit; print(cnnkit.benchmark('lenet', devices=['cpu'], batches=[1], seconds=0.01).models)",
        [],
        TRAINING,
        "lenet",
    ),
    "load": ("import cnnkit; print(cnnkit.load('net.onnx').predict(['image.png'])[0].label)", [], FILE, "light"),
    "summary of a file": (COMMAND, ["summary", "net.onnx"], FILE, "MatMul"),
    "profile of a file": (COMMAND, ["summary", "net.onnx", "--profile", "--device", "cpu"], FILE, "Mean of"),
}


@pytest.mark.parametrize("name", CASES)
def test_only_what_is_needed_is_imported(name, carded):
    code, arguments, forbidden, said = CASES[name]
    exit_code, modules, output = loaded(code, *arguments, cwd=carded)
    assert (exit_code, modules & forbidden) == (0, set())
    assert said in output


def test_wrong_options_are_found_before_pytorch_is_loaded():
    """Each operation looks at its options first."""
    code = """
import cnnkit
wrong = [
    (cnnkit.evaluate, {"split": "tset"}), (cnnkit.evaluate, {"seed": 3}), (cnnkit.find_mistakes, {"split": "tset"}),
    (cnnkit.attack, {"images": -1}), (cnnkit.attack, {"split": "tset"}), (cnnkit.verify, {"split": "tset"}),
    (cnnkit.export, {"precision": "fp8"}), (cnnkit.report, {"without": ["all"]}),
]
for operation, options in wrong:
    try:
        operation("nosuch", **options)
    except cnnkit.CnnkitError as error:
        print("found", error.exit_code)
"""
    exit_code, modules, output = loaded(code)
    assert (exit_code, modules & {"torch", "torchvision"}) == (0, set())
    assert output.count("found 2") == 8


@pytest.mark.parametrize(("given", "expected"), [(None, "1"), ("0", "0")])
def test_onnxruntime_is_kept_from_telling_its_maker(given, expected):
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {} if given is None else {"ORT_DISABLE_TELEMETRY": given}
    code = "import os, cnnkit; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected


def test_the_lock_notices_what_is_imported():
    assert {"numpy", "PIL"} <= loaded("import numpy, PIL.Image")[1]
