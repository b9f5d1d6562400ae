"""Small convolutional networks for 1×28×28 digits, as course notebooks have them."""

from torch import nn


def mnist_cnn(num_classes: int = 10) -> nn.Module:
    """Three 3×3 convolutions of 8, 16 and 32 channels and one linear layer: 21,578 parameters for 10 classes."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, num_classes),
    )


def dropout_cnn(num_classes: int = 10) -> nn.Module:
    """Two unpadded convolutions, dropout and 9216-128-classes: 1,199,882 parameters for 10 classes."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(9216, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, num_classes),
    )


def digit_cnn(num_classes: int = 10) -> nn.Module:
    """Two blocks of two batch-normalised convolutions, 32 and 64 channels, then 64·7·7-classes.

    Batch normalisation (Ioffe and Szegedy, 2015) folds into the convolutions on export, so it costs nothing there.
    96,554 parameters for 10 classes.
    """

    def convolution(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        *convolution(1, 32),
        *convolution(32, 32),
        nn.MaxPool2d(2),
        *convolution(32, 64),
        *convolution(64, 64),
        nn.MaxPool2d(2),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(64 * 7 * 7, num_classes),
    )
