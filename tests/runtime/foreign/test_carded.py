"""Files with a card, which is damaged, of another graph, or contradicted by options."""

import json

import onnx
import pytest
from onnx import helper

from cnnkit.card import CARD_KEY, ModelCard
from cnnkit.errors import CheckpointError, OnnxError, UsageError
from cnnkit.images import Preprocessing
from cnnkit.runtime.foreign.opening import open_onnx
from cnnkit.runtime.guard import graph_sha256
from tests.expecting import expect_error

NCHW, NHWC = ("batch", 3, 6, 5), ("batch", 6, 5, 3)


def card(**changes):
    form = changes.pop("form", Preprocessing(3, 6, 5, (0.0,) * 3, (1.0,) * 3))
    return ModelCard(**{"model": "own:net", "labels": ("a", "b", "c", "d"), "preprocessing": form, **changes})


@pytest.mark.parametrize(
    "options",
    [{"mean": (0.0,) * 3}, {"std": (1.0,) * 3}, {"preprocess": "imagenet"}, {"labels": "labels.txt"}],
    ids=lambda options: next(iter(options)),
)
def test_options_that_a_card_answers_are_a_usage_error(opened, options):
    with expect_error(UsageError, "net.onnx", f"--{next(iter(options))}"):
        opened(NHWC, "uint8", name="logits", metadata={CARD_KEY: card().to_json()}, **options)


OTHER = {
    "size": (NHWC, "uint8", card(form=Preprocessing(3, 5, 6, (0.0,) * 3, (1.0,) * 3))),
    "channels": (NHWC, "uint8", card(form=Preprocessing(1, 6, 5, (0.0,), (1.0,)))),
    "classes": (NHWC, "uint8", card(labels=("a", "b", "c"))),
    "layout": (NHWC, "float32", card(raw_input=True)),
    "type": (NHWC, "float32", card()),
    "raw type": (NCHW, "uint8", card(raw_input=True)),
}


@pytest.mark.parametrize("what", OTHER)
def test_a_card_of_another_network_is_an_onnx_error(opened, what):
    shape, dtype, wrong = OTHER[what]
    with expect_error(OnnxError, "net.onnx", "card"):
        opened(shape, dtype, name="logits", metadata={CARD_KEY: wrong.to_json()})


def test_a_card_without_its_output_is_an_onnx_error(opened):
    with expect_error(OnnxError, "card"):
        opened(NHWC, "uint8", name="scores", metadata={CARD_KEY: card().to_json()})


@pytest.mark.parametrize("text", ["", "{}", json.dumps({"model": "x"})])
def test_a_card_that_is_damaged_is_a_checkpoint_error_by_name(opened, text):
    with expect_error(CheckpointError, "net.onnx", "card"):
        opened(NHWC, "uint8", name="logits", metadata={CARD_KEY: text})


@pytest.mark.skipif("graph_sha256" not in ModelCard.__dataclass_fields__, reason="cards have no hash of the graph")
def test_weights_that_were_changed_after_the_card_was_written_are_a_checkpoint_error(make_onnx):
    model = onnx.load_from_string(make_onnx(NHWC, "uint8", name="logits"))
    helper.set_model_props(model, {CARD_KEY: card(graph_sha256=graph_sha256(model)).to_json()})
    open_onnx(model.SerializeToString(), "net.onnx", device="cpu")
    weights = model.graph.initializer[0]
    weights.raw_data = bytes(len(weights.raw_data))
    with expect_error(CheckpointError, "net.onnx", "card"):
        open_onnx(model.SerializeToString(), "net.onnx", device="cpu")
