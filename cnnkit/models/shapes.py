"""The network of the article on circles, squares and triangles drawn by hand."""

from torch import nn


def shapes_cnn(num_classes: int = 3) -> nn.Module:
    """Three blocks of two 3×3 convolutions on 3×28×28 images: 174,243 parameters for 3 classes."""

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(0.5),
        ]

    return nn.Sequential(
        *block(3, 32),
        *block(32, 64),
        *block(64, 64),
        nn.Flatten(),
        nn.Linear(64, 512),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(512, num_classes),
    )
