"""Types of the parameters that mean the same in many operations, with the options that they become."""

from pathlib import Path
from typing import Annotated

from cnnkit.options import Option, parse_shape

Data = Annotated[
    str | None, Option("Data set or image folder. Default: what it was trained on.", flag="--data", suggest="data")
]
Split = Annotated[
    str | None,
    Option(
        "Images to use: {choices}. Default: test; without a test set validation; all of a folder it never saw.",
        choices=lambda: ("train", "validation", "test", "all"),
    ),
]
DataDir = Annotated[
    str | Path | None,
    Option("Folder with MNIST/, FashionMNIST/ … Default: the run's, $CNNKIT_DATA, cnnkit.toml's, or the cache folder."),
]
SkipDamaged = Annotated[bool, Option("Leave out files that cannot be decoded.")]
BatchSize = Annotated[int, Option("Images that go through the network together.", ge=1)]
Device = Annotated[
    str, Option("Device to run on: auto, cpu, cuda, cuda:N; for ONNX files also tensorrt.", suggest="device")
]
TorchDevice = Annotated[str, Option("Device to run on: auto, cpu, cuda or cuda:N.", suggest="torch-device")]
TrustCode = Annotated[bool, Option("Import the network that a checkpoint names as module:factory.")]
Shape = Annotated[
    tuple[int, int, int] | None,
    Option(
        "Input shape, as in 3x32x32. Default: the network's own.", flag="--input", metavar="CxHxW", parse=parse_shape
    ),
]
