"""ONNX files that somebody might make to do harm: mutations of a small classifier, and graphs of operators at random.

Each is drawn from a seed alone, so that a file that fails can be made again.
"""

from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, defs, helper, numpy_helper

from cnnkit.runtime.guard import OPERATORS

if TYPE_CHECKING:
    from collections.abc import Callable

SHAPE = (3, 6, 6)
NUMBERS = (-(2**63), -(2**31), -1, 0, 1, 2, 3, 4, 5, 7, 64, 255, 4096, 65_536, 2**31 - 1, 2**31, 2**40, 2**62)
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-38, 1e30, float("inf"), float("nan"))
TEXTS = (b"", b"NOTSET", b"SAME_UPPER", b"VALID", b"constant", b"reflect", b"edge", b"wrap", b"linear", b"nearest",
         b"cubic", b"bilinear", b"zeros", b"border", b"tanh", b"ij,jk->ik", b"ij->", b"none", b"add")  # fmt: skip


def classifier() -> onnx.ModelProto:
    """Return a small convolutional network with most kinds of layer."""
    rng = np.random.default_rng(0)
    weights = {"a": rng.normal(size=(4, 3, 3, 3)), "b": rng.normal(size=(4,)), "c": rng.normal(size=(16, 5))}
    nodes = [
        helper.make_node("Div", ["x", "scale"], ["d"]), helper.make_node("Conv", ["d", "a", "b"], ["e"], pads=[1] * 4),
        helper.make_node("Relu", ["e"], ["f"]),
        helper.make_node("MaxPool", ["f"], ["g"], kernel_shape=[3, 3], strides=[3, 3]),
        helper.make_node("Shape", ["g"], ["s"]), helper.make_node("Slice", ["s", "zero", "one"], ["batch"]),
        helper.make_node("Concat", ["batch", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["g", "target"], ["h"]),
        helper.make_node("MatMul", ["h", "c"], ["i"]), helper.make_node("Softmax", ["i"], ["y"], axis=1),
    ]  # fmt: skip
    stored: dict[str, Any] = {name: value.astype(np.float32) for name, value in weights.items()}
    stored |= {"scale": np.array([2], np.float32), "zero": np.array([0]), "one": np.array([1]), "rest": np.array([16])}
    return _model(nodes, stored, 5)


def mutated(dice: Random) -> bytes:
    """Return a classifier with one to four changes, in its bytes or in its graph."""
    model = classifier()
    for _ in range(dice.randint(1, 4)):
        dice.choice(_CHANGES)(dice, model)
    content = bytearray(model.SerializeToString())
    for _ in range(dice.choice((0, 0, 1, 1, 2, 4))):
        place = dice.randrange(len(content))
        match dice.randrange(4):
            case 0:
                content[place] = dice.choice((0, 1, 127, 128, 255))
            case 1:
                content[place] ^= 1 << dice.randrange(8)
            case 2:
                del content[place : place + dice.randint(1, 8)]
            case _:
                content[place:place] = dice.randbytes(dice.randint(1, 8))
    return bytes(content)


def built(dice: Random) -> bytes:
    """Return a graph of one to six operators that cnnkit allows, on an image and on constants of any kind."""
    nodes, stored, values = [], {}, ["x"]
    for count in range(dice.randint(1, 6)):
        domain = dice.choice(["", "", "", *OPERATORS])
        kind = dice.choice(sorted(OPERATORS[domain]))
        schema = defs.get_schema(kind, 17, domain) if defs.has(kind, 17, domain) else None
        inputs = []
        for place in range(
            dice.randint(schema.min_input, min(schema.max_input, max(schema.min_input, 6)))
            if schema
            else dice.randint(1, 9)
        ):
            if place and dice.random() < 0.7:
                stored[f"c{count}_{place}"] = _constant(dice)
                inputs.append(f"c{count}_{place}")
            else:
                inputs.append(dice.choice(values[-3:]))
        outputs = [f"v{count}_{i}" for i in range(dice.randint(1, min(schema.max_output, 3)) if schema else 1)]
        node = helper.make_node(kind, inputs, outputs, domain=domain)
        for name, each in (schema.attributes if schema else {}).items():
            if each.required or dice.random() < 0.4:
                node.attribute.extend(_attribute(dice, name, each.type))
        nodes.append(node)
        values += outputs
    stored |= {"w": np.ones((int(np.prod(SHAPE)), 4), np.float32), "m": np.float32(1e-3)}
    nodes += [
        helper.make_node("Cast", [values[-1]], ["as_float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["as_float"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "m"], ["less"]),
        helper.make_node("Add", ["x", "less"], ["sum"]), helper.make_node("Flatten", ["sum"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]  # fmt: skip
    return bytes(_model(nodes, stored, 4).SerializeToString())


def _model(nodes: list[onnx.NodeProto], stored: dict[str, Any], classes: int) -> onnx.ModelProto:
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", *SHAPE))
    gives = helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n", classes))
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()]
    domains = {node.domain for node in nodes} | {""}
    imports = [helper.make_opsetid(domain, {"": 17, "ai.onnx.ml": 3}.get(domain, 1)) for domain in sorted(domains)]
    return helper.make_model(
        helper.make_graph(nodes, "net", [given], [gives], tensors), opset_imports=imports, ir_version=9
    )


def _constant(dice: Random) -> Any:
    kind = dice.choice((np.int64, np.int64, np.float32, np.float32, np.int32, np.uint8, np.int8, np.bool_))
    shape = [dice.choice((0, 1, 1, 2, 3, 4, 6)) for _ in range(dice.choice((0, 1, 1, 1, 2, 4)))]
    size = int(np.prod(shape))
    if kind is np.float32:
        return np.array([dice.choice((dice.random(), *FLOATS)) for _ in range(size)], kind).reshape(shape)
    few = dice.random() < 0.6  # as most files have them
    numbers = [dice.choice(NUMBERS[3:9] if few else NUMBERS) for _ in range(size)]
    return np.array(numbers, np.int64).astype(kind).reshape(shape)


def _attribute(dice: Random, name: str, kind: Any) -> list[onnx.AttributeProto]:
    def number() -> int:
        return dice.choice(NUMBERS[2:10] if dice.random() < 0.7 else NUMBERS)

    makers: dict[str, Callable[[], Any]] = {
        "INT": number, "INTS": lambda: [number() for _ in range(dice.randint(1, 4))],
        "FLOAT": lambda: dice.choice(FLOATS), "FLOATS": lambda: [dice.choice(FLOATS) for _ in range(3)],
        "STRING": lambda: dice.choice(TEXTS), "STRINGS": lambda: [dice.choice(TEXTS) for _ in range(2)],
        "TENSOR": lambda: numpy_helper.from_array(np.asarray(_constant(dice))),
    }  # fmt: skip
    make = makers.get(str(kind).rpartition(".")[2])
    return [helper.make_attribute(name, make())] if make else []


def _change_operator(dice: Random, model: onnx.ModelProto) -> None:
    dice.choice(model.graph.node).op_type = dice.choice(sorted(OPERATORS[""]))


def _change_attribute(dice: Random, model: onnx.ModelProto) -> None:
    found = [each for node in model.graph.node for each in node.attribute if each.ints or each.HasField("i")]
    if found:
        each = dice.choice(found)
        if each.ints:
            each.ints[dice.randrange(len(each.ints))] = dice.choice(NUMBERS)
        else:
            each.i = dice.choice(NUMBERS)


def _change_constant(dice: Random, model: onnx.ModelProto) -> None:
    tensor = dice.choice(model.graph.initializer)
    name = tensor.name
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(_constant(dice)), name))


def _change_wire(dice: Random, model: onnx.ModelProto) -> None:
    node = dice.choice(model.graph.node)
    names = ["x", *(t.name for t in model.graph.initializer), *(o for n in model.graph.node for o in n.output)]
    node.input[dice.randrange(len(node.input))] = dice.choice(names)


def _drop_node(dice: Random, model: onnx.ModelProto) -> None:
    if len(model.graph.node) > 1:
        del model.graph.node[dice.randrange(len(model.graph.node))]


def _change_dimension(dice: Random, model: onnx.ModelProto) -> None:
    shape = dice.choice((model.graph.input[0], model.graph.output[0])).type.tensor_type.shape
    dice.choice(shape.dim).dim_value = dice.choice(NUMBERS)


_CHANGES = (
    _change_operator, _change_attribute, _change_attribute, _change_constant, _change_constant, _change_wire,
    _drop_node, _change_dimension,
)  # fmt: skip
