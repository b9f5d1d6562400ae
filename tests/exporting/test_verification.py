"""`verify`: which network a file is compared with, on which images, and what becomes of the certificate."""

import dataclasses
import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import cnnkit
from cnnkit import zoo
from cnnkit.card import ModelCard
from cnnkit.data import sets
from cnnkit.errors import CheckpointError, DataError, OnnxError, UnknownNameError
from cnnkit.images import Preprocessing
from cnnkit.models import networks
from cnnkit.progress import WorkProgress
from cnnkit.runtime import session
from cnnkit.runtime.guard import graph_sha256
from cnnkit.runtime.providers import ProviderOptions
from cnnkit.sources import create_model, find
from tests.expecting import expect_error

pytestmark = pytest.mark.usefixtures("few_shapes", "nets")


def card_in(path: Path) -> ModelCard:
    found = ModelCard.from_metadata({e.key: e.value for e in onnx.load(path).metadata_props}, path.name)
    assert found is not None
    return found


@pytest.fixture
def own_run(tiny_run: Path, tiny_onnx: Path, tmp_path: Path) -> Path:
    """A copy of the tiny run with its file, `model.onnx`."""
    folder = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    shutil.copy(tiny_onnx, folder / "model.onnx")
    return folder


def test_the_whole_test_split_is_compared_and_the_certificate_stored(own_run: Path) -> None:
    path = own_run / "model.onnx"
    before, content = card_in(path), path.read_bytes()
    result = cnnkit.verify(path)
    found = result.certificate
    assert result.passed
    assert result.stored
    assert (result.file, result.reference) == (str(path), str(own_run / "best.safetensors"))
    assert (result.data, result.split, result.engines) == ("shapes", "test", ("PyTorch CPU", "onnxruntime CPU"))
    assert result.divergence is None
    assert result.graph_changed is False
    assert found.images == "30 images of shapes, test"
    assert (found.images_count, found.batch_sizes, found.device) == (30, (1, 2, 7, 20), "CPU")
    assert found.max_absolute_difference <= 1e-4
    assert 0 <= found.mean_absolute_difference <= found.max_absolute_difference
    assert found.top1_agreement == 1.0
    accuracy = cnnkit.evaluate(path, device="cpu").accuracy
    assert found.torch_accuracy == found.onnx_accuracy == accuracy
    assert found.weights_sha256 == before.weights_sha256
    assert path.read_bytes() != content
    assert card_in(path) == dataclasses.replace(before, parity=found)
    assert graph_sha256(onnx.load(path)) == before.graph_sha256
    assert {p.name for p in own_run.iterdir()} >= {"model.onnx", "best.safetensors"}
    assert not list(own_run.glob(".cnnkit*"))


def test_the_rows_of_the_batches_add_up(own_run: Path) -> None:
    result = cnnkit.verify(own_run / "model.onnx", split="all")
    assert [(row.batch_size, row.images) for row in result.batches] == [(1, 1), (2, 2), (7, 7), (80, 80)]
    assert max(row.max_absolute_difference for row in result.batches) == result.certificate.max_absolute_difference
    mean = sum(row.images * row.mean_absolute_difference for row in result.batches) / 90
    assert mean == pytest.approx(result.certificate.mean_absolute_difference)


def test_progress_counts_the_images(own_run: Path) -> None:
    steps = list(cnnkit.verify.steps(own_run / "model.onnx"))
    done = [(step.done, step.total) for step in steps if isinstance(step, WorkProgress)]
    assert done == [(1, 30), (3, 30), (10, 30), (30, 30)]


def test_large_sets_go_through_in_large_batches(own_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setitem(sets.BUILT_IN, "shapes", dataclasses.replace(sets.BUILT_IN["shapes"], test=600))
    found = cnnkit.verify(own_run / "model.onnx").certificate
    assert (found.images_count, found.batch_sizes) == (600, (1, 2, 7, 256, 78))


def test_the_weights_may_have_the_name_of_the_file(checkpoints: Path, tmp_path: Path) -> None:
    for suffix in ("onnx", "safetensors"):
        shutil.copy(checkpoints / f"lenet.{suffix}", tmp_path / f"mine.{suffix}")
    shutil.copy(checkpoints / "cifar-resnet.safetensors", tmp_path / "best.safetensors")
    assert cnnkit.verify(tmp_path / "mine.onnx").reference == str(tmp_path / "mine.safetensors")


def test_the_zoo_is_asked_where_nothing_lies_beside_the_file(tmp_path: Path) -> None:
    shutil.copy(zoo.folder() / "shapes-cnn-basicshapes" / "model.onnx", tmp_path / "net.onnx")
    result = cnnkit.verify(tmp_path / "net.onnx", data="shapes")
    assert (result.reference, result.passed) == ("shapes-cnn-basicshapes", True)


@pytest.mark.usefixtures("no_zoo")
def test_random_weights_are_drawn_again(photos: Path, tmp_path: Path) -> None:
    path = cnnkit.export("tinynets:Parallel", tmp_path / "net.onnx").path
    with expect_error(CheckpointError, "--against"):
        cnnkit.verify(path)
    model = onnx.load(path)
    named = dataclasses.replace(card_in(path), labels=("dark", "light"))
    model.metadata_props[0].value = named.to_json()
    path.write_bytes(model.SerializeToString())
    assert cnnkit.verify(path, data=str(photos), trust_code=True).reference == "tinynets:Parallel with random weights"


@pytest.mark.usefixtures("no_zoo")
def test_an_untrained_network_is_verified_on_data_of_its_classes(tmp_path: Path) -> None:
    path = cnnkit.export("shapes-cnn", tmp_path / "net.onnx").path
    result = cnnkit.verify(path, data="shapes")
    assert result.reference == "shapes-cnn with random weights"
    assert result.passed
    with expect_error(DataError, "--data"):
        cnnkit.verify(path)


def test_nothing_to_compare_with_is_an_error(tiny_onnx: Path) -> None:
    with expect_error(CheckpointError, "--against RUN"):
        cnnkit.verify(tiny_onnx)


@pytest.mark.parametrize("name", ["shapes-cnn", "shapes-cnn-basicshapes"])
def test_an_entry_of_the_zoo_is_verified_and_left_alone(name: str) -> None:
    path = zoo.folder() / "shapes-cnn-basicshapes" / "model.onnx"
    before = path.read_bytes()
    for ref in (name, path):
        result = cnnkit.verify(ref, data="shapes")
        assert result.passed
        assert (result.stored, result.not_stored_because) == (False, "the zoo's files are not rewritten")
    assert path.read_bytes() == before


def edited(source: Path, path: Path, edit: Callable[[onnx.ModelProto], object]) -> Path:
    model = onnx.load(source)
    edit(model)
    path.write_bytes(model.SerializeToString())
    return path


def test_more_scores_than_classes_are_found_out(checkpoints: Path, tmp_path: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            node.output[:] = ["once" if name == "logits" else name for name in node.output]
            node.input[:] = ["once" if name == "logits" else name for name in node.input]
        model.graph.node.append(helper.make_node("Concat", ["once", "once"], ["logits"], "planted", axis=0))

    path = edited(checkpoints / "lenet.onnx", tmp_path / "net.onnx", edit)
    found = cnnkit.verify(path, against=checkpoints / "lenet.safetensors", split="all", device="cpu")
    assert not found.passed
    assert not found.stored
    assert found.run_error == "it gives 4 scores an image, not 2"
    assert re.match(r"1 of \d+ images of ", found.certificate.images)
    assert found.divergence is not None
    assert found.divergence.node == "Concat planted"


def test_a_file_that_does_not_give_what_its_card_says_is_an_error(checkpoints: Path, tmp_path: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            node.output[:] = ["scores" if name == "logits" else name for name in node.output]
            node.input[:] = ["scores" if name == "logits" else name for name in node.input]
        model.graph.output[0].name = "scores"

    path = edited(checkpoints / "lenet.onnx", tmp_path / "net.onnx", edit)
    with expect_error(OnnxError, "card"):
        cnnkit.verify(path, against=checkpoints / "lenet.safetensors", split="all")


def test_what_harms_is_refused_beside_sizes_that_contradict_each_other(checkpoints: Path, tmp_path: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        pooling = next(node for node in model.graph.node if node.op_type == "MaxPool")
        next(a for a in pooling.attribute if a.name == "strides").ints[:] = [1, 1]
        for name, value in (("least", np.iinfo(np.int32).min), ("minus", -1)):
            model.graph.initializer.append(numpy_helper.from_array(np.array([value], np.int32), name))
        model.graph.node.append(helper.make_node("Div", ["least", "minus"], ["crash"]))

    path = edited(checkpoints / "lenet.onnx", tmp_path / "net.onnx", edit)
    with expect_error(OnnxError, path):
        cnnkit.verify(path, against=checkpoints / "lenet.safetensors", split="all")


def test_a_card_that_prepares_images_otherwise_is_an_error(
    checkpoints: Path, tmp_path: Path, set_card: Callable[..., Callable[[onnx.ModelProto], object]]
) -> None:
    path = edited(checkpoints / "lenet.onnx", tmp_path / "net.onnx", set_card(fit="stretch", polarity="light-on-dark"))
    with expect_error(OnnxError, "stretch", "light-on-dark", "contain", "as-is"):
        cnnkit.verify(path, against=checkpoints / "lenet.safetensors", split="all")


def test_other_weights_than_the_files_are_found_out(own_run: Path, tmp_path: Path) -> None:
    before = (own_run / "model.onnx").read_bytes()
    network, card = find(str(own_run)).weights()
    next(network.parameters()).data.add_(1)
    networks.save_checkpoint(tmp_path / "other.safetensors", network, card)
    result = cnnkit.verify(own_run / "model.onnx", against=tmp_path / "other.safetensors")
    assert not result.passed
    assert result.divergence is not None
    assert (own_run / "model.onnx").read_bytes() == before


def test_a_file_that_cannot_be_written_is_verified_all_the_same(own_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    before = (own_run / "model.onnx").read_bytes()
    result = cnnkit.verify(own_run / "model.onnx")
    assert result.passed
    assert not result.stored
    assert "No space left on device" in result.not_stored_because
    assert (own_run / "model.onnx").read_bytes() == before


@pytest.mark.parametrize(
    ("against", "error", "name"),
    [
        ("lenet", OnnxError, "lenet"),
        ("nosuch", UnknownNameError, "nosuch"),
        ("mypackage:net", CheckpointError, "mypackage:net"),
    ],
)
def test_what_cannot_be_compared_is_said(against: str, error: type[Exception], name: str, tiny_onnx: Path) -> None:
    with expect_error(error, name):
        cnnkit.verify(tiny_onnx, against=against)


def test_other_sizes_cannot_be_compared(checkpoints: Path) -> None:
    with expect_error(OnnxError, "28×28×1", "32×32×3"):
        cnnkit.verify(checkpoints / "lenet.onnx", against=checkpoints / "cifar-resnet.safetensors")


@pytest.mark.parametrize("ref", ["alexnet", "torchvision/resnet18"])
def test_what_has_no_file_is_an_error(ref: str) -> None:
    with expect_error(CheckpointError, ref, f"cnnkit train {ref}"):
        cnnkit.verify(ref)


@pytest.mark.parametrize("content", [b"", b"no protobuf", b"\x08\x0a" * 50])
def test_what_is_no_onnx_is_an_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(content)
    with expect_error(OnnxError):
        cnnkit.verify(tmp_path / "net.onnx")


def test_a_file_that_onnxruntime_lacks_operators_for_is_an_error(checkpoints: Path, tmp_path: Path) -> None:
    model = onnx.load(checkpoints / "lenet.onnx")
    model.graph.node[8].op_type = "Unheard"
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with expect_error(OnnxError, "Unheard"):
        cnnkit.verify(tmp_path / "net.onnx", against=checkpoints / "lenet.safetensors", split="all")


def foreign(path: Path, checkpoints: Path, *, probabilities: bool = False) -> Path:
    """The raw lenet as another exporter would write it: no card, no names, other names of inputs and outputs."""
    model = onnx.load(checkpoints / "raw.onnx")
    del model.metadata_props[:]
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.input[:] = ["pixels" if name == "image" else name for name in node.input]
    model.graph.input[0].name = "pixels"
    del model.graph.output[not probabilities]
    path.write_bytes(model.SerializeToString())
    return path


def test_a_file_that_leaves_its_size_open_takes_that_of_its_network(checkpoints: Path, tmp_path: Path) -> None:
    model = onnx.load(checkpoints / "Parallel.onnx")
    del model.metadata_props[:]
    for place in (1, 2):
        model.graph.input[0].type.tensor_type.shape.dim[place].dim_param = f"side_{place}"
    onnx.save(model, tmp_path / "net.onnx")
    reference = checkpoints / "Parallel.safetensors"
    assert cnnkit.verify(tmp_path / "net.onnx", against=reference, split="all", trust_code=True).passed


@pytest.mark.parametrize("probabilities", [False, True])
def test_a_file_without_a_card_needs_a_network_to_compare_with(
    probabilities: bool, checkpoints: Path, tmp_path: Path
) -> None:
    path = foreign(tmp_path / "net.onnx", checkpoints, probabilities=probabilities)
    with expect_error(CheckpointError, "--against RUN"):
        cnnkit.verify(path)
    before = path.read_bytes()
    result = cnnkit.verify(path, against=checkpoints / "lenet.safetensors", split="all")
    assert result.passed
    assert (result.stored, result.not_stored_because) == (False, "the file has no model card")
    assert result.graph_changed is None
    assert path.read_bytes() == before


@pytest.mark.parametrize("probabilities", [False, True])
def test_a_fault_in_a_file_without_a_card(probabilities: bool, checkpoints: Path, tmp_path: Path) -> None:
    path = foreign(tmp_path / "net.onnx", checkpoints, probabilities=probabilities)
    model = onnx.load(path)
    tensor = next(t for t in model.graph.initializer if t.name == "network.fc2.bias")
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + np.float32(1), tensor.name))
    path.write_bytes(model.SerializeToString())
    found = cnnkit.verify(path, against=checkpoints / "lenet.safetensors", split="all").divergence
    assert found is not None
    assert (found.layer, found.cause) == ("fc2", "weight")
    assert "fc2.bias differs in 84 of 84 values" in found.explanation


def test_what_onnxruntimes_optimisations_do_is_told_from_faults_of_the_file(tmp_path: Path) -> None:
    for name, level in (("dark", 51), ("light", 203)):
        (tmp_path / "greys" / name).mkdir(parents=True)
        for index in range(4):
            Image.new("RGB", (8, 8), (level + index,) * 3).save(tmp_path / "greys" / name / f"{index}.png")
    network = create_model("tinynets:Unstable").eval()
    one = 1 / 255
    card = ModelCard(
        model="tinynets:Unstable",
        labels=("dark", "light"),
        preprocessing=Preprocessing(3, 8, 8, (0.0,) * 3, (one,) * 3),
        dataset="greys",
        recipe={"data": str(tmp_path / "greys")},
    )
    networks.save_checkpoint(tmp_path / "net.safetensors", network, card)
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items() if tensor.ndim}
    norm = [f"norm.{name}" for name in ("weight", "bias", "running_mean", "running_var")]
    nodes = [
        helper.make_node("Cast", ["image"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["cast"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "conv.weight"], ["conv"], kernel_shape=[1, 1]),
        helper.make_node("BatchNormalization", ["conv", *norm], ["norm"]),
        helper.make_node("GlobalMaxPool", ["norm"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["logits"]),
    ]
    given = helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 8, 8, 3])
    out = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "unstable", [given], [out], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    found = cnnkit.verify(
        tmp_path / "net.onnx", against=tmp_path / "net.safetensors", split="all", trust_code=True, device="cpu"
    ).divergence
    assert found is not None
    assert found.cause == "optimisation"
    assert "with onnxruntime's optimisations off the two agree" in found.explanation


def test_a_file_with_a_fixed_batch(checkpoints: Path, tmp_path: Path) -> None:
    model = onnx.load(checkpoints / "raw.onnx")
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 3
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    result = cnnkit.verify(path, against=checkpoints / "lenet.safetensors", split="all")
    assert result.passed
    tensor = model.graph.initializer[0]
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + np.float32(1), tensor.name))
    path.write_bytes(model.SerializeToString())
    found = cnnkit.verify(path, against=checkpoints / "lenet.safetensors", split="all").divergence
    assert found is not None
    assert (found.layer, found.cause) == ("conv1", "weight")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU that PyTorch can use")
@pytest.mark.parametrize("tf32", [False, True])
def test_tf32_is_off_and_named_where_it_is_on(tf32: bool, checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_tuned", lambda *_: ProviderOptions(tf32=tf32))
    path = checkpoints / "cifar-resnet.onnx"
    result = cnnkit.verify(path, against=checkpoints / "cifar-resnet.safetensors", split="all", device="cuda")
    assert result.engines == ("PyTorch CUDA", "onnxruntime CUDA")
    assert result.passed is not tf32
    assert (result.divergence.cause if result.divergence else "") == ("tf32" if tf32 else "")


def test_a_certificate_of_more_images_stays(tmp_path: Path) -> None:
    path = cnnkit.export("shapes-cnn", tmp_path / "net.onnx").path
    assert cnnkit.verify(path, data="shapes", split="train").stored
    content = path.read_bytes()
    fewer = cnnkit.verify(path, data="shapes", split="test")
    assert fewer.passed
    assert fewer.not_stored_because.startswith("the certificate in the card is of more images, ")
    assert path.read_bytes() == content


def test_a_weight_that_these_images_never_reach_makes_nothing_official(tmp_path: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        model.graph.initializer[0].name, unused = "unused", model.graph.initializer[0].name
        for node in model.graph.node:
            node.input[:] = ["unused" if name == unused else name for name in node.input]

    path = cnnkit.export("shapes-cnn", tmp_path / "net.onnx").path
    edited(path, path, edit)
    content = path.read_bytes()
    found = cnnkit.verify(path, data="shapes")
    assert (found.passed, found.stored, found.graph_changed) == (True, False, True)
    assert found.not_stored_because.startswith("the graph is not the one that was exported")
    assert path.read_bytes() == content
    with expect_error(CheckpointError, "card"):
        cnnkit.load(path)


def test_a_run_one_folder_down_is_found(tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    path = cnnkit.export(tmp_path / "run", tmp_path / "net.onnx").path
    found = cnnkit.verify(path)
    assert (found.passed, Path(found.reference)) == (True, tmp_path / "run" / "best.safetensors")
