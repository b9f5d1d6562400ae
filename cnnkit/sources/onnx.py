"""`lenet.onnx`: an exported file, ours or anybody's."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cnnkit.errors import CheckpointError, UsageError
from cnnkit.sources.files import named_file
from cnnkit.sources.source import Exported, Source

if TYPE_CHECKING:
    from cnnkit.runtime.foreign.options import ForeignOptions


class OnnxFile(Source):
    """An ONNX file; what it lacks in a card, the user may say."""

    rank = 10
    trained = True
    has_layers = False

    def __init__(self, text: str, path: Path) -> None:
        super().__init__(text)
        self.path: Path = path

    @classmethod
    def find(cls, ref: object) -> Self | None:
        path = named_file(ref, ".onnx")
        return None if path is None else cls(str(ref), path)

    @classmethod
    def offered(cls) -> Iterable[str]:
        return sorted(map(str, Path().glob("*.onnx")))

    def describe(self, options: "ForeignOptions") -> None:
        if options.card is not None or options.preprocessing is not None:
            raise UsageError(
                f"{self.text} is an ONNX file: card and preprocessing are said of an nn.Module. Say mean, std, pixels, "
                "preprocess or input_shape."
            )
        self.options = options

    def without_weights(self) -> CheckpointError:
        return CheckpointError(
            f"{self.text} is an ONNX file, and has no PyTorch weights. Name its run, checkpoint or zoo entry."
        )

    def require_trainable(self) -> None:
        raise UsageError(f"{self.text} is an ONNX file; expected a PyTorch network: a name, a run or a checkpoint.")

    def exported(self) -> Exported:
        return Exported(self.path, self.text)
