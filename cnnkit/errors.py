"""Every error that cnnkit raises on purpose.

CnnkitError                    exit 1
├── UsageError                 exit 2: the command or call itself is wrong
├── UnknownNameError           a model or data set that nobody registered
├── DataError                  a data set that is absent, empty or does not fit
│   ├── DamagedFilesError      files of an image folder that cannot be decoded
│   └── OverlapError           held-out images that the starting weights were trained on
├── ImageError                 bytes that are not an acceptable image
│   ├── ImageFormatError       of no image format that is accepted
│   ├── ImageTooLargeError     over the byte or pixel cap
│   └── CostlyImageError       may take longer to decode than there is time for
├── CheckpointError            weights that are damaged or belong to another network
├── ZooError                   a models_zoo file that is absent or damaged
├── ForwardError               a layer that refuses what it gets
├── OnnxError                  a file that onnxruntime cannot run as an image classifier
├── DeviceError                a device that was asked for and is unavailable
├── InstallationError          what `doctor` found would make a command fail
├── ClusterError               a Ray cluster that cannot be reached, or lost its workers
├── ServerError                a server that cannot listen, or whose workers die
├── OutputError                a result that could not be written
├── MissingDependencyError     an optional library that this installation lacks
├── TrainingDivergedError      the loss is no longer a number
├── OutOfMemoryError           the network and its batch do not fit
├── LostProcessError           exit 75: another of the processes that train together is gone
├── StoppedError               exit 130, 143, 129: stopped by Ctrl-C, SIGTERM, SIGHUP, after saving
└── CheckFailedError           exit 3: it ran, and the check failed
    ├── ParityError            the exported file differs from the PyTorch model
    ├── AccuracyError          below the asked-for accuracy
    └── PrecisionError         a reduced precision that costs too much accuracy, or is not faster

Any other exception is a bug: the command line ends with exit code 70, `EX_SOFTWARE` of sysexits.h.
"""

from collections.abc import Iterable, Mapping
from typing import ClassVar

_LISTED = 12
"""Names that an error lists; of more it gives the first few, as examples of their form."""


class DeviceWarning(UserWarning):
    """A GPU that is left unused, in whole or in part."""


class CnnkitError(Exception):
    """Base of the tree. The message says what was expected, what was found, and what to do."""

    code: ClassVar[str] = "error"
    exit_code: int = 1


class UsageError(CnnkitError):
    """The command or call is wrong, whatever the files hold."""

    code = "usage"
    exit_code = 2


class UnknownNameError(CnnkitError):
    """A name that is not registered; the message carries the close matches."""

    code = "unknown-name"

    def __init__(self, kind: str, name: str, known: Iterable[str], *, hint: str = "") -> None:
        known = list(known)
        self.close_matches = close_matches(name, known)
        super().__init__(" ".join(filter(None, (f"there is no {kind} {name!r}.", guess(name, known), hint))))


def close_matches(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """Return the known names that a name may be a slip of, the closest first."""
    import difflib

    return tuple(difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.5))


def guess(name: str, known: Iterable[str]) -> str:
    """Return a sentence with what may have been meant by an unknown name: the close ones, else the known ones."""
    known = sorted(known)
    if close := close_matches(name, known):
        return f"Did you mean {' or '.join(close)}?"
    if len(known) > _LISTED:
        return f"Known: {', '.join(known[:3])} and {len(known) - 3} others."
    return f"Known: {', '.join(known)}." if known else ""


class DataError(CnnkitError):
    """A data set that is absent, empty, or does not fit the network."""

    code = "data"


class DamagedFilesError(DataError):
    """Files of an image folder that cannot be decoded."""

    code = "damaged-files"

    def __init__(self, message: str, *, result: object = None) -> None:
        super().__init__(message)
        self.result = result
        """All of them, for the JSON envelope."""


class OverlapError(DataError):
    """Images that are held out here were used to train the weights that a run starts from."""

    code = "overlap"

    def __init__(self, message: str, *, result: object = None) -> None:
        super().__init__(message)
        self.result = result
        """The images, for the JSON envelope."""


class ImageError(CnnkitError):
    """Bytes that are not an acceptable image."""

    code = "image"


class ImageFormatError(ImageError):
    """Bytes of no image format that is accepted.

    Attributes:
        kind: the format that they are of; empty where that is not known.
    """

    code = "image-format"

    def __init__(self, message: str = "", kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class ImageTooLargeError(ImageError):
    """An image over the byte or pixel cap."""

    code = "image-too-large"


class CostlyImageError(ImageError):
    """An image whose decoding may take longer than it may take where it was tried."""

    code = "image-costly"


class CheckpointError(CnnkitError):
    """Weights that are damaged, carry no card, or belong to another network."""

    code = "checkpoint"


class ZooError(CnnkitError):
    """A models_zoo file that is absent or damaged."""

    code = "zoo"


class ForwardError(CnnkitError):
    """A layer of a network refuses what it gets, or fails in another way."""

    code = "forward"

    def __init__(self, message: str, *, result: object = None) -> None:
        super().__init__(message)
        self.result = result
        """The layers up to there, for the JSON envelope."""


class OnnxError(CnnkitError):
    """A file that onnxruntime cannot run as an image classifier."""

    code = "onnx"


class DeviceError(CnnkitError):
    """A device that was asked for and is unavailable."""

    code = "device"


class InstallationError(CnnkitError):
    """Something is wrong with this installation that would make a command fail."""

    code = "installation"

    def __init__(self, message: str, *, result: object = None) -> None:
        super().__init__(message)
        self.result = result
        """All that was looked at, for the JSON envelope."""


class ClusterError(CnnkitError):
    """A Ray cluster that cannot be reached, or whose workers are lost."""

    code = "cluster"


class ServerError(CnnkitError):
    """A server that cannot listen at its address, or whose worker processes die."""

    code = "server"


class OutputError(CnnkitError):
    """A result that could not be written; what stood there before is untouched."""

    code = "output"


class MissingDependencyError(CnnkitError):
    """A library that this installation lacks; the message has the pip line."""

    code = "missing-dependency"


class TrainingDivergedError(CnnkitError):
    """The loss is no longer a finite number."""

    code = "diverged"


class OutOfMemoryError(CnnkitError):
    """The device has too little memory for the network and its batch."""

    code = "out-of-memory"


class LostProcessError(CnnkitError):
    """Another of the processes that train together is gone; what it ended with counts, not this."""

    code = "lost-process"
    exit_code = 75  # of sysexits.h: try again


class StoppedError(CnnkitError):
    """A signal asked the command to stop, and it did, with everything saved."""

    code = "interrupted"

    def __init__(self, message: str, *, signal: int, result: object = None) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal
        self.result = result
        """How far it came, for the JSON envelope."""


class CheckFailedError(CnnkitError):
    """The command ran, and the check that it was asked for failed."""

    code = "check-failed"
    exit_code = 3

    def __init__(self, message: str, *, result: object = None) -> None:
        super().__init__(message)
        self.result = result
        """What was found, for the JSON envelope."""


class ParityError(CheckFailedError):
    """The exported file and the PyTorch model disagree beyond the tolerance."""

    code = "parity"


class AccuracyError(CheckFailedError):
    """The accuracy is below the asked-for bar."""

    code = "accuracy"


class PrecisionError(CheckFailedError):
    """A reduced precision costs more accuracy than allowed, is not faster, or leaves the range of its numbers."""

    code = "precision"


def without_frames(error: Exception) -> None:
    """Drop the frames that an error and its causes come from: kept with it, they keep all that these worked on."""
    cause: BaseException | None = error
    while cause is not None:
        cause.__traceback__ = None
        cause = cause.__cause__ or cause.__context__


def require_effect(options: Mapping[str, object], when: str) -> None:
    """Make sure that none of some options was given, which have no effect now; `when` says why.

    Raises:
        UsageError: one was.
    """
    for name, value in options.items():
        if value is not None and value is not False:
            raise UsageError(f"--{name.replace('_', '-')} has no effect {when}.")
