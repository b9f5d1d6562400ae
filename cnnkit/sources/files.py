"""The files that model references name."""

from contextlib import suppress
from pathlib import Path

from cnnkit.errors import CheckpointError, guess

ENDINGS = {".onnx", ".safetensors"}
"""How the names of model files end."""
BEST = "best.safetensors"
"""Name of a run's best weights."""


def named_file(ref: object, ending: str) -> Path | None:
    """Return the file that a reference with some ending names; None for other references.

    Raises:
        CheckpointError: it does not exist, or is a folder.
    """
    if not isinstance(ref, str) or Path(ref).suffix.lower() != ending:
        return None
    path = Path(ref)
    if path.is_dir():
        raise CheckpointError(f"{ref} is a folder; expected a file.")
    if not path.is_file():
        raise CheckpointError(f"there is no file {ref}. {guess(ref, models_beside(path))}".rstrip())
    return path


def models_beside(path: Path) -> list[str]:
    """Return the runs and model files in the folder that a path is in, or would be."""
    with suppress(OSError):
        return [str(p) for p in path.parent.iterdir() if p.suffix.lower() in ENDINGS or (p / BEST).is_file()]
    return []
