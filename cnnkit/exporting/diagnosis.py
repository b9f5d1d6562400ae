"""From logits that differ to the layer and the cause."""

from dataclasses import replace

import numpy as np
import onnx
import torch
from torch import nn

from cnnkit.exporting import causes
from cnnkit.exporting.divergence import Parting, difference, locate
from cnnkit.exporting.parity import compare
from cnnkit.exporting.results import Cause, Divergence
from cnnkit.exporting.values import CPU, Call, Graph, Providers, trace
from cnnkit.images import Preprocessing
from cnnkit.pictures import Pixels
from cnnkit.runtime.classifier import OnnxNetwork
from cnnkit.runtime.foreign.scores import ONE_AMONG_ALL
from cnnkit.runtime.graphs import layer_name
from cnnkit.runtime.providers import ProviderOptions


def diagnose(
    network: OnnxNetwork, model: onnx.ModelProto, deployed: nn.Module, form: Preprocessing, pixels: Pixels, *, gpu: str
) -> Divergence | None:
    """Find the first layer in which a file and its network part, and the likely cause.

    Args:
        network: the file, as it was run.
        model: what is in the file.
        deployed: the PyTorch network with its `normalise`, in evaluation mode, on the CPU.
        form: preprocessing of the PyTorch network.
        pixels: uint8 [N, H, W, C], images whose logits differ.
        gpu: index of the GPU that the file ran on; empty for the CPU.

    Returns:
        None where the two agree on these images, however the file is run.
    """
    calls = trace(deployed, torch.from_numpy(pixels))
    logits = calls[-1].output
    if network.scores in ONE_AMONG_ALL:
        logits = torch.from_numpy(logits).log_softmax(1).numpy()
        scale = 100 if network.scores == "percent" else 1
        given = logits if network.scores == "log-softmax" else scale * np.exp(logits)
        calls[-1] = replace(calls[-1], name="probabilities", output=given)
    graph, feed = Graph(model), network.feed(pixels)

    def part(providers: Providers, *, optimised: bool = False) -> Parting | None:
        values, stopped = graph.values(feed, providers=providers, optimised=optimised)
        return locate(calls, graph, {**feed, **values}, network.output, stopped)

    parting = part(CPU)
    if parting is not None:
        return _divergence(parting, *causes.explain(parting, graph, pixels, form))
    if compare(logits, network.logits(pixels)).ratio.max() <= 1:
        return None
    # The graph itself is right, so it is how onnxruntime runs it.
    if gpu:
        device, options = network.placement.device, replace(network.placement.options, graph=False)

        def on_cuda(options: ProviderOptions) -> Parting | None:
            return part(options.for_provider("cuda", int(gpu), b""), optimised=True)

        # TensorRT runs layers together, so that there is nothing between them to look at.
        parting = on_cuda(options) if device == "CUDA" else None
        cause: Cause = "provider"
        text = f"{device} gives other values; the CPU agrees."
        if device == "CUDA" and options.tf32 and on_cuda(replace(options, tf32=False)) is None:
            cause = "tf32"
            text = "the GPU rounds factors to TF32, 10 bits of mantissa; with use_tf32=0 the two agree."
        return _divergence(parting, cause, text) if parting else _whole(cause, text, calls)
    text = "with onnxruntime's optimisations off the two agree."
    parting = part(CPU, optimised=True)
    return _divergence(parting, "optimisation", text) if parting else _whole("optimisation", text, calls)


def _divergence(parting: Parting, cause: Cause, explanation: str) -> Divergence:
    value, expected = parting.value, (parting.folded or (parting.call,))[-1].output
    comparable = value is not None and value.shape == expected.shape
    return Divergence(
        layer=layer_name(parting.call.name),
        kind=type(parting.call.module).__name__ if parting.call.name not in {"logits", "probabilities"} else "",
        folded=tuple(layer_name(call.name) for call in parting.folded),
        node=f"{parting.node.op_type} {parting.node.name}".strip(),
        max_absolute_difference=difference(value, expected) if value is not None and comparable else None,
        cause=cause,
        explanation=explanation,
        layers=parting.layers,
    )


def _whole(cause: Cause, explanation: str, calls: list[Call]) -> Divergence:
    """Name the scores, where looking at the layers between makes the difference go away."""
    return Divergence(calls[-1].name, "", (), "", None, cause, explanation, ())
