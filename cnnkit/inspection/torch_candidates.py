"""PyTorch in a benchmark: the network that an ONNX file came from, eager and compiled."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from cnnkit.errors import CheckpointError, CnnkitError, OnnxError
from cnnkit.models.memory import is_out_of_memory
from cnnkit.models.networks import choose_device
from cnnkit.models.normalisation import ExportWrapper, Normalise
from cnnkit.runtime.candidates import Calls, Candidate, Inputs, Target
from cnnkit.sources import find

EAGER, COMPILED = "PyTorch eager", "PyTorch compiled"

_MANY = 1000

Forward = Callable[[Tensor], tuple[Tensor, Tensor]]


def torch_candidates(target: Target, threads: Sequence[int], *, trust_code: bool = False) -> list[Candidate]:
    """Return the PyTorch network of an ONNX file, eager and compiled, on each of the file's devices.

    It is built with random weights, which take as long as any others, and does what the file does: from its input to
    logits and probabilities.

    Raises:
        OnnxError: the file has no card that names its network.
        CheckpointError: the card names code to import, and that is not trusted.
        DeviceError: PyTorch cannot use a device.
    """
    card = target.card
    if card is None:
        raise OnnxError(f"{target.name} has no model card that names its PyTorch network; leave out --torch.")
    source = find(card.model)
    if source.runs_code and not trust_code and target.name != card.model:
        raise CheckpointError(f"{target.name} names code to import, {card.model!r}. If you trust it, say --trust-code.")
    found = []
    for asked, real in target.devices.items():
        place = "cpu" if real == "CPU" else f"cuda:{asked.partition(':')[2] or 0}"
        device = choose_device(place)
        for engine in (EAGER, COMPILED):
            for count in threads if place == "cpu" else (None,):
                found.append(_candidate(target, engine, device, count))
    return list({(one.engine, one.device, one.gpu, one.threads): one for one in found}.values())


def versions() -> dict[str, str]:
    """Return the version of PyTorch, by name."""
    return {"PyTorch": torch.__version__}


@contextmanager
def threads_kept() -> Iterator[None]:
    """Give PyTorch its number of threads back in the end: it is one for the whole process."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _candidate(target: Target, engine: str, device: torch.device, threads: int | None) -> Candidate:
    def start(batch: int) -> Calls:
        forward = _forward(target)
        forward.to(device)
        inputs = target.inputs(batch)
        if engine == EAGER:
            return _calls(forward, inputs, device, threads)
        calls = _calls(torch.compile(forward, dynamic=False), inputs, device, threads)
        return Calls(calls.whole, calls.parts, first=lambda: _compile(calls.whole, target.name))

    gpu = None if device.type == "cpu" else device.index
    return Candidate(target.name, engine, device.type.upper(), threads, gpu, start, optional=engine == COMPILED)


def _forward(target: Target) -> nn.Module:
    card = target.card
    if card is None:
        raise OnnxError(f"{target.name} has no model card.")
    with torch.random.fork_rng(devices=[]):
        form = card.preprocessing
        network = find(card.model).create(len(card.labels), form.input_shape)
    normalise = nn.Identity() if card.raw_input else Normalise(form.mean, form.std)
    return ExportWrapper(network, normalise).eval()


def _calls(forward: Forward, inputs: Inputs, device: torch.device, threads: int | None) -> Calls:
    host = torch.from_numpy(inputs)

    @torch.inference_mode()
    def on_cpu() -> object:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads or 1)
        return [output.numpy() for output in forward(host)]

    if device.type == "cpu":
        return Calls(on_cpu)
    held = host.to(device)
    outputs: tuple[Tensor, ...] = ()

    def copy_in() -> None:
        held.copy_(host)

    @torch.inference_mode()
    def compute() -> None:
        nonlocal outputs
        # The sessions beside it have it off: a rounded product is another computation.
        with torch.backends.cudnn.flags(allow_tf32=False):
            outputs = forward(held)
        torch.cuda.synchronize(device)

    def copy_out() -> object:
        return [output.cpu() for output in outputs]

    def whole() -> object:
        copy_in()
        compute()
        return copy_out()

    return Calls(whole, {"copy_in": copy_in, "compute": compute, "copy_out": copy_out})


def _compile(call: Callable[[], object], name: str) -> None:
    """Run a compiled network for the first time, without what its compilers say.

    Raises:
        CnnkitError: it cannot be compiled here.
        RuntimeError: there is too little memory for it, compiled or not.
    """
    logger = logging.getLogger("torch.utils.cpp_extension")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stderr(io.StringIO()),
            # After eight networks or batch sizes it would run the next ones uncompiled, and not say so.
            torch._dynamo.config.patch(recompile_limit=_MANY),
        ):
            warnings.simplefilter("ignore")
            call()
    except Exception as error:  # the compiler raises whatever its parts raise
        if is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:200]
        raise CnnkitError(
            f"{COMPILED} of {name} is left out: torch.compile cannot compile it here: {reason}"
        ) from error
    finally:
        logger.setLevel(level)
