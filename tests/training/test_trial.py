"""What is tried before a run: whether a network gives logits, and whether it can be trained."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnkit.errors import UsageError
from cnnkit.models.heads import head_of
from cnnkit.models.trial import require_classifier, require_trainable
from cnnkit.sources import create_model
from tests.expecting import expect_error

SHAPE = (1, 12, 12)


class Ending(nn.Module):
    """A small classifier, whose scores some function makes an output of."""

    def __init__(self, function: Callable[[Tensor], object], classes: int = 3) -> None:
        super().__init__()
        self.conv, self.fc, self.function = nn.Conv2d(1, 4, 3), nn.Linear(400, classes), function

    def forward(self, images: Tensor) -> object:
        return self.function(self.fc(F.relu(self.conv(images)).flatten(1)))


def written_out(scores: Tensor) -> Tensor:
    shares = (scores - scores.amax(1, keepdim=True)).exp()
    return shares / shares.sum(1, keepdim=True)


@pytest.mark.parametrize("name", ["lenet", "shapes-cnn", "cifar-resnet", "torchvision/squeezenet1_1"])
def test_classifiers_pass(name: str) -> None:
    shape = (3, 64, 64)
    network = create_model(name, 5, shape)
    assert require_classifier(network, name, shape).classes == 5
    require_trainable(network, name, shape, 5, 2)


@pytest.mark.parametrize(
    "function",
    [
        lambda scores: scores,
        lambda scores: 5 * scores,
        lambda scores: F.log_softmax(scores, 1),
        lambda scores: scores - scores.logsumexp(1, keepdim=True),
        F.normalize,
        lambda scores: scores.abs(),
    ],
    ids=["linear", "scaled", "log-softmax", "written-out log-softmax", "cosines", "distances"],
)
def test_logits_are_no_probabilities(function: Callable[[Tensor], object]) -> None:
    assert require_classifier(Ending(function), "it", SHAPE, 3).bounded_by is None


def test_a_head_of_zeros_is_none_of_probabilities() -> None:
    network = Ending(lambda scores: scores + 0)
    nn.init.zeros_(network.fc.weight)
    nn.init.zeros_(network.fc.bias)
    require_classifier(network, "it", SHAPE, 3)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda scores: F.softmax(scores, 1), "softmax"),
        (nn.Softmax(1), "softmax"),
        (lambda scores: F.softmax(scores, 1).view(-1, 3).clone(), "softmax"),
        (lambda scores: F.softmax(scores.T, 0).T, "softmax"),
        (lambda scores: F.log_softmax(scores, 1).exp(), "softmax"),
        (lambda scores: F.softmax(scores / 3, 1) * 1.0, "softmax"),
        (written_out, "softmax"),
        (lambda scores: scores.exp() / scores.exp().sum(1, keepdim=True), "softmax"),
        (torch.sigmoid, "a sigmoid"),
        (nn.Sigmoid(), "a sigmoid"),
        (F.hardsigmoid, "a hardsigmoid"),
        (lambda scores: 1 / (1 + (-scores).exp()), "a sigmoid"),
        (lambda scores: torch.tanh(scores) / 2 + 0.5, "a sigmoid"),
        (lambda scores: torch.stack([F.softmax(scores, 1), F.softmax(2 * scores, 1)]).mean(0), "softmax"),
        (lambda scores: F.softmax(scores[..., None, None].expand(-1, -1, 2, 2), 1).mean((2, 3)), "softmax"),
    ],
)
def test_probabilities_are_refused(function: Callable[[Tensor], object], said: str) -> None:
    with expect_error(UsageError, said):
        require_classifier(Ending(function), "it", SHAPE, 3)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda scores: (scores, scores), ("tuple",)),
        (lambda scores: {"logits": scores}, ("dict",)),
        (lambda scores: scores.flatten(), ("[6]",)),
        (lambda scores: scores.squeeze(), ("[3]",)),
        (lambda scores: scores[..., None], ("[2, 3, 1]",)),
        (lambda scores: scores.mean(0, keepdim=True), ("[1, 3]",)),
        (lambda scores: torch.cat([scores, scores], 1), ("[2, 6]", "[2, 3]")),
        (lambda scores: scores.round().long(), ("int64",)),
        (lambda scores: scores.argmax(1), ("[2]",)),
    ],
)
def test_another_output_than_logits_is_refused(function: Callable[[Tensor], object], said: tuple[str, ...]) -> None:
    with expect_error(UsageError, *said):
        require_classifier(Ending(function), "it", SHAPE, 3)


@pytest.mark.parametrize(
    ("function", "ending"),
    [(torch.tanh, "tanh"), (F.relu, "ReLU"), (lambda scores: F.relu(scores).clone(), "ReLU"), (F.log_softmax, None)],
)
@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
def test_an_ending_that_bounds_the_logits_is_named(function: Callable[[Tensor], object], ending: str | None) -> None:
    assert require_classifier(Ending(function), "it", SHAPE).bounded_by == ending


@pytest.mark.parametrize(
    ("layers", "batch", "said"),
    [
        ([nn.Conv2d(1, 2, 12), nn.BatchNorm2d(2)], 1, ("layer 1", "BatchNorm2d", "--batch-size")),
        ([nn.Flatten(), nn.Linear(144, 2), nn.BatchNorm1d(2), nn.Unflatten(1, (2, 1))], 1, ("layer 2", "BatchNorm1d")),
        ([nn.Conv2d(1, 2, 12), nn.InstanceNorm2d(2)], 2, ("layer 1", "InstanceNorm2d", "--input")),
        ([nn.Conv2d(1, 2, 12), nn.GroupNorm(2, 2)], 1, ("layer 1", "GroupNorm")),
    ],
    ids=["2d", "1d", "instance", "group"],
)
def test_a_single_value_to_normalise_is_found(layers: list[nn.Module], batch: int, said: tuple[str, ...]) -> None:
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(2, 3))
    with expect_error(UsageError, *said):
        require_trainable(network, "it", SHAPE, 3, batch)


def test_two_values_can_be_normalised() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 12), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 3))
    require_trainable(network, "it", SHAPE, 3, 2)


class InTraining(Ending):
    """Gives something else in training mode, as networks with auxiliary heads do."""

    def forward(self, images: Tensor) -> object:
        scores = super().forward(images)
        return (scores, scores) if self.training else scores


class OnlyInTraining(Ending):
    """Gives probabilities in training mode."""

    def forward(self, images: Tensor) -> object:
        scores = super().forward(images)
        return F.softmax(scores, 1) if self.training else scores


class Detached(Ending):
    def forward(self, images: Tensor) -> object:
        with torch.no_grad():
            return super().forward(images)


class Overwriting(Ending):
    """Changes what the gradient needs."""

    def forward(self, images: Tensor) -> object:
        scores = super().forward(images).sigmoid()
        scores += scores**2
        scores.mul_(2)
        return scores.sqrt().mul_(2)


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (InTraining(lambda scores: scores), ("tuple",)),
        (OnlyInTraining(lambda scores: scores), ("probabilities",)),
        (Detached(lambda scores: scores), ("weights",)),
        (Overwriting(lambda scores: scores), ()),
        (Ending(lambda scores: scores).requires_grad_(False), ("weights",)),
    ],
)
def test_what_only_training_meets_is_found(network: nn.Module, said: tuple[str, ...]) -> None:
    with expect_error(UsageError, *said):
        require_trainable(network, "it", SHAPE, 3, 2)


@pytest.mark.usefixtures("nets")
def test_a_network_that_cannot_be_copied_is_left_as_it_was() -> None:
    network = create_model("tinynets:Uncopied", 3)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    require_classifier(network, "it", (3, 8, 8), 3)
    require_trainable(network, "it", (3, 8, 8), 3, 2)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert network.training


@pytest.mark.parametrize("first", [nn.ReLU(inplace=True), nn.Hardtanh(inplace=True)])
def test_images_may_be_changed_in_place(first: nn.Module) -> None:
    network = nn.Sequential(first, nn.Flatten(), nn.Linear(144, 3))
    require_classifier(network, "it", SHAPE, 3)
    require_trainable(network, "it", SHAPE, 3, 2)
    assert head_of(network, SHAPE).name == "2"


def test_the_network_is_left_as_it_was() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(), nn.Flatten(), nn.Linear(200, 3))
    network[1].eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    torch.manual_seed(5)
    random = torch.random.get_rng_state()
    require_classifier(network, "it", SHAPE, 3)
    require_trainable(network, "it", SHAPE, 3, 2)
    assert torch.equal(random, torch.random.get_rng_state())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert [module.training for module in network] == [True, False, True, True, True]
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "refused", "fits"),
    [("lenet", (1, 20, 20), "1x28x28"), ("torchvision/alexnet", (3, 20, 20), "3x63x63")],
)
def test_the_smallest_size_that_works_is_named(name: str, refused: tuple[int, int, int], fits: str) -> None:
    with expect_error(UsageError, f"--input {fits}"):
        require_classifier(create_model(name), name, refused)
