"""`cnnkit.find_mistakes`: the images that a network gets wrong, and labels that may be wrong."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Unpack

from cnnkit.arguments import BatchSize, Data, DataDir, Device, SkipDamaged, Split, TrustCode
from cnnkit.data.options import Choice
from cnnkit.files import expanded, require_writable
from cnnkit.operation import operation
from cnnkit.options import Option
from cnnkit.runtime.foreign.options import Described
from cnnkit.sources import Ref, find, load

if TYPE_CHECKING:
    from cnnkit.evaluation.results import Mistakes
    from cnnkit.progress import Steps


@operation
def find_mistakes(
    ref: Ref,
    *,
    data: Data = None,
    split: Split = None,
    data_dir: DataDir = None,
    top: Annotated[int, Option("How many mistakes, and labels to check, to keep.", ge=1)] = 36,
    batch_size: BatchSize = 256,
    skip_damaged: SkipDamaged = False,
    device: Device = "auto",
    trust_code: TrustCode = False,
    output: str | Path | None = None,
    **foreign: Unpack[Described],
) -> "Steps[Mistakes]":
    """Find the images that a network gets most wrong, what it takes them for, and labels that may be wrong.

    Args:
        ref: model reference, an `nn.Module`, or an open classifier. ONNX files run on onnxruntime, all else on PyTorch.
        data, split, data_dir, skip_damaged: the images, as for `evaluate`.
        top: how many mistakes, and as many images with doubtful labels, to return.
        batch_size: images that go through the network together.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        trust_code: import the network that a checkpoint's card names as `module:factory`.
        output: a folder that gets a page, a contact sheet and JSON.
        foreign: how to use a network without a card, as for `load`.

    Raises:
        UsageError, UnknownNameError, DataError, CheckpointError: as for `evaluate`.
        OutputError: the folder cannot be written.

    >>> import cnnkit
    >>> found = cnnkit.find_mistakes("shapes-cnn", data="shapes")
    >>> found.images
    300
    """
    folder = expanded(output)
    chosen = Choice.of(data, split, data_dir, skip_damaged=skip_damaged)
    if folder is not None:
        require_writable(folder)
    classifier = load(ref, device=device, trust_code=trust_code, torch=True, **foreign)
    chosen = chosen.near(find(ref).home)
    from cnnkit.evaluation.images import load_for
    from cnnkit.evaluation.worst import mistakes_of

    started = time.monotonic()
    loaded, used = yield from load_for(classifier.card, classifier.name, chosen)
    found = yield from mistakes_of(classifier, loaded, used, chosen, top=top, batch_size=batch_size, started=started)
    if folder is not None:
        from cnnkit.render import mistakes

        mistakes.write(found, folder)
    return found
