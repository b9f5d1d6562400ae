"""`cnnkit.verify`: is an ONNX file the network that it is said to be?"""

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from cnnkit.arguments import Data, DataDir, Device, SkipDamaged, Split, TrustCode
from cnnkit.data.options import Choice
from cnnkit.operation import operation
from cnnkit.options import Option
from cnnkit.sources import Ref, find

if TYPE_CHECKING:
    from cnnkit.exporting.results import Verification
    from cnnkit.progress import Steps


@operation
def verify(
    ref: Ref,
    *,
    against: Annotated[
        "Ref | None",
        Option(
            "Run, checkpoint or zoo entry to compare with. Default: the one whose weights the file names.",
            metavar="MODEL",
            suggest="model",
        ),
    ] = None,
    data: Data = None,
    split: Split = None,
    data_dir: DataDir = None,
    skip_damaged: SkipDamaged = False,
    device: Device = "auto",
    trust_code: TrustCode = False,
) -> "Steps[Verification]":
    """Compare an ONNX file with its PyTorch network on every image of a data set.

    The first images go through in batches of 1, 2 and 7, the others in batches of 256. A certificate that is good is
    stored in the file's card.

    Args:
        ref: an ONNX file, or a zoo entry, which is verified and not rewritten.
        against: the network that it was exported from, as a reference or an `nn.Module`; None to find the one whose
            weights have the hash that the card names: beside the file, in the zoo, or a network with random weights.
        data: data set or image folder; None for the one that the network was trained on.
        split: None for the validation split where the file is in fp16 or int8, as at its export, since its accuracy
            budget decides; otherwise as for `evaluate`.
        data_dir: where to look for data sets first.
        skip_damaged: leave out files that cannot be decoded.
        device: `auto`, `cpu`, `cuda`, `cuda:N`, `tensorrt` or `tensorrt:N`, for onnxruntime; PyTorch runs on the same
            processor or GPU, without TF32.
        trust_code: import the network that a checkpoint's card names as `module:factory`.

    Raises:
        OnnxError: not an ONNX file that can be compared with this network.
        CheckpointError: nothing says which PyTorch network to compare with.
        DataError: no data set named by anything, an empty split, or other classes than the network's.

    >>> import cnnkit
    >>> cnnkit.verify("shapes-cnn", data="shapes").passed
    True
    """
    chosen, started = Choice.of(data, split, data_dir, skip_damaged=skip_damaged), time.monotonic()
    source = find(ref)
    chosen = chosen.near(source.home)
    file = source.require_exported()
    if against is None:
        from cnnkit.exporting.carding import require_card

        require_card(file)
    from cnnkit.evaluation.images import load_for
    from cnnkit.exporting.verification import open_pair, verified

    pair = open_pair(file, against, device=device, trust_code=trust_code)
    if chosen.split is None and pair.precision != "fp32":
        chosen = replace(chosen, split="validation")
    loaded, used = yield from load_for(pair.reference.card, file.name, chosen)
    return (yield from verified(pair, loaded, used, started=started))
