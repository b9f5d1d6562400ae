"""`cnnkit.evaluate`: how well a network does on a data set."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Unpack

from cnnkit.arguments import BatchSize, Data, DataDir, Device, SkipDamaged, Split, TrustCode
from cnnkit.data.options import Choice
from cnnkit.errors import require_effect
from cnnkit.operation import operation
from cnnkit.options import Option
from cnnkit.runtime.classifier import Classifier
from cnnkit.runtime.foreign.options import Described
from cnnkit.sources import Ref, find, load

if TYPE_CHECKING:
    from cnnkit.evaluation.results import Evaluation
    from cnnkit.progress import Steps


@operation
def evaluate(
    ref: Ref,
    *,
    data: Data = None,
    split: Split = None,
    data_dir: DataDir = None,
    batch_size: BatchSize = 256,
    top_k: Annotated[int, Option("Classes that the top-k accuracy looks among, fewer than there are.", ge=1)] = 5,
    skip_damaged: SkipDamaged = False,
    device: Device = "auto",
    trust_code: TrustCode = False,
    untrained: Annotated[bool, Option("Give MODEL, an architecture, random weights.")] = False,
    seed: Annotated[int | None, Option("Seed of the random weights. Default: 0.", ge=0)] = None,
    **foreign: Unpack[Described],
) -> "Steps[Evaluation]":
    """Measure a network on a data set: accuracy, loss, scores by class, confusion and calibration.

    Args:
        ref: model reference, an `nn.Module`, or an open classifier.
        data: a data set or image folder; None for the one that the network was trained on.
        split: `train`, `validation`, `test` or `all`. None for the test split of the training data, or its validation
            split where it has no test split; of any other folder for the test split that it gives, or the whole.
        data_dir: where to look for data sets first.
        batch_size: images that go through the network together.
        top_k: for the top-k accuracy; fewer are taken where there are no more classes than these.
        skip_damaged: leave out files that cannot be decoded.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        trust_code: import the network that a checkpoint's card names as `module:factory`.
        untrained: the reference is an architecture; give it the random weights, and the input, that a training begins
            with. `input_shape` may choose another input.
        seed: of these weights; None for 0.
        foreign: how to use a network without a card, as for `load`.

    Raises:
        UsageError: there is no such split, or an option has no effect.
        UnknownNameError: no such model.
        DataError: no data set named by anything, an empty split, or other classes than the network's.
        CheckpointError: no weights, or the network gives scores that are not finite.

    >>> import cnnkit
    >>> cnnkit.evaluate("shapes-cnn", data="shapes").images
    300
    """
    chosen = Choice.of(data, split, data_dir, skip_damaged=skip_damaged)
    if not untrained:
        require_effect({"seed": seed}, "without --untrained")
        classifier = load(ref, device=device, trust_code=trust_code, **foreign)
        chosen = chosen.near(find(ref).home)
    else:
        shape = foreign.pop("input_shape", None)
        require_effect({**foreign, "trust_code": trust_code}, "with --untrained")
        source = find(ref)
        source.require_trainable()
        from cnnkit.evaluation.untrained import untrained_network

        network = yield from untrained_network(
            source,
            chosen,
            input_shape=shape,
            seed=seed or 0,
            device=device,
        )
        # The data set is that of the card now, so that the split is the one that a training would measure on.
        classifier, chosen = Classifier(network, source.text), replace(chosen, data=None)
    from cnnkit.evaluation.images import load_for
    from cnnkit.evaluation.measures import measure

    started = time.monotonic()
    loaded, used = yield from load_for(classifier.card, classifier.name, chosen)
    return measure(classifier, loaded, used, batch_size=batch_size, top_k=top_k, started=started)
