"""Networks without convolutions: what a convolutional network has to beat."""

from collections import OrderedDict

from torch import nn


def softmax_regression(num_classes: int = 10) -> nn.Module:
    """Multinomial logistic regression on 1×28×28 images: one linear layer, 7,850 parameters for 10 classes."""
    return nn.Sequential(OrderedDict(flatten=nn.Flatten(), fc=nn.Linear(28 * 28, num_classes)))


def mlp(num_classes: int = 10) -> nn.Module:
    """Fully connected 784-256-64-classes with ReLU on 1×28×28 images: 218,058 parameters for 10 classes."""
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            fc1=nn.Linear(28 * 28, 256),
            relu1=nn.ReLU(),
            fc2=nn.Linear(256, 64),
            relu2=nn.ReLU(),
            fc3=nn.Linear(64, num_classes),
        )
    )
