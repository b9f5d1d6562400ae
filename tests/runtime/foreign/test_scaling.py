"""Scale and order of the colours: shown by the first operations, or as the user says."""

from dataclasses import replace

import coloured
import numpy as np
import onnx
import pytest
from coloured import CAFFE, COLOURS, MEAN, ORDER, STD, Spec, build
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from cnnkit.errors import OnnxError, UsageError
from cnnkit.runtime.foreign.beside import Beside
from cnnkit.runtime.foreign.first_operations import entry_of
from cnnkit.runtime.foreign.opening import open_onnx
from cnnkit.runtime.foreign.options import ForeignOptions
from cnnkit.runtime.foreign.preparation import of_processor
from tests.expecting import expect_error


def opened(content, **said):
    return open_onnx(content, "net.onnx", device="cpu", options=ForeignOptions(**said))


def right(classifier):
    """Whether each colour is found."""
    found = classifier.predict([coloured.picture(name) for name in COLOURS])
    return [ORDER[int(p.scores[0].label)] for p in found] == list(COLOURS)


def taking(table_scale, *, bgr=False, before=()):
    """Return a file of which the network itself takes `table_scale(x)` for x in [0, 1], [3] in its order.

    Args:
        before: operations on the image with their stored values, as (kind, values, attributes).
    """
    rows = np.array([coloured._LINEAR[c] for c in ORDER], np.float64) * 8
    zero, one = table_scale(np.zeros(3)), table_scale(np.ones(3))
    table = rows[:, :3][:, ::-1] if bgr else rows[:, :3]
    table = table / (one - zero)
    bias = rows[:, 3] - table @ zero
    nodes, stored, at = [], [], "image"
    for index, (kind, values, attributes) in enumerate(before):
        names = [f"b{index}_{place}" for place in range(len(values))]
        stored += [numpy_helper.from_array(np.asarray(v), n) for v, n in zip(values, names, strict=True)]
        nodes.append(helper.make_node(kind, [at, *names], [f"x{index}"], **attributes))
        at = f"x{index}"
    stored += [numpy_helper.from_array(table[:, :, None, None].astype(np.float32), "w"),
               numpy_helper.from_array(bias.astype(np.float32), "b")]  # fmt: skip
    nodes += [
        helper.make_node("Conv", [at, "w", "b"], ["c"]), helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["scores"]),
    ]  # fmt: skip
    graph_in = helper.make_tensor_value_info("image", TensorProto.FLOAT, ("n", 3, 8, 6))
    graph_out = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ("n", 5))
    graph = helper.make_graph(nodes, "net", [graph_in], [graph_out], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


def per_channel(values):
    return np.asarray(values, np.float32).reshape(1, 3, 1, 1)


def f32(value):
    return np.float32(value)


SAID = {
    "byte": (lambda x: 255 * x, {"pixels": "byte"}),
    "signed": (lambda x: 2 * x - 1, {"pixels": "signed"}),
    "unit": (lambda x: x, {"pixels": "unit"}),
    "mean and std": (lambda x: (x - MEAN) / STD, {"mean": tuple(MEAN), "std": tuple(STD)}),
    "mean of bytes": (lambda x: 255 * x - 255 * MEAN, {"pixels": "byte", "mean": tuple(255 * MEAN)}),
    "imagenet": (lambda x: (x - MEAN) / STD, {"preprocess": "imagenet"}),
}


@pytest.mark.parametrize("what", SAID)
def test_pixels_are_scaled_as_the_user_says(what):
    scale, said = SAID[what]
    assert right(opened(taking(scale), **said))


def test_blue_green_and_red_are_given_where_the_user_says_so():
    assert right(opened(taking(lambda x: x, bgr=True), channel_order="bgr"))
    assert not right(opened(taking(lambda x: x, bgr=True)))
    # The values of the mean are in the order that the network takes.
    caffe = taking(lambda x: 255 * x - CAFFE, bgr=True)
    assert right(opened(caffe, channel_order="bgr", pixels="byte", mean=tuple(CAFFE)))


TURNED = {
    "Gather": [("Gather", [np.array([2, 1, 0])], {"axis": 1})],
    "Slice": [("Slice", [np.array([-1]), np.array([-4]), np.array([1]), np.array([-1])], {})],
}
SHOWN = {
    "x / 255": ([("Div", [f32(255)], {})], lambda x: x, False),
    "x * (1 / 255)": ([("Mul", [f32(1 / 255)], {})], lambda x: x, False),
    "x / 127.5 - 1": ([("Div", [f32(127.5)], {}), ("Sub", [f32(1)], {})], lambda x: 2 * x - 1, False),
    "(x - 127.5) / 127.5": ([("Sub", [f32(127.5)], {}), ("Div", [f32(127.5)], {})], lambda x: 2 * x - 1, False),
    "(x + 1) * 127.5": ([("Add", [f32(1)], {}), ("Mul", [f32(127.5)], {})], lambda x: 255 * x, False),
    "(x + 1) / 2": ([("Add", [f32(1)], {}), ("Div", [f32(2)], {})], lambda x: x, False),
    "2 x - 1": ([("Mul", [f32(2)], {}), ("Sub", [f32(1)], {})], lambda x: 2 * x - 1, False),
    "x / 255 - mean": ([("Div", [f32(255)], {}), ("Sub", [per_channel(MEAN)], {})], lambda x: x - MEAN, False),
    "mean of RGB": ([("Sub", [per_channel(255 * MEAN)], {})], lambda x: 255 * (x - MEAN), False),
    "mean of BGR": ([("Sub", [per_channel(CAFFE)], {})], lambda x: 255 * x - CAFFE, True),
    "RGB turned by Gather": ([*TURNED["Gather"], ("Sub", [per_channel(CAFFE)], {})], lambda x: 255 * x - CAFFE, True),
    "RGB turned by Slice": ([*TURNED["Slice"], ("Sub", [per_channel(CAFFE)], {})], lambda x: 255 * x - CAFFE, True),
    "mean of RGB, turned": (
        [("Sub", [per_channel(CAFFE[::-1])], {}), *TURNED["Gather"]], lambda x: 255 * x - CAFFE, True,
    ),
    "(x - mean) / deviation of x from -1 to 1": (
        [("Mul", [per_channel(0.5 / STD)], {}), ("Add", [per_channel((0.5 - MEAN) / STD)], {})],
        lambda x: (x - MEAN) / STD, False,
    ),
    "clipped bytes": (
        [("Clip", [f32(0), f32(255)], {}), ("Div", [f32(255)], {})], lambda x: x, False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SHOWN)
def test_pixels_are_scaled_as_the_graph_shows(what):
    before, scale, bgr = SHOWN[what]
    classifier = opened(taking(scale, bgr=bgr, before=before))
    assert right(classifier)
    assert any(text.startswith("pixels ") and "the graph" in text for text in classifier.assumptions)


def test_what_the_user_says_is_believed_more_than_what_the_graph_shows():
    before, scale, _ = SHOWN["x / 255"]
    classifier = opened(taking(scale, before=before), pixels="unit")
    assert not right(classifier)
    assert any("scaled to [0, 1]" in text for text in classifier.assumptions)


@pytest.mark.parametrize(
    ("spec", "said", "name"),
    [
        (Spec(dtype="uint8"), {"pixels": "unit"}, "--pixels unit"),
        (Spec(), {"pixels": "word"}, "unit or byte or signed"),
        (Spec(), {"channel_order": "gbr"}, "--channel-order 'gbr'"),
        (Spec(), {"preprocess": "imagenet", "pixels": "byte"}, "--pixels"),
        (Spec(), {"input_shape": (1, 8, 6)}, "--input 1x8x6"),
        (Spec(), {"input_shape": (3, 9, 6)}, "--input 3x9x6"),
        (Spec(dimensions="symbolic"), {"input_shape": (1, 8, 6)}, "--input 1x8x6"),
    ],
)
def test_options_that_contradict_the_file_are_a_usage_error(spec, said, name):
    with expect_error(UsageError, name):
        opened(build(spec), **said)


@pytest.mark.parametrize("dimensions", ["symbolic", "zero", "open sides"])
def test_an_input_that_is_named_is_taken(dimensions):
    classifier = opened(build(Spec(dimensions=dimensions)), input_shape=(3, 40, 30))
    assert classifier.card.preprocessing.shape == (40, 30, 3)
    assert not any("open" in text for text in classifier.assumptions)
    assert right(classifier)


def test_a_size_of_the_metadata_is_taken_and_said():
    model = onnx.load_from_string(build(Spec(dimensions="symbolic")))
    helper.set_model_props(model, {"imgsz": "[64, 48]"})
    classifier = opened(model.SerializeToString())
    assert classifier.card.preprocessing.shape == (64, 48, 3)
    assert any("by the file's metadata" in text for text in classifier.assumptions)


def test_channels_that_are_split_and_joined_in_the_opposite_order_are_followed():
    content = taking(lambda x: 255 * x - CAFFE, bgr=True, before=[("Sub", [per_channel(CAFFE)], {})])
    model = onnx.load_from_string(content)
    nodes = [helper.make_node("Split", ["image"], ["red_", "green_", "blue_"], axis=1),
             helper.make_node("Concat", ["blue_", "green_", "red_"], ["turned"], axis=1)]  # fmt: skip
    model.graph.node[0].input[0] = "turned"
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    assert right(opened(model.SerializeToString()))


def test_a_grey_image_that_the_graph_makes_three_channels_of_is_one_channel():
    model = onnx.load_from_string(taking(lambda x: x))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1
    model.graph.node[0].input[0] = "three"
    model.graph.node.insert(0, helper.make_node("Concat", ["image"] * 3, ["three"], axis=1))
    classifier = opened(model.SerializeToString())
    assert classifier.card.preprocessing.channels == 1
    found = classifier.predict([coloured.picture(name) for name in ("black", "white")])
    assert [ORDER[int(p.scores[0].label)] for p in found] == ["black", "white"]


def test_uint8_in_either_layout_and_order():
    for layout in ("NCHW", "NHWC"):
        spec = Spec(layout=layout, dtype="uint8")
        assert right(opened(build(spec)))
        assert not right(opened(build(spec), channel_order="bgr"))


def test_a_layout_that_nothing_shows_is_the_one_that_fits():
    spec = Spec(layout="NHWC", body="means", transposed=False, dimensions="zero")
    model = onnx.load_from_string(build(spec))
    for value in (*model.graph.input, *model.graph.output):
        for size in value.type.tensor_type.shape.dim:
            size.Clear()
    classifier = opened(model.SerializeToString())
    assert right(classifier)
    assert any("nothing in the file shows it" in text for text in classifier.assumptions)


STEPS = st.sampled_from(["Add", "Sub", "Mul", "Div"])
NUMBERS = st.floats(0.25, 4).map(np.float32) | st.floats(-4, -0.25).map(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(STEPS, st.lists(NUMBERS, min_size=3, max_size=3), st.booleans()), max_size=5),
    last=st.booleans(),
)
def test_what_the_first_operations_make_of_a_pixel_is_what_numpy_makes_of_it(steps, last):
    nodes, stored, at = [], [], "image"
    pixel = np.array([3.0, 5.0, 7.0])
    expected = pixel
    for index, (kind, values, first) in enumerate(steps):
        value = np.array(values, np.float32)
        stored.append(numpy_helper.from_array(value if last else value.reshape(3, 1, 1), f"v{index}"))
        swapped = first and kind != "Div"
        nodes.append(helper.make_node(kind, [f"v{index}", at] if swapped else [at, f"v{index}"], [f"x{index}"]))
        at = f"x{index}"
        operands = (value, expected) if swapped else (expected, value)
        expected = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}[kind](*operands)
    graph = helper.make_graph([*nodes, helper.make_node("Relu", [at], ["y"])], "net", [], [], stored)
    found = entry_of(graph, "image")
    if not steps:
        assert not found.scales
        return
    assert found.channel_axis == (3 if last else 1)
    np.testing.assert_allclose(found.scale * pixel + found.shift, expected, rtol=1e-5, atol=1e-4)


def test_the_forty_include_both_orders():
    assert {replace(spec, labels="none").scaling for spec in coloured.forty()} >= {"caffe", "none"}


NORM = {
    "byte": (255 * MEAN, 255 * STD, lambda x: (x - MEAN) / STD),
    "unit": (MEAN, STD, lambda x: (x - MEAN) / STD),
    "signed": (2 * MEAN - 1, 2 * STD, lambda x: (x - MEAN) / STD),
    "normalised": (np.zeros(3), np.ones(3), lambda x: (x - MEAN) / STD),
}


@pytest.mark.parametrize("what", NORM)
def test_a_batch_normalisation_of_the_images_shows_what_they_were_in_training(what):
    mean, deviation, scale = NORM[what]
    values = [np.float32(each) for each in (np.ones(3), np.zeros(3), mean, deviation**2)]
    content = taking(scale, before=[("BatchNormalization", values, {"epsilon": 1e-7})])
    classifier = opened(content)
    assert right(classifier)
    assert what == "byte" or any("a guess: by its first batch" in text for text in classifier.assumptions)
    if what == "normalised":  # what the user says is not left to it
        assert right(opened(content, preprocess="imagenet"))


DECLARED = {
    "NominalRange_0_255": (lambda x: 255 * x), "Normalized_0_1": (lambda x: x), "Normalized_1_1": (lambda x: 2 * x - 1),
}  # fmt: skip


@pytest.mark.parametrize("bgr", [False, True])
@pytest.mark.parametrize("declared", DECLARED)
def test_the_metadata_of_the_standard_says_scale_and_order(declared, bgr):
    model = onnx.load_from_string(taking(DECLARED[declared], bgr=bgr))
    helper.set_model_props(model, {"Image.BitmapPixelFormat": "Bgr8" if bgr else "Rgb8",
                                   "Image.NominalPixelRange": declared})  # fmt: skip
    classifier = opened(model.SerializeToString())
    assert right(classifier)
    about = [text for text in classifier.assumptions if text.startswith(("pixels", "red", "blue"))]
    assert len(about) == 2
    assert not any("a guess" in text for text in about)


def declaring(content, **said):
    model = onnx.load_from_string(content)
    helper.set_model_props(model, {f"Image.{key}": value for key, value in said.items()})
    return model.SerializeToString()


@pytest.mark.parametrize("declared", DECLARED)
def test_a_preset_is_believed_more_than_the_metadata(declared):
    content = declaring(taking(SAID["imagenet"][0]), NominalPixelRange=declared)
    classifier = opened(content, preprocess="imagenet")
    assert right(classifier)
    against = any("as --preprocess says, though Image.NominalPixelRange" in text for text in classifier.assumptions)
    assert against == (declared != "Normalized_0_1")


def test_values_of_bytes_go_with_a_preset():
    content = taking(SAID["imagenet"][0])
    assert right(opened(content, preprocess="imagenet", mean=tuple(255 * MEAN)))
    classifier = opened(content, preprocess="imagenet", mean=tuple(255 * MEAN), std=tuple(255 * STD))
    assert right(classifier)
    assert "pixels from 0 to 255, mean as given, std as given" in classifier.assumptions


def test_a_graph_that_scales_down_is_believed_more_than_the_metadata():
    before, scale, _ = SHOWN["x / 255"]
    classifier = opened(declaring(taking(scale, before=before), NominalPixelRange="Normalized_0_1"))
    assert right(classifier)
    assert any("though Image.NominalPixelRange" in text for text in classifier.assumptions)


@pytest.mark.parametrize(
    ("spec", "key", "value"),
    [
        (Spec(), "NominalPixelRange", "NominalRange_16_235"),
        (Spec(), "BitmapPixelFormat", "Gray8"),
        (Spec(), "ColorSpaceGamma", "Linear"),
        (Spec(dtype="uint8"), "NominalPixelRange", "Normalized_0_1"),
    ],
)
def test_metadata_of_pixels_that_is_not_used_is_said(spec, key, value):
    said = f"Image.{key} in the file's metadata is {value!r}: not used"
    assert said in opened(declaring(build(spec), **{key: value})).assumptions


def test_values_beside_the_file_that_contradict_it_are_said():
    values = {"image_mean": list(MEAN), "image_std": list(STD), "do_rescale": True}
    beside = Beside(preparation=of_processor(values, "what is beside"))
    declared = declaring(build(Spec()), NominalPixelRange="NominalRange_0_255")
    for content, said in (
        (declared, "by what is beside, though Image.NominalPixelRange"),
        (build(Spec(dtype="uint8")), "what is beside is not used for their scale"),
    ):
        found = open_onnx(content, "net.onnx", device="cpu", around=beside).assumptions
        assert any(said in text for text in found)


def test_an_order_against_the_metadata_or_the_graph_is_said():
    content = declaring(build(Spec(scaling="caffe")), BitmapPixelFormat="Rgb8")
    for options, said in (
        ({}, "says RGB, though the graph subtracts the means of BGR"),
        ({"channel_order": "bgr"}, "as --channel-order says, though the file's metadata says RGB"),
    ):
        assert any(said in text for text in opened(content, **options).assumptions)


@pytest.mark.parametrize(("kind", "turned"), [("depthwise", False), ("whole", False), ("whole", True)])
def test_a_convolution_that_only_scales_is_followed(kind, turned):
    mean, std = (MEAN[::-1], STD[::-1]) if turned else (MEAN, STD)
    factor = 1 / (255 * std)
    table = np.diag(factor)[:, ::-1] if turned else np.diag(factor)
    values = factor.reshape(3, 1, 1, 1) if kind == "depthwise" else table.reshape(3, 3, 1, 1)
    constants = {"factors": values.astype(np.float32), "shifts": (-mean / std).astype(np.float32)}
    node = helper.make_node("Conv", ["image", "factors", "shifts"], ["ready"], group=3 if kind == "depthwise" else 1)
    content = prepended([node], constants, scale=lambda x: (x - mean) / std, bgr=turned)
    assert right(opened(content))


def test_what_contradicts_the_graph_is_said():
    divided = coloured.build(Spec(scaling="divided"))
    said = opened(divided, pixels="unit").assumptions
    assert any("as --pixels says, though the graph" in text for text in said)
    assert not any("though" in text for text in opened(divided, pixels="byte").assumptions)
    twice = opened(coloured.build(Spec(scaling="normalised")), mean=(0.5,) * 3).assumptions
    assert any("after which the graph scales them, too" in text for text in twice)
    with expect_error(UsageError, 0, 255):
        opened(coloured.build(Spec()), pixels="unit", mean=(123.7, 116.3, 103.5))


def prepended(nodes, constants, *, scale=lambda x: 255 * x - CAFFE, bgr=True):
    """Return a file in which nodes make `ready` of the image before its layers."""
    model = onnx.load_from_string(taking(scale, bgr=bgr))
    model.graph.node[0].input[0] = "ready"
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items())
    return model.SerializeToString()


@pytest.mark.parametrize("kind", ["Gather", "Gather by a number", "Slice"])
def test_single_channels_in_the_opposite_order_are_followed_to_what_comes_after(kind):
    nodes, constants = [], {"axis": np.array([1]), "mean": per_channel(CAFFE)}
    for place in range(3):
        constants |= {f"from{place}": np.array([place]), f"to{place}": np.array([place + 1])}
        constants[f"at{place}"] = np.array(place if "number" in kind else [place])
        if kind == "Slice":
            nodes.append(helper.make_node("Slice", ["image", f"from{place}", f"to{place}", "axis"], [f"c{place}"]))
        else:
            taken = f"g{place}" if "number" in kind else f"c{place}"
            nodes.append(helper.make_node("Gather", ["image", f"at{place}"], [taken], axis=1))
            if "number" in kind:
                nodes.append(helper.make_node("Unsqueeze", [taken, "axis"], [f"c{place}"]))
    nodes += [helper.make_node("Concat", ["c2", "c1", "c0"], ["turned"], axis=1),
              helper.make_node("Sub", ["turned", "mean"], ["ready"])]  # fmt: skip
    assert right(opened(prepended(nodes, constants)))


@pytest.mark.parametrize("how", ["Unsqueeze", "Reshape", "Mul", "beside Shape"])
def test_constants_that_the_exporter_did_not_fold_are_followed(how):
    node = helper.make_node
    values = {"mean": CAFFE.astype(np.float32), "axes": np.array([0, 2, 3]), "sides": np.array([1, 3, 1, 1]),
              "half": per_channel(CAFFE / 2), "two": f32(2)}  # fmt: skip
    made = {
        "Unsqueeze": [node("Unsqueeze", ["mean", "axes"], ["m"])],
        "Reshape": [node("Reshape", ["mean", "sides"], ["m"])],
        "Mul": [node("Mul", ["half", "two"], ["m"])],
        "beside Shape": [node("Reshape", ["mean", "sides"], ["m"]), node("Shape", ["image"], ["shape"])],
    }[how]
    classifier = opened(prepended([*made, node("Sub", ["image", "m"], ["ready"])], values))
    assert right(classifier)
    assert any("BGR" in text for text in classifier.assumptions)


@pytest.mark.parametrize(
    ("shown", "values"), [("x / 255", {"mean": tuple(MEAN), "std": tuple(STD)}), ("2 x - 1", {"mean": tuple(CAFFE)})]
)
def test_a_mean_of_another_scale_than_the_graph_shows_is_a_usage_error(shown, values):
    before, scale, _ = SHOWN[shown]
    content = taking(scale, before=before)
    with expect_error(UsageError, "--pixels"):
        opened(content, **values)
    opened(content, **values, pixels="byte")


@pytest.mark.parametrize(
    "node",
    [("Transpose", [], {"perm": [0, 7, 1, 2]}),
     ("Slice", [np.array([0]), np.array([9]), np.array([9]), np.array([1])], {})],
)  # fmt: skip
def test_axes_that_are_not_there_are_an_error_of_the_file(node):
    with expect_error(OnnxError, "net.onnx", "onnxruntime"):
        opened(taking(lambda x: x, before=[node]))


@pytest.mark.parametrize("limit", [float("inf"), float("-inf"), float("nan"), 1e30, -(2**62)])
@pytest.mark.parametrize("kind", ["Max", "Min", "PRelu", "Gather", "Slice"])
def test_constants_of_the_first_operations_may_be_any_numbers(kind, limit):
    model = onnx.load_from_string(taking(lambda x: x))
    graph, of = model.graph, np.float32 if isinstance(limit, float) else np.int64
    graph.initializer.append(numpy_helper.from_array(np.array([limit], of), "limit"))
    inputs = ["image", *["limit"] * (4 if kind == "Slice" else 1)]
    before = [helper.make_node(kind, inputs, ["one"]), helper.make_node("Relu", ["image"], ["other"])]
    join = helper.make_node("Add", ["one", "other"], ["joined"])
    graph.node[0].input[0] = "joined"
    nodes = [*before, join, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    assert entry_of(graph, "image") is not None  # whatever it is, that is said by onnxruntime
