"""ONNX files made to do harm, or broken: each must end in one clear error, whatever opens it.

Where a file reaches for data outside its folder, that data is there and right: were it read, the network would work.
"""

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
from onnx import FunctionProto, ModelProto, TensorProto, helper, numpy_helper

from cnnkit.card import CARD_KEY, ModelCard
from cnnkit.images import Preprocessing

WEIGHTS = np.random.default_rng(0).normal(0, 0.5, (48, 4)).astype(np.float32)
CASES = {}


TOO_MUCH = "more memory than|more than .* s"
"""Either may come first: a slow machine runs out of time while it fills the memory."""


def case(said, *, summary=True):
    """Register a builder: it writes `net.onnx`, and what it needs, into a folder of its own.

    `said` is part of the error; `summary` says whether listing the nodes fails as opening the file does.
    """

    def register(build):
        CASES[build.__name__] = (build, said, summary)
        return build

    return register


def network(nodes=None, weights=None, *, side=4, shape=None, functions=(), opset=17, domains=(), constants=()):
    """Return a linear classifier of 3×4×4 images, or what `nodes` make of the input `x` and the weights `w`."""
    nodes = nodes or [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"])]
    weights = [numpy_helper.from_array(WEIGHTS, "w")] if weights is None else weights
    weights += [numpy_helper.from_array(np.array(value), name) for name, value in constants]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape or ["n", 3, side, side])
    gives = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    graph = helper.make_graph(nodes, "net", [given], [gives], weights)
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9, functions=functions)


def after(*extra, constants=(), **options):
    """Return a classifier with nodes before it that make `x2` of `x`, of the same shape if all goes well."""
    nodes = [*extra, helper.make_node("Flatten", ["x2"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"])]
    return network(nodes, constants=constants, **options)


def adding(*extra, last, **options):
    """Return a classifier that adds the sum of what `extra` computes to its input."""
    return after(
        *extra,
        helper.make_node("Cast", [last], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["float"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["x2"]),
        **options,
    )


def write(folder, content):
    data = content.SerializeToString() if isinstance(content, ModelProto) else content
    (folder / "net.onnx").write_bytes(data)


# What is no ONNX file


@case("not an ONNX file")
def empty(folder):
    write(folder, b"")


@case("not an ONNX file")
def text(folder):
    write(folder, b"this is a text, not a network\n")


@case("not an ONNX file")
def zeros(folder):
    write(folder, bytes(1000))


@case("not an ONNX file")
def zipped(folder):
    write(folder, b"PK\x03\x04" + bytes(range(256)) * 4)


@case("not an ONNX file")
def flatbuffer(folder):
    write(folder, b"\x1c\x00\x00\x00ORTM" + bytes(64))


@case("not an ONNX file")
def half(folder):
    content = network().SerializeToString()
    write(folder, content[: len(content) // 2])


@case("not an ONNX file")
def all_but_one_byte(folder):
    write(folder, network().SerializeToString()[:-1])


@case("there is no graph in it")
def no_graph(folder):
    write(folder, ModelProto(ir_version=9))


@case("no output")
def no_output(folder):
    model = network()
    model.graph.ClearField("output")
    write(folder, model)


@case("not a valid ONNX file: .*opset_import")
def no_opset(folder):
    model = network()
    model.ClearField("opset_import")
    write(folder, model)


@case("names in it that are no text")
def name_that_is_no_text(folder):
    write(folder, network().SerializeToString().replace(b"flat", b"\xff\xfe\xff\xff"))


@case("unknown data type 65")
def type_that_does_not_exist(folder):
    model = network()
    model.graph.input[0].type.tensor_type.elem_type = 65
    write(folder, model)


# External data


def external(folder, *, location="w.bin", offset=None, length=None, data=None, place=None):
    """Write a classifier whose weights are in `place`, by default where `location` says."""
    tensor = numpy_helper.from_array(WEIGHTS, "w")
    _outsource(tensor, location, offset, length)
    write(folder, network(weights=[tensor]))
    if place is not None:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(WEIGHTS.tobytes() if data is None else data)


def _outsource(tensor, location, offset=None, length=None):
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))


@case("outside the file's own folder")
def absolute_location(folder):
    place = folder.parent / "outside" / "w.bin"
    external(folder, location=str(place.resolve()), place=place)


@case("outside the file's own folder")
def parent_location(folder):
    external(folder, location="../outside/w.bin", place=folder.parent / "outside" / "w.bin")


@case("outside the file's own folder")
def parent_location_within(folder):
    (folder / "sub").mkdir()
    external(folder, location="sub/../../outside/w.bin", place=folder.parent / "outside" / "w.bin")


@case("outside the file's own folder")
def backslash_location(folder):
    external(folder, location="..\\outside\\w.bin", place=folder / "..\\outside\\w.bin")


@case("outside the file's own folder")
def drive_location(folder):
    external(folder, location="C:w.bin", place=folder / "C:w.bin")


@case("outside the file's own folder")
def no_location(folder):
    external(folder, location="")


@case("which is not there")
def address_in_memory(folder):
    external(folder, location="*/_ORT_MEM_ADDR_/*", offset=4096, length=WEIGHTS.nbytes)


@case("in 'w.bin', a link to .*outside the file's own folder")
def linked_data(folder):
    place = folder.parent / "outside" / "w.bin"
    external(folder, place=place)
    (folder / "w.bin").symlink_to(place)


@case("in 'sub/w.bin', a link to .*outside the file's own folder")
def linked_folder(folder):
    place = folder.parent / "outside" / "w.bin"
    external(folder, location="sub/w.bin", place=place)
    (folder / "sub").symlink_to(place.parent, target_is_directory=True)


@case("which is not there")
def absent_data(folder):
    external(folder)


@case("which is not there")
def folder_as_data(folder):
    external(folder)
    (folder / "w.bin").mkdir()


@case("which is not there")
def pipe_as_data(folder):
    external(folder)
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "w.bin")


@case("it is not whole")
def short_data(folder):
    external(folder, place=folder / "w.bin", data=bytes(10))


@case("it is not whole")
def offset_beyond_the_data(folder):
    external(folder, offset=64, place=folder / "w.bin")


@case("offset -64")
def negative_offset(folder):
    external(folder, offset=-64, place=folder / "w.bin")


@case("its shape needs 768 bytes")
def length_of_another_shape(folder):
    external(folder, length=2**40, place=folder / "w.bin")


@case("is no number")
def offset_that_is_no_number(folder):
    external(folder, offset="0x0", place=folder / "w.bin")


def _outside(name="c", value=0.0):
    tensor = numpy_helper.from_array(np.array([value], np.float32), name)
    _outsource(tensor, "../outside/c.bin")
    return tensor


def _place(folder, data=b"\0\0\0\0"):
    (folder.parent / "outside").mkdir(exist_ok=True)
    (folder.parent / "outside" / "c.bin").write_bytes(data)


@case("outside the file's own folder")
def data_of_an_attribute(folder):
    _place(folder)
    constant = helper.make_node("Constant", [], ["c"], value=_outside(""))
    write(folder, after(constant, helper.make_node("Add", ["x", "c"], ["x2"])))


@case("outside the file's own folder")
def data_of_a_branch(folder):
    _place(folder)
    gives = helper.make_tensor_value_info("branch", TensorProto.FLOAT, [1])
    body = helper.make_graph([helper.make_node("Identity", ["c"], ["branch"])], "body", [], [gives], [_outside()])
    choose = helper.make_node("If", ["yes"], ["z"], then_branch=body, else_branch=body)
    write(folder, after(choose, helper.make_node("Add", ["x", "z"], ["x2"]), constants=[("yes", True)]))


@case("outside the file's own folder")
def data_of_a_function(folder):
    _place(folder)
    body = [helper.make_node("Constant", [], ["c"], value=_outside("")), helper.make_node("Add", ["a", "c"], ["b"])]
    function = helper.make_function("own", "Shift", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    call = helper.make_node("Shift", ["x"], ["x2"], domain="own")
    write(folder, after(call, functions=[function], domains=["own"]))


@case("outside the file's own folder")
def data_of_a_sparse_tensor(folder):
    _place(folder)
    model = after(helper.make_node("Add", ["x", "c"], ["x2"]))
    indices = numpy_helper.from_array(np.array([0]), "where")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(_outside(), indices, [1]))
    write(folder, model)


# Tensors that are not as large as they say


def _declared(shape):
    tensor = numpy_helper.from_array(WEIGHTS, "w")
    tensor.ClearField("dims")
    tensor.dims.extend(shape)
    return network(weights=[tensor])


@case("not a valid ONNX file: .*too small")
def less_data_than_declared(folder):
    write(folder, _declared([96, 4]))


@case("Incompatible dimensions", summary=False)
def more_data_than_declared(folder):
    write(folder, _declared([24, 4]))


@case("not a valid ONNX file: .*[Nn]egative")
def negative_dimension(folder):
    write(folder, _declared([-48, -4]))


@case("not a valid ONNX file: .*overflow")
def huge_dimensions(folder):
    write(folder, _declared([2**62, 2**62]))


@case("not a valid ONNX file: .*overflow")
def dimensions_whose_product_overflows(folder):
    write(folder, _declared([2**32, 2**32, 48, 4]))


@case("not a valid ONNX file: .*too small")
def fewer_values_than_declared(folder):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[48, 4], float_data=[1, 2, 3])
    write(folder, network(weights=[tensor]))


@case("unknown data type 99")
def unknown_data_type(folder):
    tensor = numpy_helper.from_array(WEIGHTS, "w")
    tensor.data_type = 99
    write(folder, network(weights=[tensor]))


# What this onnxruntime lacks


@case("ONNX IR version 99; onnx .* reads up to")
def newer_format(folder):
    model = network()
    model.ir_version = 99
    write(folder, model)


@case("it uses opset 999; onnx .* reads up to opset")
def newer_opset(folder):
    write(folder, network(opset=999))


@case("operator Teleport|No Op registered for Teleport")
def unknown_operator(folder):
    write(folder, after(helper.make_node("Teleport", ["x"], ["x2"])))


@case("operator Teleport of own.domain, which is not one of those that cnnkit runs")
def operator_of_ones_own(folder):
    write(folder, after(helper.make_node("Teleport", ["x"], ["x2"], domain="own.domain"), domains=["own.domain"]))


@case("operator EPContext of com.microsoft")
def compiled_elsewhere(folder):
    node = helper.make_node(
        "EPContext", ["x"], ["x2"], domain="com.microsoft", embed_mode=0, ep_cache_context="../outside/c.bin"
    )
    write(folder, after(node, domains=["com.microsoft"]))


# Graphs without end


def _function(name, calls):
    values = ["a", *(f"v{index}" for index in range(len(calls) - 1)), "b"]
    nodes = [
        helper.make_node(call, [values[index]], [values[index + 1]], domain="" if call == "Relu" else "own")
        for index, call in enumerate(calls)
    ]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    function: FunctionProto = helper.make_function("own", name, ["a"], ["b"], nodes, imports)
    return function


def _calling(name, functions):
    return after(helper.make_node(name, ["x"], ["x2"], domain="own"), functions=functions, domains=["own"])


@case("not a valid ONNX file: .*must not be recursive")
def function_that_calls_itself(folder):
    write(folder, _calling("F", [_function("F", ["F"])]))


@case("not a valid ONNX file: .*must not be recursive")
def functions_that_call_each_other(folder):
    write(folder, _calling("F", [_function("F", ["G"]), _function("G", ["F"])]))


@case(TOO_MUCH)
def functions_that_multiply(folder):
    functions = [_function("F0", ["Relu"] * 10)]
    functions += [_function(f"F{level}", [f"F{level - 1}"] * 10) for level in range(1, 12)]
    write(folder, _calling("F11", functions))


@case(TOO_MUCH)
def too_many_nodes(folder):
    names = ["x", *(f"r{index}" for index in range(100_000)), "x2"]
    write(folder, after(*(helper.make_node("Relu", [a], [b]) for a, b in pairwise(names))))


@case("operator Loop of opset 17, whose running time cannot be bounded")
def loop(folder):
    given = [
        helper.make_tensor_value_info("round", TensorProto.INT64, []),
        helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
    ]
    gives = [
        helper.make_tensor_value_info("go2", TensorProto.BOOL, []),
        helper.make_tensor_value_info("v2", TensorProto.FLOAT, None),
    ]
    body = [helper.make_node("Identity", ["go"], ["go2"]), helper.make_node("Relu", ["v"], ["v2"])]
    node = helper.make_node("Loop", ["most", "yes", "x"], ["x2"], body=helper.make_graph(body, "body", given, gives))
    write(folder, after(node, constants=[("most", 2**62), ("yes", True)]))


@case("not a valid ONNX file: .*topologically sorted")
def circle(folder):
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    write(folder, after(*nodes, helper.make_node("Relu", ["b"], ["x2"])))


@case("not a valid ONNX file: .*SSA|not a valid ONNX file: .*x2")
def one_name_for_two_results(folder):
    write(folder, after(*(helper.make_node("Relu", ["x"], ["x2"]) for _ in range(2))))


def delimited(number, content):
    """Return a field of a protobuf with this content, of more than two million bytes."""
    length = [len(content) >> shift & 127 | 128 for shift in (0, 7, 14)]
    return bytes([number << 3 | 2, *length, len(content) >> 21]) + content


@case(f"not a whole one|{TOO_MUCH}")
def nodes_that_become_large(folder):
    write(folder, b"\x08\x09" + delimited(7, b"\x0a\x00" * 4_500_000))


@case(f"has no output|{TOO_MUCH}")
def names_that_become_large(folder):
    write(folder, b"\x08\x09" + delimited(7, delimited(1, b"\x0a\x00" * 4_500_000)))


# More memory and time than an image is worth


@case(TOO_MUCH, summary=False)
def constant_of_huge_shape(folder):
    write(folder, adding(helper.make_node("ConstantOfShape", ["s"], ["c"]), last="c", constants=[("s", [40000] * 2)]))


@case(TOO_MUCH, summary=False)
def constant_of_computed_shape(folder):
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Mul", ["s", "many"], ["m"]),
        helper.make_node("ReduceProd", ["m"], ["p"], keepdims=1),
        helper.make_node("ConstantOfShape", ["p"], ["c"]),
    ]
    write(folder, adding(*nodes, last="c", constants=[("many", [1000] * 4)]))


@case(f"can run: |{TOO_MUCH}", summary=False)
def tile(folder):
    write(
        folder, adding(helper.make_node("Tile", ["x", "s"], ["c"]), last="c", constants=[("s", [2**20, 1, 2**20, 1])])
    )


@case(TOO_MUCH, summary=False)
def expand(folder):
    write(folder, adding(helper.make_node("Expand", ["x", "s"], ["c"]), last="c", constants=[("s", [2**40, 3, 4, 4])]))


@case(f"can run: |{TOO_MUCH}", summary=False)
def pad(folder):
    pads = [0, 0, 2**30, 2**30, 0, 0, 0, 0]
    write(folder, adding(helper.make_node("Pad", ["x", "s"], ["c"]), last="c", constants=[("s", pads)]))


@case(TOO_MUCH, summary=False)
def resize(folder):
    scales = np.array([1, 1, 1e7, 1e7], np.float32)
    write(folder, adding(helper.make_node("Resize", ["x", "", "s"], ["c"]), last="c", constants=[("s", scales)]))


@case(TOO_MUCH, summary=False)
def doubling(folder):
    names = ["x", *(f"d{index}" for index in range(40))]
    nodes = [helper.make_node("Concat", [a, a], [b], axis=2) for a, b in pairwise(names)]
    write(folder, adding(*nodes, last="d39"))


@case(TOO_MUCH, summary=False)
def many_large_results(folder):
    names = ["big", *(f"b{index}" for index in range(20))]
    nodes = [helper.make_node("Add", [a, "one"], [b]) for a, b in pairwise(names)]
    constants = [("s", [20000, 20000]), ("one", np.float32(1))]
    write(folder, adding(helper.make_node("ConstantOfShape", ["s"], ["big"]), *nodes, last="b19", constants=constants))


@case("size shows only when it runs")
def size_out_of_pixels(folder):
    nodes = [
        helper.make_node("Cast", ["x"], ["whole"], to=TensorProto.INT64),
        helper.make_node("ReduceMax", ["whole"], ["most"], keepdims=0),
        helper.make_node("Unsqueeze", ["most", "zero"], ["s"]),
        helper.make_node("ConstantOfShape", ["s"], ["c"]),
    ]
    write(folder, adding(*nodes, last="c", constants=[("zero", [0])]))


@case(TOO_MUCH, summary=False)
def too_much_work(folder):
    names = ["m0", *(f"m{index}" for index in range(1, 7))]
    nodes = [helper.make_node("MatMul", [a, a], [b]) for a, b in pairwise(names)]
    shape = helper.make_node("ConstantOfShape", ["s"], ["m0"])
    write(folder, adding(shape, *nodes, last="m6", constants=[("s", [15000, 15000])]))


@case(f"expected sides from 1 to|{TOO_MUCH}", summary=False)
def huge_images(folder):
    pool = helper.make_node("GlobalAveragePool", ["x"], ["p"])
    flat = helper.make_node("Flatten", ["p"], ["flat"])
    weights = [numpy_helper.from_array(WEIGHTS[:3], "w")]
    write(folder, network([pool, flat, helper.make_node("MatMul", ["flat", "w"], ["y"])], weights, side=100_000))


# Attributes and values that native code divides by, or takes for sizes


@case("ends onnxruntime by", summary=False)
def smallest_integer_by_minus_one(folder):
    constants = [("a", [-(2**63)]), ("b", [-1])]
    write(folder, adding(helper.make_node("Div", ["a", "b"], ["c"]), last="c", constants=constants))


@case("ends onnxruntime by|can run: ", summary=False)
def remainder_by_zero(folder):
    write(folder, adding(helper.make_node("Mod", ["a", "b"], ["c"]), last="c", constants=[("a", [5]), ("b", [0])]))


@case("divides integers by .*depends on the pixels")
def division_by_pixels(folder):
    cast = helper.make_node("Cast", ["x"], ["b"], to=TensorProto.INT64)
    write(folder, adding(cast, helper.make_node("Div", ["a", "b"], ["c"]), last="c", constants=[("a", [-(2**63)])]))


def _by_computed_minus_one(kind):
    """Divide the smallest integer by -1, which the file computes, for images whose values have the sum 5 only."""
    nodes = [
        helper.make_node("Neg", ["one"], ["b"]),
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        helper.make_node("Equal", ["total", "five"], ["special"]),
        helper.make_node("Where", ["special", "least", "one"], ["a"]),
        helper.make_node(kind, ["a", "b"], ["c"]),
    ]
    return adding(*nodes, last="c", constants=[("one", [1]), ("five", np.float32(5)), ("least", [-(2**63)])])


@case("divides integers by .*pixels by a computed one")
def pixels_by_a_computed_value(folder):
    write(folder, _by_computed_minus_one("Div"))


@case("divides integers by .*pixels by a computed one")
def remainder_of_pixels_by_a_computed_value(folder):
    write(folder, _by_computed_minus_one("Mod"))


def _convolution(**attributes):
    filters = numpy_helper.from_array(np.ones((3, 3, 3, 3), np.float32), "f")
    model = after(helper.make_node("Conv", ["x", "f"], ["x2"], pads=attributes.pop("pads", [1] * 4), **attributes))
    model.graph.initializer.append(filters)
    return model


@case("strides must only contain positive values", summary=False)
def stride_of_zero(folder):
    write(folder, _convolution(strides=[0, 0]))


@case("pads has incorrect size", summary=False)
def too_few_pads(folder):
    write(folder, _convolution(pads=[1]))


@case("kernel_shape must only contain positive values", summary=False)
def kernel_of_zero(folder):
    write(folder, after(helper.make_node("MaxPool", ["x"], ["x2"], kernel_shape=[0, 0])))


@case("declares 3 channels .* its first layer takes 0", summary=False)
def group_of_zero(folder):
    write(folder, _convolution(group=0))


@case("onnxruntime .* can run|does not run on|failed on", summary=False)
def index_out_of_bounds(folder):
    node = helper.make_node("Gather", ["x", "i"], ["x2"], axis=3)
    write(folder, after(node, constants=[("i", [2**40, 0, 1, 2])]))


@case("can run: .*[Dd]imension", summary=False)
def weights_that_do_not_fit(folder):
    tensor = numpy_helper.from_array(WEIGHTS[:40], "w")
    flat = helper.make_node("Flatten", ["x"], ["flat"])
    write(folder, network([flat, helper.make_node("Gemm", ["flat", "w"], ["y"])], [tensor]))


# Sizes and cards


@case("no usual size of an image fits its layers")
def every_dimension_open(folder):
    weights = [numpy_helper.from_array(WEIGHTS[:47], "w")]
    write(folder, network(shape=["n", "c", "h", "w"], weights=weights))


@case("not a valid ONNX file|not an image classifier|its size shows only when it runs")
def input_without_dimensions(folder):
    model = network()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    write(folder, model)


def _carded(card):
    cast = helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT)
    flat = helper.make_node("Flatten", ["float"], ["flat"])
    given = helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 4, 4, 3])
    gives = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 4])
    nodes = [cast, flat, helper.make_node("MatMul", ["flat", "w"], ["logits"])]
    graph = helper.make_graph(nodes, "net", [given], [gives], [numpy_helper.from_array(WEIGHTS, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {CARD_KEY: card})
    return model


def _card(labels="abcd", side=4):
    form = Preprocessing(3, side, side, (0.0,) * 3, (1.0,) * 3)
    return ModelCard(model="own:net", labels=tuple(labels), preprocessing=form).to_json()


@case("the model card in .* is not valid", summary=False)
def damaged_card(folder):
    write(folder, _carded(_card()[:-20]))


@case("does not match its model card", summary=False)
def card_of_other_classes(folder):
    write(folder, _carded(_card(labels="abc")))


@case("does not match its model card", summary=False)
def card_of_another_size(folder):
    write(folder, _carded(_card(side=8)))


@case(TOO_MUCH)
def a_function_with_a_constant_that_is_called_often(folder):
    large = numpy_helper.from_array(np.zeros(2**18, np.float32), "large")
    body = [helper.make_node("Constant", [], ["c"], value=large), helper.make_node("Identity", ["a"], ["o"])]
    function = helper.make_function("own", "Copy", ["a"], ["o"], body, [helper.make_opsetid("", 17)])
    names = ["x", *(f"y{index}" for index in range(500)), "x2"]
    calls = [helper.make_node("Copy", [a], [b], domain="own") for a, b in pairwise(names)]
    write(folder, after(*calls, functions=[function], domains=["own"]))


def nested(levels):
    """Return a graph in a node of a graph, and so on: 2 to the power of `levels` names, if it were written out."""
    inner = b""
    for _ in range(levels):
        attribute = b"\x32" + _short(inner)
        inner = b"\x0a" + _short(b"\x2a" + _short(attribute))
    return b"\x3a" + _short(inner)


def _short(content):
    length, size = len(content), b""
    while length > 127:
        size, length = size + bytes([length & 127 | 128]), length >> 7
    return size + bytes([length]) + content


def write_all(folder: Path) -> dict[str, Path]:
    """Write every case into a folder of its own; return their files by name."""
    files = {}
    for name, (build, _, _) in CASES.items():
        place = folder / name / "net"
        place.mkdir(parents=True)
        build(place)
        files[name] = place / "net.onnx"
    return files
