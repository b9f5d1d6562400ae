"""A package that adds a network to cnnkit."""

from cnnkit import ModelSpec

SPEC = ModelSpec(
    name="acme-net",
    factory="acme_nets:acme_net",
    input_shape=(3, 12, 10),
    num_classes=2,
    parameters=3 * 4 * 9 + 4 + 4 * 6 * 5 * 2 + 2,
    recipe_fields={"data": "shapes", "optimizer": "adam", "learning_rate": 1e-3, "batch_size": 4, "epochs": 2},
    source="tests",
)


def acme_net(num_classes=2):
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 6 * 5, num_classes)
    )
