"""A classifier over an exported network: images in, labels and probabilities out."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnnkit import pictures
from cnnkit.card import ModelCard
from cnnkit.errors import ImageError, OnnxError, UsageError
from cnnkit.images import Prepared, Preprocessing, prepare_all
from cnnkit.pictures import Pixels
from cnnkit.runtime.foreign import scores as scoring
from cnnkit.runtime.foreign.options import Scores
from cnnkit.runtime.prediction import ClassScore, Prediction

if TYPE_CHECKING:
    from cnnkit.runtime.session import Session

ANY = 2**31
"""Of a file that may take any number of images at a time: one of ours."""

ImageSource = str | pictures.ImageSource


class Network(Protocol):
    """Pixels in, logits out: an exported network, or one of PyTorch."""

    card: ModelCard
    engine: str

    def logits(self, pixels: Pixels) -> NDArray[np.float32]:
        """Return float32 logits [N, classes] for uint8 pixels [N, H, W, C]."""


@dataclass(frozen=True)
class Feed:
    """How pixels are laid out for a file.

    Attributes:
        dtype: `uint8`, or the kind of floats that normalised pixels become.
        channels_last: [N, H, W, C], not [N, C, H, W].
        reversed: the three colours come as blue, green and red.
    """

    dtype: str
    channels_last: bool
    reversed: bool = False

    @classmethod
    def of_card(cls, card: ModelCard) -> "Feed":
        """Return that of a file that cnnkit exported."""
        return cls("float32", False) if card.raw_input else cls("uint8", True)

    def of_pixels(self, pixels: Pixels, form: Preprocessing) -> NDArray[np.generic]:
        """Return what a file takes for uint8 pixels [N, H, W, C]."""
        inputs: NDArray[Any] = pixels
        if self.dtype != "uint8":
            mean, std = np.array(form.mean, np.float32), np.array(form.std, np.float32)
            inputs = ((pixels.astype(np.float32) / 255 - mean) / std).astype(self.dtype, copy=False)
        if self.reversed:
            inputs = inputs[..., ::-1]
        if not self.channels_last:
            inputs = inputs.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(inputs)


class OnnxNetwork:
    """An ONNX network with the card that says how to use it.

    Attributes:
        batch: images that the file takes at a time, None for several.
        most: images that ran at a time when the file was tried, with all smaller powers of two; None or `ANY`
            for any number.
        input: name of what the file takes.
        output: name of the scores that are read.
        scores: what these are.
    """

    def __init__(
        self,
        session: "Session",
        card: ModelCard,
        *,
        feed: Feed | None = None,
        output: str | None = None,
        scores: Scores = "logits",
        batch: int | None = None,
        most: int | None = None,
    ) -> None:
        from cnnkit.runtime.session import device_of

        self.card = card
        self.most = most
        self.engine = f"onnxruntime {device_of(session)}"
        self.placement = session.placement
        self.session = session
        self._feed = feed or Feed.of_card(card)
        self.scores = scores
        first = session.get_inputs()[0]
        self.input = first.name
        # A file may fix its batch; then images go through in groups of exactly that size.
        self.batch = first.shape[0] if isinstance(first.shape[0], int) else batch
        self.output = output or "logits"

    def logits(self, pixels: Pixels) -> NDArray[np.float32]:
        """Return float32 logits [N, classes] for uint8 pixels [N, H, W, C]."""
        return self.as_logits(self.run(self.feed(pixels)[self.input], [self.output])[0])

    def as_logits(self, output: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return float32 logits [N, classes] for what the file gave as its scores."""
        scores = np.asarray(output, np.float32).reshape(len(output), -1)
        scoring.require_read(scores, self.scores, self.card.model)
        return scoring.as_logits(scores, self.scores)

    def feed(self, pixels: Pixels) -> dict[str, NDArray[np.generic]]:
        """Return what the file takes for uint8 pixels [N, H, W, C]."""
        return {self.input: self._feed.of_pixels(pixels, self.card.preprocessing)}

    def run(self, inputs: NDArray[np.generic], outputs: Sequence[str]) -> list[NDArray[np.generic]]:
        """Return outputs of the file, each [N, …], for N of what it takes.

        Raises:
            OnnxError: it fails, or gives more or fewer rows than it was given images.
        """
        parts: list[list[NDArray[Any]]] = []
        start = 0
        while start < len(inputs) or not parts:
            together = self.batch or self._together(len(inputs) - start)
            part = given = inputs[start : start + together]
            if self.batch is not None:
                given = np.pad(part, [(0, self.batch - len(part))] + [(0, 0)] * (inputs.ndim - 1))
            parts.append([output[: len(part)] for output in self._run(given, outputs)])
            start += together
        return [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]

    def _together(self, left: int) -> int:
        """Return how many of the images that are left run together: as many as ran in a trial."""
        most = ANY if self.most is None else self.most
        return left if most == ANY else min(most, 1 << (left.bit_length() - 1))

    def _run(self, inputs: NDArray[Any], outputs: Sequence[str]) -> list[NDArray[Any]]:
        try:
            results = [np.asarray(output) for output in self.session.run(list(outputs), {self.input: inputs})]
        except Exception as error:  # onnxruntime raises its own types
            reason, shape = " ".join(str(error).split())[:300], list(inputs.shape)
            raise OnnxError(f"{self.card.model} failed on {shape}: {reason}") from error
        if len(inputs) == 1:  # a file for one image may leave the batch out, or have it elsewhere
            results = [each if each.shape[:1] == (1,) else each.reshape(1, -1) for each in results]
        for each in results:
            if each.shape[:1] != inputs.shape[:1]:
                found = f"{list(each.shape)} for {len(inputs)} images"
                raise OnnxError(f"{self.card.model} gives {found}; expected a row for each of them.")
        return results


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return probabilities [N, classes] for logits [N, classes]."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return np.asarray(shifted / shifted.sum(1, keepdims=True))


def probabilities_of(logits: NDArray[np.float32], card: ModelCard) -> NDArray[np.float64]:
    """Return probabilities [N, classes]: of one class among all, or of each by itself where the card says so."""
    if not card.independent:
        return softmax(logits)
    halves = np.tanh(logits.astype(np.float64) / 2)  # does not overflow
    return np.asarray((1 + halves) / 2)


class Classifier:
    """Predicts the class of images with everything that the model card knows.

    >>> from cnnkit import load
    >>> import numpy as np
    >>> classifier = load("digits")
    >>> drawing = np.full((90, 60), 255, np.uint8)
    >>> drawing[20:70, 28:33] = 0  # a dark vertical bar on white
    >>> classifier.predict([drawing])[0].label
    '1'
    """

    def __init__(self, network: Network, name: str, *, assumptions: Sequence[str] = ()) -> None:
        self.network = network
        self.name = name
        self.assumptions = tuple(assumptions)

    @property
    def card(self) -> ModelCard:
        """Labels, preprocessing and origin of the network."""
        return self.network.card

    @property
    def engine(self) -> str:
        """What it runs on, such as `onnxruntime CPU`."""
        return self.network.engine

    def predict(self, images: Iterable[ImageSource], *, top: int = 5, batch_size: int = 64) -> list[Prediction]:
        """Classify images.

        Args:
            images: paths, contents of files, Pillow images or uint8 arrays [H, W], [H, W, 1] or [H, W, 3].
            top: number of classes to return for each image.
            batch_size: images that go through the network together.

        Raises:
            ImageError: one of the images is not acceptable.
        """
        results = []
        for result in self.stream(images, top=top, batch_size=batch_size):
            if isinstance(result, ImageError):
                raise result
            results.append(result)
        return results

    def stream(
        self, images: Iterable[ImageSource], *, top: int = 5, batch_size: int = 64
    ) -> Iterator[Prediction | ImageError]:
        """Classify images as `predict` does, yielding results in order; a bad image yields its error in its place."""
        if top < 1 or batch_size < 1:
            raise UsageError(f"top and batch_size must be at least 1, got {top} and {batch_size}.")
        if isinstance(images, str | bytes | Path | Image.Image):
            raise UsageError(f"images must be a list of images; got one {type(images).__name__}. Put it in [ ].")
        remaining = enumerate(images)
        while group := list(islice(remaining, batch_size)):
            sources = [Path(image) if isinstance(image, str) else image for _, image in group]
            prepared = prepare_all(sources, self.card.preprocessing)
            good = [item.pixels for item in prepared if not isinstance(item, ImageError)]
            logits = self.network.logits(np.stack(good)) if good else None
            if logits is not None and not np.isfinite(logits).all():
                raise OnnxError(f"{self.name} gives scores that are not finite numbers; check its weights.")
            rows = iter(probabilities_of(logits, self.card) if logits is not None else ())
            for (index, _), source, item in zip(group, sources, prepared, strict=True):
                named = isinstance(source, Path)
                if isinstance(item, ImageError):
                    yield item if named else type(item)(f"image {index + 1}: {item}")
                else:
                    yield self._prediction(str(source) if named else f"image {index + 1}", item, next(rows), top)

    def _prediction(self, name: str, image: Prepared, row: NDArray[np.float64], top: int) -> Prediction:
        best = np.argsort(-row, kind="stable")[:top]
        scores = tuple(ClassScore(self.card.labels[index], float(row[index])) for index in best)
        return Prediction(name, scores, image.steps, independent=self.card.independent)
