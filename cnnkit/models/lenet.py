"""LeNet-5: LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998."""

from collections import OrderedDict

from torch import nn


def lenet(num_classes: int = 10, input_shape: tuple[int, int, int] = (1, 28, 28)) -> nn.Module:
    """LeNet as courses teach it, with sigmoids and max-pooling: 61,706 parameters for 1×28×28 images and 10 classes.

    Images are 12×12 or larger.
    """
    channels, height, width = input_shape
    # The second convolution is not padded; each pooling halves.
    rows, columns = ((side // 2 - 4) // 2 for side in (height, width))
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, 6, 5, padding=2),
            sigmoid1=nn.Sigmoid(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(6, 16, 5),
            sigmoid2=nn.Sigmoid(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(16 * rows * columns, 120),
            sigmoid3=nn.Sigmoid(),
            fc2=nn.Linear(120, 84),
            sigmoid4=nn.Sigmoid(),
            fc3=nn.Linear(84, num_classes),
        )
    )
