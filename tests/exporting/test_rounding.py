"""fp16: the weights and values of every operator are looked at, and computed as a GPU does it."""

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from cnnkit.exporting.half import to_half
from cnnkit.exporting.rounding import Rounded
from tests.expecting import expect_error

WIDTH = 8


def network(body: str, **weights: object) -> onnx.ModelProto:
    """Return a network from float32 `image` [N, 8] to `logits`, in ONNX's own notation."""
    model: onnx.ModelProto = onnx.parser.parse_model(
        f"""<ir_version: 10, opset_import: ["" : 20]>
        g (float[N, {WIDTH}] image) => (float[N, M] logits) {{ {body} }}"""
    )
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{number}"
    for name, value in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    onnx.checker.check_model(model, full_check=True)
    return model


def single(value: float) -> np.ndarray:
    return np.array(value, np.float32)


def images(*values: float) -> np.ndarray:
    return np.repeat(np.array(values, np.float32)[:, None], WIDTH, 1)


def found(model: onnx.ModelProto, given: np.ndarray) -> list[tuple[str, str]]:
    rounded = Rounded(model, to_half(model))
    rounded.logits(given)
    return [(entry.layer, entry.what) for entry in rounded.out_of_range]


def run(model: onnx.ModelProto, given: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"image": given})[0])


EYE = np.eye(WIDTH, dtype=np.float32)
AXIS = {"a": np.array([1])}
BOUNDS = {"l": single(0), "h": single(6)}


@pytest.mark.parametrize(
    ("body", "weights", "expected"),
    [
        ("s = Mul(image, image) t = Sqrt(s) logits = Relu(t)", {}, ("Mul_0", "values")),
        ("s = Mul(image, image) t = ReduceSum(s, a) logits = Sqrt(t)", AXIS, ("Mul_0", "values")),
        ("s = Mul(image, k) t = Mul(s, k) u = Div(t, k) logits = Div(u, k)", {"k": single(20)}, ("Mul_1", "values")),
        ("s = Pow(image, k) logits = Div(image, s)", {"k": single(2)}, ("Pow_0", "values")),
        ("s = Add(image, b) logits = Sub(s, b)", {"b": np.full(WIDTH, 65400, np.float32)}, ("Add_0", "values")),
        ("s = Mul(image, image) t = Neg(s) logits = Clip(s, l, h)", BOUNDS, ("Mul_0", "values")),
        ("s = Mul(image, image) logits = Sigmoid(s)", {}, ("Mul_0", "values")),
        ("s = Mul(image, image) t = Neg(s) logits = Exp(t)", {}, ("Mul_0", "values")),
        ("s = Div(image, k) t = Exp(s) logits = Log(t)", {"k": single(20)}, ("Exp_1", "values")),
        ("s = ReduceSumSquare <keepdims=1> (image, a) logits = Sqrt(s)", AXIS, ("ReduceSumSquare_0", "values")),
        ("s = MatMul(image, w) logits = Div(s, k)", {"w": EYE * 300, "k": single(300)}, ("MatMul_0", "values")),
        ("s = Add(image, b) logits = Relu(s)", {"b": np.full(WIDTH, 1e5, np.float32)}, ("Add_0", "weights")),
        ("s = MatMul(image, w) logits = Div(s, k)", {"w": EYE * 1e5, "k": single(3e4)}, ("MatMul_0", "weights")),
        ("s = MatMul(image, w) logits = Mul(s, k)", {"w": EYE * 1e-9, "k": single(1e4)}, ("MatMul_0", "weights")),
        ("s = Mul(image, k) logits = Div(s, k)", {"k": single(1e-9)}, ("Mul_0", "weights")),
        ("k = Constant <value: tensor = float {1e9}> () s = Relu(image) logits = Div(s, k)", {}, ("Div_2", "weights")),
    ],
)  # fmt: skip
def test_what_float16_cannot_hold_is_found_in_any_operator(
    body: str, weights: dict[str, object], expected: tuple[str, str]
) -> None:
    assert found(network(body, **weights), images(300.0))[0] == expected


@pytest.mark.parametrize(
    ("body", "weights"),
    [
        ("s = Mul(image, k) logits = Relu(s)", {"k": single(200)}),
        ("logits = Clip(image, l, h)", {"l": single(-1e9), "h": single(1e9)}),
        ("s = Add(image, e) logits = Sqrt(s)", {"e": single(1e-12)}),
        ("s = Softmax(image) logits = Relu(s)", {}),
        ("s = Where(m, image, i) logits = Softmax(s)", {"m": np.arange(WIDTH) < 4, "i": single(-np.inf)}),
    ],
)
def test_what_float16_holds_is_not_found(body: str, weights: dict[str, object]) -> None:
    assert found(network(body, **weights), images(300.0, 0.0, 1e-3)) == []


INNER = {
    "ReduceMean(image, a)": AXIS,
    "ReduceL1(image, a)": AXIS,
    "ReduceL2(image, a)": AXIS,
    "ReduceLogSumExp(image, a)": AXIS,
    "LayerNormalization(image, w, b)": {"w": EYE[0] + 1, "b": EYE[1]},
    "LpNormalization(image)": {},
    "BatchNormalization <epsilon=1e-12> (image, w, b, b, v)": {
        "w": EYE[0] + 1,
        "b": EYE[1],
        "v": np.full(WIDTH, 1e-8, np.float32),
    },
    "GlobalAveragePool(i)": AXIS,
    "AveragePool <kernel_shape=[8]> (i)": AXIS,
}


@pytest.mark.parametrize("call", INNER)
def test_operators_that_overflow_inside_stay_in_float32_and_are_right(call: str) -> None:
    pooled = "(i)" in call
    model = network(
        f"i = Unsqueeze(image, a) p = {call} s = Squeeze(p, z) t = Relu(s) logits = Mul(t, one)"
        if pooled
        else f"s = {call} t = Relu(s) logits = Mul(t, one)",
        **INNER[call],
        **({"z": np.array([2])} if pooled else {}),
        one=single(1),
    )
    operator = call.split("(", maxsplit=1)[0].split(maxsplit=1)[0]
    largest = {"BatchNormalization": 1, "ReduceL1": 8000}.get(operator, 2e4)
    given = np.float32(largest) * np.linspace(0.5, 1, 3 * WIDTH, dtype=np.float32).reshape(3, WIDTH)
    rounded = Rounded(model, to_half(model))
    np.testing.assert_allclose(rounded.logits(given), run(model, given), rtol=4e-3)
    assert [name.split()[0] for name in rounded.kept] == [operator]
    assert rounded.out_of_range == ()


@pytest.mark.parametrize(("variance", "kept"), [(1.0, False), (1e-3, False), (1e-12, True)])
def test_a_batch_normalisation_stays_in_float32_where_float16_loses_its_variance(variance: float, kept: bool) -> None:
    model = network(
        "s = BatchNormalization <epsilon=1e-10> (image, w, b, b, v) logits = Mul(s, w)",
        w=EYE[0] + 1,
        b=EYE[1],
        v=EYE[0] * 0 + np.float32(variance),
    )
    assert bool(Rounded(model, to_half(model)).kept) is kept


def test_a_value_and_a_weight_may_go_into_several_operators_that_stay_in_float32() -> None:
    model = network(
        """s = Mul(image, w) l = LayerNormalization(s, w, b) k = LayerNormalization(s, b, w) m = ReduceMean(s, a)
        t = Add(l, k) u = Add(t, m) v = Add(u, b) logits = Mul(v, w)""",
        **AXIS,
        w=EYE[0] + 1,
        b=EYE[1],
    )
    halved = to_half(model)
    onnx.checker.check_model(halved, full_check=True)
    given = images(3.0) + np.arange(WIDTH, dtype=np.float32)
    exact, found = (
        ort.InferenceSession(each.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"image": given})[
            0
        ]
        for each in (model, halved)
    )
    rounded = Rounded(model, halved).logits(given)
    np.testing.assert_allclose(found, exact, rtol=4e-3, atol=4e-3)
    np.testing.assert_allclose(rounded, exact, rtol=4e-3, atol=4e-3)


def test_values_that_vanish_are_gone_from_the_answer_as_on_a_gpu() -> None:
    model = network(
        "s = Mul(image, k) t = Mul(s, k) u = Div(t, k) logits = Div(u, k)",
        k=single(1e-4),
    )
    rounded = Rounded(model, to_half(model))
    assert (rounded.logits(images(1.0)) == 0).all()
    assert rounded.logits(images(300.0)).min() > 100


def test_one_image_among_many_is_enough() -> None:
    model = network("s = Mul(image, image) logits = Sqrt(s)")
    rounded = Rounded(model, to_half(model))
    for value in (1.0, 256.5, 2.0):
        rounded.logits(images(0.0, value, 0.0))
    (entry,) = rounded.out_of_range
    assert (entry.operator, entry.largest) == ("Mul", pytest.approx(256.5**2, rel=1e-3))


@settings(max_examples=25, deadline=None)
@given(
    factors=st.lists(st.sampled_from([1 / 32, 1 / 4, 4.0, 32.0]), min_size=1, max_size=7),
    value=st.sampled_from([0.5, 3.0, 100.0]),
)
def test_a_chain_of_products_is_out_of_range_from_where_it_leaves_it(factors: Sequence[float], value: float) -> None:
    body = " ".join(f"v{i + 1} = Mul(v{i}, k{i})" for i in range(len(factors))).replace("(v0", "(image")
    model = network(
        f"{body} logits = Relu(v{len(factors)})", **{f"k{i}": single(factor) for i, factor in enumerate(factors)}
    )
    values = np.cumprod([value, *factors])[1:]
    beyond = [f"Mul_{place}" for place, size in enumerate(values) if size > 65504]
    assert (found(model, images(value)) or [(None, None)])[0][0] == (beyond[0] if beyond else None)


def test_a_graph_inside_an_operator_is_refused() -> None:
    body = """
        c = Greater(image, zero) d = ReduceMax <keepdims=0> (e) e2 = Cast <to=9> (d)
        logits = If (e2) <
            then_branch = a () => (float[N, M] y) { y = Mul(image, image) },
            else_branch = b () => (float[N, M] z) { z = Relu(image) }
        >"""
    body = body.replace("(e)", "(f)").replace("d =", "f = Cast <to=1> (c) d =", 1)
    with expect_error(ValueError, "If"):
        to_half(network(body, zero=single(0)))
