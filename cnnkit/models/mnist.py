"""Small convolutional networks, made for 1×28×28 digits."""

from collections import OrderedDict

from torch import nn


def mnist_cnn(num_classes: int = 10, input_shape: tuple[int, int, int] = (1, 28, 28)) -> nn.Module:
    """Three 3×3 convolutions of 8, 16 and 32 channels and one linear layer.

    21,578 parameters for 1×28×28 images and 10 classes. Images are 4×4 or larger.
    """
    channels, height, width = input_shape
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, 8, 3, padding=1),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(8, 16, 3, padding=1),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            conv3=nn.Conv2d(16, 32, 3, padding=1),
            relu3=nn.ReLU(),
            flatten=nn.Flatten(),
            fc=nn.Linear(32 * (height // 4) * (width // 4), num_classes),
        )
    )


def dropout_cnn(num_classes: int = 10, input_shape: tuple[int, int, int] = (1, 28, 28)) -> nn.Module:
    """Two unpadded convolutions, dropout and two linear layers, of 128 units and one for each class.

    1,199,882 parameters for 1×28×28 images, which give 9216 features, and 10 classes. Images are 6×6 or larger.
    """
    channels, height, width = input_shape
    rows, columns = ((side - 4) // 2 for side in (height, width))
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, 32, 3),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(32, 64, 3),
            relu2=nn.ReLU(),
            pool=nn.MaxPool2d(2),
            dropout1=nn.Dropout(0.25),
            flatten=nn.Flatten(),
            fc1=nn.Linear(64 * rows * columns, 128),
            relu3=nn.ReLU(),
            dropout2=nn.Dropout(0.5),
            fc2=nn.Linear(128, num_classes),
        )
    )


def digit_cnn(num_classes: int = 10, input_shape: tuple[int, int, int] = (1, 28, 28)) -> nn.Module:
    """Two blocks of two batch-normalised 3×3 convolutions, 24 and 48 channels, then one linear layer.

    Batch normalisation: Ioffe and Szegedy, 2015. 60,322 parameters for 1×28×28 images and 10 classes. Images are 4×4
    or larger.
    """
    channels, height, width = input_shape

    def block(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                norm1=nn.BatchNorm2d(outputs),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
                norm2=nn.BatchNorm2d(outputs),
                relu2=nn.ReLU(),
                pool=nn.MaxPool2d(2),
            )
        )

    return nn.Sequential(
        OrderedDict(
            block1=block(channels, 24),
            block2=block(24, 48),
            dropout=nn.Dropout(0.3),
            flatten=nn.Flatten(),
            fc=nn.Linear(48 * (height // 4) * (width // 4), num_classes),
        )
    )
