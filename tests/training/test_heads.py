"""The head of a network is what produces its logits, wherever it is defined and however it is written."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from cnnkit import registry
from cnnkit.errors import UsageError
from cnnkit.models.heads import head_of
from cnnkit.sources import create_model
from tests.expecting import expect_error

SHAPE = (1, 12, 12)


class Net(nn.Module):
    """A convolution, whose maps `head` turns into logits; the head is defined first."""

    def __init__(self, head: nn.Module | None = None) -> None:
        super().__init__()
        self.head = head or nn.Linear(200, 3)
        self.body = nn.Conv2d(1, 2, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.logits(self.body(images).relu().flatten(1))

    def logits(self, features: Tensor) -> Tensor:
        return self.head(features)


class WithoutGradient(Net):
    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.body(images).flatten(1)
        return self.logits(features)


class Scaled(Net):
    def __init__(self) -> None:
        super().__init__(nn.Linear(200, 3, bias=False))
        self.scale = nn.Parameter(torch.ones(()))

    def logits(self, features: Tensor) -> Tensor:
        return self.scale.exp() * F.linear(F.normalize(features), F.normalize(self.head.weight))


class OwnWeights(Net):
    def __init__(self) -> None:
        super().__init__(nn.Identity())
        self.matrix = nn.Parameter(torch.rand(200, 3))

    def logits(self, features: Tensor) -> Tensor:
        return features @ self.matrix


class ByHand(nn.Module):
    """Two layers whose weights the network holds itself, biases as rows, with a temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Parameter(torch.rand(144, 5)), nn.Parameter(torch.rand(5, 3))
        self.first_bias, self.last_bias = nn.Parameter(torch.rand(1, 5)), nn.Parameter(torch.rand(1, 3))
        self.temperature = nn.Parameter(torch.ones(1, 1))
        self.body = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        features = (images.flatten(1) @ self.first + self.first_bias).relu()
        return (features @ self.last + self.last_bias) / self.temperature


class Two(Net):
    def __init__(self) -> None:
        super().__init__()
        self.other, self.unused = nn.Linear(200, 3), nn.Linear(200, 3)

    def logits(self, features: Tensor) -> Tensor:
        logits = self.head(features) + self.other(features)
        self.unused(features)
        return logits


class Pooled(nn.Module):
    """A head that is a convolution, followed by what has no weights."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.body = nn.Conv2d(1, 3, 1), nn.Conv2d(1, 1, 3)

    def forward(self, images: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(self.head(self.body(images)).relu(), 1).flatten(1)


NORMALISED = nn.Sequential(nn.Linear(200, 3), nn.BatchNorm1d(3))
STATISTICS = {f"head.1.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")}


@pytest.mark.parametrize(
    ("network", "name", "parameters", "tensors"),
    [
        (Net(), "head", {"head.weight", "head.bias"}, set()),
        (WithoutGradient(), "head", {"head.weight", "head.bias"}, set()),
        (Scaled(), "head", {"head.weight", "scale"}, set()),
        (OwnWeights(), "", {"matrix"}, set()),
        (ByHand(), "", {"last", "last_bias", "temperature"}, set()),
        (Two(), "other", {"head.weight", "head.bias", "other.weight", "other.bias"}, set()),
        (Pooled(), "head", {"head.weight", "head.bias"}, set()),
        (Net(NORMALISED), "head.0", {"head.0.weight", "head.0.bias", "head.1.weight", "head.1.bias"}, STATISTICS),
        (
            Net(parametrizations.weight_norm(nn.Linear(200, 3, bias=False))),
            "head",
            {f"head.parametrizations.weight.original{number}" for number in (0, 1)},
            set(),
        ),
        (
            Net(parametrizations.spectral_norm(nn.Linear(200, 3, bias=False))),
            "head",
            {"head.parametrizations.weight.original"},
            {"head.parametrizations.weight.0._u", "head.parametrizations.weight.0._v"},
        ),
    ],
    ids=[
        "defined first", "no gradient", "scaled", "own weights", "by hand", "two", "pooled",
        "normalised", "weight norm", "spectral norm",
    ],
)  # fmt: skip
def test_the_head_is_found_by_running(network: nn.Module, name: str, parameters: set[str], tensors: set[str]) -> None:
    network.train()
    network.body.eval()
    network.body.requires_grad_(False)
    torch.manual_seed(3)
    random = torch.random.get_rng_state()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    found = head_of(network, SHAPE)
    assert (found.name, found.parameters, found.tensors) == (name, parameters, parameters | tensors)
    # The network is as it was.
    assert torch.equal(random, torch.random.get_rng_state())
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert not any(parameter.requires_grad for parameter in network.body.parameters())
    assert [module.training for module in network.modules()] == modes


@pytest.mark.parametrize("name", [*registry.models(), "torchvision/resnet18", "torchvision/squeezenet1_1",
    "torchvision/mobilenet_v3_small", "torchvision/densenet121", "torchvision/vit_b_16", "torchvision/swin_t",
    "torchvision/convnext_tiny", "torchvision/googlenet", "torchvision/inception_v3", "torchvision/efficientnet_b0",
])  # fmt: skip
def test_the_head_is_what_depends_on_the_number_of_classes(name: str) -> None:
    shape = registry.model(name).input_shape if "/" not in name else (3, 224, 224)
    with torch.device("meta"):
        network, other = create_model(name, 7), create_model(name, 9)
    one, another = ({n: t.shape for n, t in each.state_dict().items()} for each in (network, other))
    found = head_of(network, shape)
    assert {n for n in one if one[n] != another[n]} == found.tensors == found.parameters


def test_a_new_head_is_initialised_as_pytorch_does() -> None:
    network = Net()
    nn.init.zeros_(network.head.weight)
    body = network.body.weight.clone()
    head_of(network, SHAPE).initialise(network)
    assert 0 < network.head.weight.abs().max() <= 200**-0.5
    assert torch.equal(network.body.weight, body)


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (nn.Flatten(), "weights"),
        (nn.Sequential(nn.Flatten(), nn.Linear(7, 3)), "1×12×12"),
        (OwnWeights().requires_grad_(False), ""),
    ],
)
def test_a_network_without_a_head_is_refused(network: nn.Module, said: str) -> None:
    if not said:  # frozen weights are weights
        assert head_of(network, SHAPE).parameters == {"matrix"}
        return
    with expect_error(UsageError, said):
        head_of(network, SHAPE)
