"""Opening ONNX files as classifiers: ours by their cards, and those of others by what they show."""

from pathlib import Path
from typing import TYPE_CHECKING

import onnxruntime as ort

from cnnkit.card import ModelCard
from cnnkit.errors import OnnxError, UsageError
from cnnkit.files import sha256
from cnnkit.runtime.classifier import Classifier, OnnxNetwork
from cnnkit.runtime.foreign.options import ForeignOptions
from cnnkit.runtime.providers import ProviderOptions
from cnnkit.runtime.session import open_session

if TYPE_CHECKING:
    from cnnkit.runtime.foreign.beside import Beside


def open_onnx(
    model: Path | bytes,
    name: str,
    *,
    device: str = "auto",
    options: ForeignOptions | None = None,
    provider: ProviderOptions | None = None,
    verified: bool = False,
    around: "Beside | None" = None,
) -> Classifier:
    """Open an ONNX file, ours or anybody's, as a classifier.

    Args:
        model: the file, or its content.
        name: what to call it in errors.
        device: as in `cnnkit.runtime.session.open_session`.
        options: how to use a file without a card.
        provider: how its session runs; None for what its card holds for this hardware, else the default.
        verified: its hash is that of the zoo.
        around: what further files in its folder say; None to read them where there is a path.

    Raises:
        OnnxError: not an image classifier that onnxruntime can run, or one that `cnnkit.runtime.guard` refuses.
        CheckpointError: a card that is damaged, or of another graph.
        DeviceError: the device cannot be used here.
        DataError: labels that cannot be read, or not one for each class.
        UsageError: options that contradict the file or its card.
    """
    options, most = options or ForeignOptions(), None
    if not verified:
        from cnnkit.runtime import guard  # a single prediction by a file of the zoo does without

        if (proven := guard.proven_content(model)) is not None:
            (model, most), verified = proven, True
    if verified:
        session = open_session(model, name, device=device, options=provider)
        card = ModelCard.from_metadata(session.get_modelmeta().custom_metadata_map, name, verified=True)
        checked = None
    else:
        checked, card = guard.check_with_card(model, name, shape=options.input_shape, around=around)
        if card is None and checked.obstacle:
            raise OnnxError(f"{name}: {checked.obstacle}")
        session = open_session(checked.source, name, device=device, options=provider)
    content = model if checked is None else checked.content
    session.sha256 = sha256(content if isinstance(content, bytes) else content.read_bytes())
    if card is not None:
        if options:
            raise UsageError(
                f"{name} carries a model card that says its labels and preprocessing; leave out {options.listed}."
            )
        check_card(session, card, name)
        return Classifier(OnnxNetwork(session, card, most=most if checked is None else checked.most), name)
    if checked is None or checked.signature is None:
        raise OnnxError(f"{name} carries no model card.")
    from cnnkit.runtime.foreign.assuming import open_assumed  # nor do files of ours need this

    return open_assumed(session, checked, checked.signature, name, options)


def check_card(session: ort.InferenceSession, card: ModelCard, name: str) -> None:
    """Make sure that a file takes and gives what its card says.

    Raises:
        OnnxError: it does not.
    """
    inputs, outputs = session.get_inputs(), {o.name: o for o in session.get_outputs()}
    form = card.preprocessing
    expected = list(form.input_shape) if card.raw_input else list(form.shape)
    classes = outputs["logits"].shape[-1] if "logits" in outputs else None
    kind = "tensor(float)" if card.raw_input else "tensor(uint8)"
    fits = len(inputs) == 1 and inputs[0].type == kind and list(inputs[0].shape[1:]) == expected
    if not fits or classes != len(card.labels):
        raise OnnxError(f"{name} does not match its model card: the input or the number of classes differs.")
