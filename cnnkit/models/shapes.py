"""The network of the article on circles, squares and triangles drawn by hand."""

from collections import OrderedDict

from torch import nn


def shapes_cnn(num_classes: int = 3, input_shape: tuple[int, int, int] = (3, 28, 28)) -> nn.Module:
    """Three blocks of two 3×3 convolutions, the first of them padded, and two linear layers.

    174,243 parameters for 3×28×28 images and 3 classes. Images are 22×22 or larger.
    """
    channels, rows, columns = input_shape
    for _ in range(3):  # a block takes two rows and columns away, and halves what is left
        rows, columns = (rows - 2) // 2, (columns - 2) // 2

    def block(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(inputs, outputs, 3, padding=1),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(outputs, outputs, 3),
                relu2=nn.ReLU(),
                pool=nn.MaxPool2d(2),
                dropout=nn.Dropout(0.5),
            )
        )

    return nn.Sequential(
        OrderedDict(
            block1=block(channels, 32),
            block2=block(32, 64),
            block3=block(64, 64),
            flatten=nn.Flatten(),
            fc1=nn.Linear(64 * rows * columns, 512),
            relu=nn.ReLU(),
            dropout=nn.Dropout(0.5),
            fc2=nn.Linear(512, num_classes),
        )
    )
