"""Small ONNX files as others export them, which answer by the colour of an image, and only if it is fed rightly.

Black and white tell the scale, red and blue the order of the channels, and images that are all of one colour but have
unequal sides the layout. The classes are in an order of their own.
"""

from dataclasses import dataclass, field, replace
from functools import cache
from random import Random

import numpy as np
from onnx import TensorProto, helper, numpy_helper

COLOURS = {"red": (230, 25, 25), "green": (25, 230, 25), "blue": (25, 25, 230), "black": (25, 25, 25),
    "white": (230, 230, 230)}  # fmt: skip
ORDER = ("white", "blue", "red", "black", "green")
HEIGHT, WIDTH = 8, 6
_LINEAR = {"red": (2, -1, -1, 0), "green": (-1, 2, -1, 0), "blue": (-1, -1, 2, 0), "black": (-1, -1, -1, 1),
    "white": (1, 1, 1, -2)}  # fmt: skip
_GAIN = 8
_KINDS = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "float64": TensorProto.DOUBLE,
    "uint8": TensorProto.UINT8}  # fmt: skip
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
CAFFE = np.array([103.939, 116.779, 123.68])  # of blue, green and red

DIMENSIONS = ("fixed", "symbolic", "zero", "minus one", "open sides", "one image", "two images")
SCORES = ("logits", "softmax", "sigmoid", "one sigmoid", "log-softmax", "softmax, reshaped", "softmax, 1×1", "extra")
LABELS = ("none", "lines", "numbered", "index to name", "name to index", "synsets", "names", "id2label", "character")
SCALINGS = ("none", "divided", "normalised", "caffe", "batch norm", "signed", "channel by channel")


@dataclass(frozen=True)
class Spec:
    """How a file is made.

    Attributes:
        body: what follows the scaling: `conv`, `means` and a layer, or `flat`, one layer of all values.
        transposed: a file for NHWC turns its input into NCHW at once.
    """

    layout: str = "NCHW"
    dtype: str = "float32"
    dimensions: str = "fixed"
    scores: str = "logits"
    labels: str = "none"
    scaling: str = "none"
    body: str = "conv"
    transposed: bool = True

    @property
    def two(self) -> bool:
        return self.scores == "one sigmoid"

    @property
    def classes(self) -> tuple[str, ...]:
        return ("black", "white") if self.two else ORDER

    def __str__(self) -> str:
        body = self.body if self.layout == "NCHW" or not self.transposed else f"transpose {self.body}"
        return ", ".join((self.layout, self.dtype, self.dimensions, self.scaling, body, self.scores, self.labels))


@dataclass
class _Graph:
    dtype: type
    nodes: list = field(default_factory=list)
    stored: list = field(default_factory=list)
    at: str = "image"

    def add(self, kind, *values, to=None, **attributes):
        """Apply an operation to where the graph is, with stored values after it."""
        names = []
        for value in values:
            name = f"v{len(self.stored)}"
            self.stored.append(numpy_helper.from_array(value, name))
            names.append(name)
        result = to or f"r{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [self.at, *names], [result], **attributes))
        self.at = result
        return result

    def number(self, value):
        return np.asarray(value, self.dtype)


def logits_of(colour):
    """Return float64 [5] for a colour [3] of 0 to 255."""
    return np.array([np.dot(_LINEAR[c][:3], np.array(colour) / 255) + _LINEAR[c][3] for c in ORDER]) * _GAIN


def probabilities_of(spec, colour):
    """Return what a file should answer, by class: float64 [classes]."""
    logits = logits_of(colour)
    if spec.two:
        one = 1 / (1 + np.exp(-_GAIN * (np.sum(colour) / 255 - 1.5)))
        return np.array([1 - one, one])
    if spec.scores == "sigmoid":
        return 1 / (1 + np.exp(-logits))
    return np.exp(logits) / np.exp(logits).sum()


def picture(colour):
    return np.full((HEIGHT, WIDTH, 3), COLOURS[colour], np.uint8)


@cache
def build(spec):
    """Return the content of a file."""
    graph = _Graph(np.dtype("float32" if spec.dtype == "uint8" else spec.dtype).type)
    if spec.dtype == "uint8":
        graph.nodes.append(helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT))
        graph.at = "float"
    last = spec.layout == "NHWC"
    if last and spec.transposed:
        graph.add("Transpose", perm=[0, 3, 1, 2])
        last = False
    scale, shift, order = _scaled(graph, spec, last)
    rows = np.array([_LINEAR[c] for c in ORDER], np.float64) if not spec.two else np.array([[1, 1, 1, -1.5]])
    # The layer sees scale * x + shift of each channel x in [0, 1], in its own order.
    table = rows[:, :3][:, order] / scale
    bias = (rows[:, 3] - table @ np.broadcast_to(shift, 3)) * _GAIN
    table *= _GAIN
    _layers(graph, spec, last, table, bias)
    outputs = _scores(graph, spec, len(rows))
    return _file(graph, spec, outputs)


def _scaled(graph, spec, last):
    """Add the scaling; return what it makes of x in [0, 1]: scale [3], shift [3], and the order of the channels."""

    def channels(values):
        return graph.number(values if last else np.reshape(values, (1, 3, 1, 1)))

    byte = 255.0 if spec.dtype == "uint8" else 1.0
    straight = [0, 1, 2]
    if spec.scaling == "none":
        return np.full(3, byte), np.zeros(3), straight
    if spec.scaling == "divided":
        graph.add("Div", graph.number(255))
        return np.ones(3), np.zeros(3), straight
    if spec.scaling == "normalised":
        if spec.dtype == "uint8":
            graph.add("Mul", graph.number(1 / 255))
        graph.add("Sub", channels(MEAN))
        graph.add("Div", channels(STD))
        return 1 / STD, -MEAN / STD, straight
    if spec.scaling == "caffe":
        if spec.dtype == "uint8":  # its pixels are red, green, blue: the graph turns them round
            graph.add("Gather", np.array([2, 1, 0]), axis=3 if last else 1)
        graph.add("Sub", channels(CAFFE))
        return np.full(3, 255.0), -CAFFE, straight[::-1]
    if spec.scaling == "batch norm":
        stored = [np.ones(3), np.zeros(3), MEAN * 255, (STD * 255) ** 2]
        graph.add("BatchNormalization", *map(graph.number, stored), epsilon=1e-5)
        return 1 / STD, -MEAN / STD, straight
    if spec.scaling == "signed":
        if spec.dtype == "uint8":
            graph.add("Div", graph.number(127.5))
            graph.add("Sub", graph.number(1))
            return np.full(3, 2.0), np.full(3, -1.0), straight
        graph.add("Add", graph.number(1))
        graph.add("Mul", graph.number(127.5))
        return np.full(3, 255.0), np.zeros(3), straight
    # Channel by channel, as Inception v3 of torchvision does it.
    graph.add("Mul", channels(1 / 255 / STD))
    graph.add("Add", channels(-MEAN / STD))
    return 1 / STD, -MEAN / STD, straight


def _layers(graph, spec, last, table, bias):
    if spec.body == "conv":
        graph.add("Conv", graph.number(table[:, :, None, None]), graph.number(bias), kernel_shape=[1, 1])
        graph.add("GlobalAveragePool")
        graph.add("Flatten")
    elif spec.body == "means":
        graph.add("ReduceMean", axes=[1, 2] if last else [2, 3], keepdims=0)
        graph.add("Gemm", graph.number(table), graph.number(bias), transB=1)
    else:
        spread = table.T[None, None] if last else table.T[:, None, None]
        shape = (HEIGHT, WIDTH, 3, len(table)) if last else (3, HEIGHT, WIDTH, len(table))
        graph.add("Flatten")
        weights = np.broadcast_to(spread, shape).reshape(-1, len(table)) / (HEIGHT * WIDTH)
        graph.add("MatMul", graph.number(weights))
        graph.add("Add", graph.number(bias))


def _scores(graph, spec, count):
    """Add what makes scores of the logits; return the outputs with their dimensions beside the batch."""
    kind = spec.scores
    if kind == "logits":
        graph.add("Identity", to="scores")
    elif kind in {"softmax", "softmax, reshaped", "softmax, 1×1"}:
        graph.add("Softmax", axis=1)
        if kind == "softmax, 1×1":
            graph.add("Reshape", np.array([-1, count, 1, 1]), to="scores")
            return {"scores": (count, 1, 1)}
        graph.add("Reshape", np.array([-1, count]), to="scores")
    elif kind in {"sigmoid", "one sigmoid"}:
        graph.add("Sigmoid", to="scores")
    elif kind == "log-softmax":
        graph.add("LogSoftmax", axis=1, to="scores")
    elif kind == "extra":
        logits = graph.at
        graph.add("Gemm", graph.number(np.eye(count, 7)), to="features")
        graph.at = logits
        graph.add("ArgMax", axis=1, keepdims=0, to="best")
        graph.at = logits
        graph.add("Softmax", axis=1, to="scores")
        return {"best": (), "features": (7,), "scores": (count,)}
    return {"scores": (count,)}


def _file(graph, spec, outputs):
    size = (HEIGHT, WIDTH, 3) if spec.layout == "NHWC" else (3, HEIGHT, WIDTH)
    named = ("height", "width", "num_channels") if spec.layout == "NHWC" else ("num_channels", "height", "width")
    batch, shape = {
        "fixed": ("batch", size), "symbolic": ("batch_size", named), "zero": (0, (0, 0, 0)), "minus one": (-1, size),
        "open sides": ("n", tuple(s if s == 3 else None for s in size)), "one image": (1, size),
        "two images": (2, size),
    }[spec.dimensions]  # fmt: skip
    given = [helper.make_tensor_value_info("image", _KINDS[spec.dtype], (batch, *shape))]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(graph.dtype))
    gives = [
        helper.make_tensor_value_info(name, TensorProto.INT64 if name == "best" else kind, (batch, *dims))
        for name, dims in outputs.items()
    ]
    made = helper.make_graph(graph.nodes, "net", given, gives, graph.stored)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    for key, value in _metadata(spec).items():
        model.metadata_props.add(key=key, value=value)
    return model.SerializeToString()


def _metadata(spec):
    names = spec.classes
    return {
        "names": {"names": str(dict(enumerate(names)))},
        "id2label": {"id2label": "{" + ", ".join(f'"{i}": "{n}"' for i, n in enumerate(names)) + "}"},
        "character": {"character": "\n".join(names)},
    }.get(spec.labels, {})


def forty():
    """Return 40 files in which every layout, type, body and so on meets many others."""
    shuffled = Random(13)

    def drawn(*choices):
        found = [choices[i % len(choices)] for i in range(40)]
        shuffled.shuffle(found)
        return found

    made = []
    for row in zip(
        drawn("NCHW", "NHWC"), drawn(*_KINDS), drawn(*DIMENSIONS), drawn(*SCORES), drawn(*LABELS), drawn(*SCALINGS),
        drawn("conv", "means", "flat"), drawn(True, True, False), strict=True,
    ):  # fmt: skip
        spec = Spec(*row)
        # onnxruntime has these operations for NCHW only, and not with 64 bits.
        bare = spec.dtype == "float64" or (spec.layout == "NHWC" and not spec.transposed)
        spec = replace(spec, body="means" if bare and spec.body == "conv" else spec.body)
        made.append(replace(spec, scaling="caffe" if bare and spec.scaling == "batch norm" else spec.scaling))
    return made


def labels_of(spec):
    """Return the name and the content of the file of labels that goes round beside a file, or None."""
    pairs = list(enumerate(spec.classes))
    listed = pairs[::-1]  # the numbers tell, not the lines
    return {
        "lines": ("labels.txt", "\n".join(spec.classes)),
        "numbered": ("labels.txt", "\n".join(f"{i} {n}" for i, n in listed)),
        "index to name": ("labels.json", "{" + ", ".join(f'"{i}": "{n}"' for i, n in listed) + "}"),
        "name to index": ("labels.json", "{" + ", ".join(f'"{n}": {i}' for i, n in listed) + "}"),
        "synsets": ("synset.txt", "\n".join(f"n{i:08} {n}, paint" for i, n in pairs)),
    }.get(spec.labels)


def expected_labels(spec):
    """Return what the classes are called, in their order."""
    if spec.labels == "none":
        return tuple(map(str, range(len(spec.classes))))
    return tuple(f"{n}, paint" if spec.labels == "synsets" else n for n in spec.classes)
