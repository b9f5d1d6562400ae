"""AlexNet: Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks", 2012."""

from collections import OrderedDict

from torch import nn


def alexnet(num_classes: int = 10, input_shape: tuple[int, int, int] = (1, 224, 224)) -> nn.Module:
    """AlexNet on one GPU: 46,764,746 parameters for 1×224×224 images and 10 classes.

    Images are 65×65 or larger.
    """
    channels, rows, columns = input_shape
    rows, columns = (rows - 9) // 4 + 1, (columns - 9) // 4 + 1  # 11×11 windows, padded by 1, every 4 pixels
    for _ in range(3):  # 3×3 windows every 2
        rows, columns = (rows - 1) // 2, (columns - 1) // 2
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, 96, 11, stride=4, padding=1),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(3, stride=2),
            conv2=nn.Conv2d(96, 256, 5, padding=2),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(3, stride=2),
            conv3=nn.Conv2d(256, 384, 3, padding=1),
            relu3=nn.ReLU(),
            conv4=nn.Conv2d(384, 384, 3, padding=1),
            relu4=nn.ReLU(),
            conv5=nn.Conv2d(384, 256, 3, padding=1),
            relu5=nn.ReLU(),
            pool3=nn.MaxPool2d(3, stride=2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(256 * rows * columns, 4096),
            relu6=nn.ReLU(),
            dropout1=nn.Dropout(0.5),
            fc2=nn.Linear(4096, 4096),
            relu7=nn.ReLU(),
            dropout2=nn.Dropout(0.5),
            fc3=nn.Linear(4096, num_classes),
        )
    )
