import subprocess
import sys

import pytest
import torch

from cnnkit import plugins, registry
from cnnkit.data.sets import BUILT_IN
from cnnkit.errors import UnknownNameError, UsageError
from cnnkit.recipe import Recipe
from cnnkit.sources import find

# Of the references: the course, the notebooks and the article.
PARAMETERS = {
    "softmax-regression": 7_850,
    "mlp": 218_058,
    "mnist-cnn": 21_578,
    "dropout-cnn": 1_199_882,
    "lenet": 61_706,
    "alexnet": 46_764_746,
    "shapes-cnn": 174_243,
}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a distribution that registers `acme_nets:spec`, as pip would: its files on the path."""

    def put(module, entry="acme_nets:spec"):
        info = tmp_path / "acme-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[cnnkit.models]\nacme = {entry}\n")
        (tmp_path / "acme_nets.py").write_text(module)
        monkeypatch.syspath_prepend(tmp_path)
        forget()

    def forget():
        plugins.registered.cache_clear()
        registry.models.cache_clear()

    yield put
    forget()
    sys.modules.pop("acme_nets", None)


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    def put(content):
        (tmp_path / "own_nets.py").write_text(content)
        monkeypatch.syspath_prepend(tmp_path)

    yield put
    sys.modules.pop("own_nets", None)


def build(spec, **arguments):
    with torch.device("meta"):
        return registry.import_factory(spec.factory)(**arguments)


def test_the_networks_of_the_references_are_registered():
    assert {name: registry.model(name).parameters for name in PARAMETERS} == PARAMETERS


@pytest.mark.parametrize("name", registry.models())
def test_a_network_has_exactly_the_parameters_that_are_registered(name):
    spec = registry.model(name)
    network = build(spec, num_classes=spec.num_classes)
    assert sum(p.numel() for p in network.parameters()) == spec.parameters
    assert sum(p.numel() for p in build(spec).parameters()) == spec.parameters


@pytest.mark.parametrize("classes", [2, 7])
@pytest.mark.parametrize("name", registry.models())
def test_a_network_gives_one_logit_a_class_for_its_input(name, classes):
    spec = registry.model(name)
    network = build(spec, num_classes=classes).eval()
    assert network(torch.zeros(2, *spec.input_shape, device="meta")).shape == (2, classes)


@pytest.mark.parametrize("name", registry.models())
def test_a_recipe_is_valid_and_for_its_own_network(name):
    spec = registry.model(name)
    assert spec.recipe.model == name
    assert len(BUILT_IN[spec.recipe.data].labels) == spec.num_classes
    assert spec.source


def test_a_model_that_is_not_registered_is_an_unknown_name():
    with pytest.raises(UnknownNameError, match="Did you mean lenet"):
        registry.model("lenet5")


def test_a_factory_is_imported_by_module_and_attribute(own_module):
    own_module("class Nets:\n    @staticmethod\n    def net():\n        return 7\n")
    assert registry.import_factory("own_nets:Nets.net")() == 7


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        ("no_such_module:net", "cannot import 'no_such_module:net': No module named"),
        ("own_nets:net", "has no attribute 'net'"),
        ("own_nets:", "Expected package.module:factory"),
        (":net", "Expected package.module:factory"),
        ("own_nets:NUMBER", "'own_nets:NUMBER' is not callable"),
    ],
)
def test_a_factory_that_cannot_be_had_is_a_usage_error(own_module, factory, said):
    own_module("NUMBER = 3\n")
    with pytest.raises(UsageError, match=said):
        registry.import_factory(factory)


@pytest.mark.parametrize(
    ("factory", "content"),
    [("own_nets:net", "def net(:\n"), ("own_nets:net", "1 / 0\n"), (".own_nets:net", ""), ("./own_nets:net", "")],
    ids=["syntax error", "fails when imported", "relative", "path"],
)
def test_a_module_that_is_broken_is_a_usage_error(own_module, factory, content):
    own_module(content)
    with pytest.raises(UsageError, match="own_nets"):
        registry.import_factory(factory)


SPEC = """
from cnnkit.registry import ModelSpec
spec = ModelSpec("{name}", "acme_nets:net", (1, 8, 8), 2, 130, {{"data": "shapes", "epochs": 3}}, "Acme")
def net(num_classes=2):
    from torch import nn
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
"""


def test_an_installed_package_can_register_a_network(install):
    install(SPEC.format(name="acmenet"))
    spec = registry.model("acmenet")
    assert find("acmenet").create(3)[1].out_features == 3
    assert spec.recipe == Recipe(model="acmenet", data="shapes", epochs=3)
    assert sum(p.numel() for p in build(spec).parameters()) == spec.parameters
    assert list(registry.models())[-1] == "acmenet", "after cnnkit's own"


def test_an_installed_package_cannot_take_the_name_of_an_own_network(install):
    install(SPEC.format(name="lenet"))
    assert registry.model("lenet").source != "Acme"
    assert registry.model("lenet").parameters == PARAMETERS["lenet"]


def test_a_package_that_registers_something_else_is_named(install):
    install("spec = {'name': 'acmenet'}\n")
    with pytest.raises(UsageError, match=r"'acme_nets:spec', .* is of the type dict; expected .*ModelSpec"):
        registry.models()


@pytest.mark.parametrize("module", ["import no_such_module\n", "def broken(:\n", "other = 1\n"])
def test_a_package_that_cannot_be_imported_is_named(install, module):
    install(module)
    with pytest.raises(UsageError, match="acme"):
        registry.models()


def test_nothing_of_the_registry_imports_torch():
    code = (
        "import sys; from cnnkit import registry; registry.models(); registry.model('alexnet').recipe; "
        "print([m for m in ('torch', 'torchvision', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("lenet", "lenet"),
        ("runs/lenet-mnist-1", "lenet-mnist-1"),
        ("runs/lenet-mnist-1/best.safetensors", "lenet-mnist-1"),
        ("files/lenet.v2.ONNX", "lenet.v2"),
        ("torchvision/resnet18", "resnet18"),
        ("package.module:factory", "factory"),
    ],
)
def test_what_is_made_of_a_model_is_named_after_it(text, name):
    assert registry.short_name(text) == name
