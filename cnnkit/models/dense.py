"""Networks without convolutions: what a convolutional network has to beat."""

import math
from collections import OrderedDict

from torch import nn


def softmax_regression(num_classes: int = 10, input_shape: tuple[int, int, int] = (1, 28, 28)) -> nn.Module:
    """Multinomial logistic regression: one linear layer, 7,850 parameters for 1×28×28 images and 10 classes."""
    return nn.Sequential(OrderedDict(flatten=nn.Flatten(), fc=nn.Linear(math.prod(input_shape), num_classes)))


def mlp(num_classes: int = 10, input_shape: tuple[int, int, int] = (1, 28, 28)) -> nn.Module:
    """Fully connected pixels-256-64-classes with ReLU: 218,058 parameters for 1×28×28 images and 10 classes."""
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            fc1=nn.Linear(math.prod(input_shape), 256),
            relu1=nn.ReLU(),
            fc2=nn.Linear(256, 64),
            relu2=nn.ReLU(),
            fc3=nn.Linear(64, num_classes),
        )
    )
