"""What scores are: shown by the graph, guessed by their values, said by the user, and checked on real images."""

import json

import coloured
import numpy as np
import pytest
from coloured import COLOURS, ORDER, Spec, build, logits_of, picture
from onnx import TensorProto, helper, load_from_string, numpy_helper

from cnnkit.errors import OnnxError, UsageError
from cnnkit.runtime.foreign.opening import open_onnx
from cnnkit.runtime.foreign.options import ForeignOptions
from cnnkit.runtime.foreign.scores import guessed, require_read
from tests.expecting import expect_error


def opened(content, **said):
    return open_onnx(content, "net.onnx", device="cpu", options=ForeignOptions(**said))


def answer(classifier, colour="blue"):
    """Return probabilities by class, in the order of the classes."""
    found = {score.label: score.probability for score in classifier.predict([picture(colour)])[0].scores}
    return np.array([found[label] for label in classifier.card.labels])


def ending(*nodes, constants=(), outputs=(("scores", 5),), spec=Spec()):  # noqa: B008
    """Return a file of `coloured` in which nodes make other scores of the `logits`."""
    model = load_from_string(build(spec))
    model.graph.node[-1].output[0] = "logits_"
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in constants)
    del model.graph.output[:]
    for name, size in outputs:
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ("batch", size)))
    return model.SerializeToString()


def node(kind, *inputs, to="scores", **attributes):
    return helper.make_node(kind, inputs, [to], **attributes)


LOGITS = logits_of(COLOURS["blue"])
SOFTMAX = np.exp(LOGITS) / np.exp(LOGITS).sum()
SIGMOID = 1 / (1 + np.exp(-LOGITS))


@pytest.mark.parametrize(
    ("scores", "said", "expected", "independent"),
    [
        ("logits", "logits", SOFTMAX, False),
        ("logits", "sigmoid-logits", SIGMOID, True),
        ("softmax", "softmax", SOFTMAX, False),
        ("sigmoid", "sigmoid", SIGMOID, True),
        ("sigmoid", "logits", np.exp(SIGMOID) / np.exp(SIGMOID).sum(), False),
        ("softmax", "sigmoid", SOFTMAX, True),
    ],
)
def test_scores_are_what_the_user_says(scores, said, expected, independent):
    classifier = opened(build(Spec(scores=scores)), scores=said)
    assert answer(classifier) == pytest.approx(expected, abs=1e-4)
    assert classifier.card.independent is independent
    assert not any("a guess" in text for text in classifier.assumptions if text.startswith("output"))


@pytest.mark.parametrize(("scores", "said"), [("logits", "softmax"), ("logits", "sigmoid"), ("sigmoid", "softmax"),
                                              ("log-softmax", "softmax")])  # fmt: skip
def test_what_the_user_says_and_the_scores_contradict_is_refused(scores, said):
    with expect_error(OnnxError, "net.onnx", "--scores"):
        opened(build(Spec(scores=scores)), scores=said)


@pytest.mark.parametrize("said", ["softmax", "logits"])
def test_one_number_is_no_score_of_classes_among_each_other(said):
    with expect_error(UsageError, "sigmoid", "sigmoid-logits"):
        opened(build(Spec(scores="one sigmoid")), scores=said)


def test_one_number_that_no_sigmoid_made_is_refused_until_it_is_said_what_it_is():
    bare = ending(
        node("Gather", "logits_", "first", to="one", axis=1), node("Clip", "one", "zero", "top"),
        constants=[("first", np.array([1])), ("zero", np.float32(0)), ("top", np.float32(1))], outputs=[("scores", 1)],
    )  # fmt: skip
    with expect_error(OnnxError, "Sigmoid"):
        opened(bare)
    assert answer(opened(bare, scores="sigmoid")) == pytest.approx([0, 1], abs=1e-6)
    assert answer(opened(bare, scores="sigmoid-logits")) == pytest.approx([1 / (1 + np.e), np.e / (1 + np.e)], abs=1e-4)


def test_probabilities_that_no_operation_shows_are_a_guess_that_is_said():
    made = ending(node("Exp", "logits_", to="e"), node("ReduceSum", "e", "axis", to="s"), node("Div", "e", "s"),
                  constants=[("axis", np.array([1]))])  # fmt: skip
    classifier = opened(made)
    assert answer(classifier) == pytest.approx(SOFTMAX, abs=1e-4)
    assert any("a guess: they sum to 1" in text for text in classifier.assumptions)


def test_independent_probabilities_that_no_operation_shows_are_a_guess_that_is_said():
    made = ending(node("Neg", "logits_", to="n"), node("Exp", "n", to="e"), node("Add", "e", "one", to="a"),
                  node("Reciprocal", "a"), constants=[("one", np.float32(1))])  # fmt: skip
    classifier = opened(made)
    assert answer(classifier) == pytest.approx(SIGMOID, abs=1e-4)
    assert any("a guess" in text and "do not sum to 1" in text for text in classifier.assumptions)


def test_a_real_image_that_contradicts_the_guess_is_an_error_and_no_answer():
    # Of the images that are tried, none is all of one colour but black and white.
    made = ending(
        node("Clip", "logits_", "low", "high", to="c"), node("Mul", "c", "small", to="m"), node("Abs", "m", to="p"),
        node("Add", "p", "near"),
        constants=[("low", np.float32(9)), ("high", np.float32(1e9)), ("small", np.float32(0.5)),
                   ("near", np.array([-4.5] * 5, np.float32))],
    )  # fmt: skip
    scores = np.maximum(LOGITS, 9) * 0.5 - 4.5
    assert scores.max() > 1
    classifier = opened(made, scores="sigmoid")
    assert answer(classifier, "black").max() <= 1
    with expect_error(OnnxError, "probabilities"):
        classifier.predict([picture("blue")])


def test_an_error_of_scores_is_one_line_of_the_command(tmp_path, images, cli):
    path = tmp_path / "net.onnx"
    path.write_bytes(build(Spec(scores="logits")))
    result = cli("predict", images["blue"], "-m", path, "--scores", "softmax")
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (1, "", 1)
    assert "--scores logits" in result.stderr
    result = cli("predict", images["blue"], "-m", path, "--scores", "sigmoids")
    assert result.exit_code == 2
    assert "is not one of logits" in result.stderr


def test_independent_classes_are_shown_as_such(tmp_path, images, cli):
    path = tmp_path / "net.onnx"
    path.write_bytes(build(Spec(scores="sigmoid")))
    found = json.loads(cli("predict", images["blue"], "-m", path, "--json").stdout)["data"]
    assert found["predictions"][0]["independent"] is True
    assert any("need not sum to 1" in text for text in found["assumptions"])
    assert "need not sum to 1" in cli("predict", images["blue"], "-m", path).stdout


@pytest.mark.parametrize("order", [("features", "scores"), ("scores", "features")])
@pytest.mark.parametrize("activated", [True, False])
def test_scores_are_told_from_features_by_names_or_by_the_activation(order, activated, tmp_path):
    made = ending(
        node("Softmax" if activated else "Identity", "logits_", **({"axis": 1} if activated else {})),
        node("MatMul", "logits_", "wide", to="features"),
        constants=[("wide", np.eye(5, 7, dtype=np.float32))],
        outputs=[(name, {"features": 7, "scores": 5}[name]) for name in order],
    )
    (tmp_path / "labels.txt").write_text("\n".join(ORDER))
    classifier = opened(made, labels=tmp_path / "labels.txt")
    assert answer(classifier).argmax() == ORDER.index("blue")
    assert "not used: features [N, 7], which the file gives too" in classifier.assumptions
    if activated:
        assert answer(opened(made)) == pytest.approx(SOFTMAX, abs=1e-4)


def test_an_output_that_is_not_of_the_batch_does_no_harm():
    model = load_from_string(build(Spec(scores="softmax")))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(7, np.float32), "anchors_"))
    model.graph.node.append(node("Identity", "anchors_", to="anchors"))
    model.graph.output.insert(0, helper.make_tensor_value_info("anchors", TensorProto.FLOAT, (7,)))
    classifier = opened(model.SerializeToString())
    assert answer(classifier) == pytest.approx(SOFTMAX, abs=1e-4)


@pytest.mark.parametrize("beside", [True, False])
def test_the_best_scores_by_their_size_are_no_scores_of_classes(beside):
    best = helper.make_node("TopK", ["p", "three"], ["best", "classes"])
    outputs = [("best", 3), *([("scores", 5)] if beside else [])]
    made = ending(node("Softmax", "logits_", to="p", axis=1), best, node("Identity", "p"),
                  constants=[("three", np.array([3]))], outputs=outputs)  # fmt: skip
    if beside:
        assert answer(opened(made)) == pytest.approx(SOFTMAX, abs=1e-4)
    else:
        with expect_error(OnnxError, "TopK", 3):
            opened(made)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_refused(value):
    made = ending(node("Mul", "logits_", "bad"), constants=[("bad", np.float32(value))])
    with expect_error(OnnxError, "finite"):
        opened(made)


@pytest.mark.parametrize(
    ("scores", "kind"),
    [
        ([[0.2, 0.8], [0.5, 0.5]], "softmax"),
        ([[0.2, 0.7], [0.5, 0.9]], "sigmoid"),
        ([[0.0, 0.0], [0.0, 0.0]], "logits"),
        ([[-1.0, 2.0], [0.1, 0.9]], "logits"),
        ([[0.3334, 0.6661], [0.9995, 0.0001]], "softmax"),
    ],
)
def test_values_tell_what_scores_may_be(scores, kind):
    reading = guessed(np.array(scores))
    assert (reading.kind, reading.certain) == (kind, False)


@pytest.mark.parametrize(("kind", "scores"), [("softmax", [[0.5, 0.6]]), ("sigmoid", [[1.2, 0.1]]),
                                              ("softmax", [[-0.1, 1.1]])])  # fmt: skip
def test_scores_that_are_not_what_they_are_read_as_are_an_error(kind, scores):
    with expect_error(OnnxError, "--scores"):
        require_read(np.array(scores), kind, "net.onnx")
    require_read(np.array(scores), "logits", "net.onnx")


def test_coloured_images_are_those_of_their_names():
    assert coloured.picture("red")[0, 0].tolist() == [230, 25, 25]


def test_percentages_are_probabilities(tmp_path):
    made = ending(node("Softmax", "logits_", to="p"), node("Mul", "p", "hundred"),
                  constants=[("hundred", np.float32(100))])  # fmt: skip
    for said in ({}, {"scores": "percent"}):
        classifier = opened(made, **said)
        assert answer(classifier) == pytest.approx(SOFTMAX, abs=1e-4)
        assert any("in percent" in text for text in classifier.assumptions)
    with expect_error(OnnxError, "--scores softmax"):
        opened(build(Spec(scores="softmax")), scores="percent")


def test_logarithms_of_probabilities_are_read_as_such():
    plain = ending(node("LogSoftmax", "logits_"))
    hidden = ending(node("LogSoftmax", "logits_", to="p"), node("Mul", "p", "one"), constants=[("one", np.float32(1))])
    for made, said, guessed_so in ((plain, {}, False), (hidden, {}, True), (hidden, {"scores": "log-softmax"}, False)):
        classifier = opened(made, **said)
        assert answer(classifier) == pytest.approx(SOFTMAX, abs=1e-4)
        (shown,) = [text for text in classifier.assumptions if "logarithms of the probabilities" in text]
        assert ("a guess" in shown) == guessed_so
    with expect_error(OnnxError, "probabilities"):
        opened(build(Spec(scores="logits")), scores="log-softmax")


def test_what_was_pooled_is_what_it_was_before():
    relu, sigmoid = (ending(node(kind, "logits_", to="a"), node("Unsqueeze", "a", "last", to="u"),
                            node("ReduceMean", "u", axes=[2], keepdims=0), constants=[("last", np.array([2]))])
                     for kind in ("Relu", "Sigmoid"))  # fmt: skip
    assert any("logits of 5 classes: the graph ends in Relu" in text for text in opened(relu).assumptions)
    assert any("independent" in text and "ends in Sigmoid" in text for text in opened(sigmoid).assumptions)


@pytest.mark.parametrize("axis", [1, -1])
def test_an_average_of_all_classes_is_no_probability(axis):
    made = ending(node("Sigmoid", "logits_", to="a"), node("ReduceMean", "a", axes=[axis], keepdims=1))
    model = load_from_string(made)
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 1
    with expect_error(OnnxError, "Sigmoid"):
        opened(model.SerializeToString())


def test_logarithms_that_were_averaged_are_logits():
    made = ending(node("LogSoftmax", "logits_", to="a"), node("Unsqueeze", "a", "last", to="u"),
                  node("Concat", "u", "half", to="v", axis=2), node("ReduceMean", "v", axes=[2], keepdims=0),
                  constants=[("last", np.array([2])), ("half", np.zeros((1, 5, 1), np.float32))])  # fmt: skip
    made = load_from_string(made)
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    classifier = opened(made.SerializeToString())
    assert any("logits of 5 classes, a guess" in text for text in classifier.assumptions)
    (found,) = classifier.predict([picture("red")])
    assert ORDER[int(found.scores[0].label)] == "red"


def test_costs_are_no_scores_until_the_user_says_so():
    made = ending(node("LogSoftmax", "logits_", to="p"), node("Neg", "p"))
    with expect_error(OnnxError, "least"):
        opened(made)
    assert answer(opened(made, scores="logits")).argmin() == SOFTMAX.argmax()


def test_scores_that_are_said_to_be_others_than_the_graph_shows_are_noted():
    classifier = opened(build(Spec(scores="softmax")), scores="logits")
    assert any("as --scores says, though the graph ends in Softmax" in text for text in classifier.assumptions)
    assert not any("though" in text for text in opened(build(Spec(scores="softmax")), scores="softmax").assumptions)


ALONE = {
    "a batch of one inside": ([node("Reshape", "logits_", "shape")], [("shape", np.array([1, 5]))]),
    "no batch in the scores": ([node("Reshape", "logits_", "shape")], [("shape", np.array([5]))]),
    "classes before the batch": ([node("Transpose", "logits_", perm=[1, 0])], []),
    "mixed with the batch": (
        [node("ReduceMean", "logits_", to="m", axes=[0], keepdims=1), node("Add", "m", "logits_", to="a"),
         node("Mul", "a", "half")], [("half", np.float32(0.5))],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ALONE)
def test_images_that_cannot_go_through_together_go_one_by_one(what):
    nodes, constants = ALONE[what]
    model = load_from_string(ending(*nodes, constants=constants))
    model.graph.output[0].type.tensor_type.shape.Clear()
    for place in range(1 if what == "no batch in the scores" else 2):
        model.graph.output[0].type.tensor_type.shape.dim.add().dim_param = f"size{place}"
    classifier = opened(model.SerializeToString())
    assert any("one by one" in text for text in classifier.assumptions)
    together = classifier.predict([picture(name) for name in COLOURS])
    assert [ORDER[int(each.scores[0].label)] for each in together] == list(COLOURS)
    assert answer(classifier) == pytest.approx(SOFTMAX, abs=1e-4)


@pytest.mark.parametrize(
    ("nodes", "constants", "name"),
    [
        ([node("Dropout", "logits_", "share", "on")], [("share", np.float32(0.5)), ("on", np.array(True))], "training"),
        ([node("RandomNormalLike", "logits_", to="r"), node("Add", "r", "logits_")], [], "same image"),
    ],
)
def test_scores_of_chance_are_refused(nodes, constants, name):
    with expect_error(OnnxError, name):
        opened(ending(*nodes, constants=constants))


@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("said", [{}, {"scores": "sigmoid"}])
def test_a_softmax_over_another_axis_is_refused(said, kind):
    made = ending(node("Unsqueeze", "logits_", "last", to="u"), node(kind, "u", axis=-1),
                  constants=[("last", np.array([2]))])  # fmt: skip
    model = load_from_string(made)
    model.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 1
    with expect_error(OnnxError, "axis"):
        opened(model.SerializeToString(), **said)
