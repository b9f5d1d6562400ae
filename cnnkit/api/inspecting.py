"""Looking into networks: where they are wrong."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnkit.files import expanded, require_writable
from cnnkit.loading import load
from cnnkit.operation import result_of
from cnnkit.runtime.classifier import Classifier

if TYPE_CHECKING:
    from collections.abc import Generator

    from cnnkit.results import LoadNote, LoadProgress, Mistakes, WorkProgress


def find_mistakes(
    ref: str | Path,
    *,
    data: str | None = None,
    split: Any = None,
    data_dir: str | Path | None = None,
    top: int = 36,
    batch_size: int = 256,
    skip_damaged: bool = False,
    device: str = "auto",
    trust_code: bool = False,
    output: str | Path | None = None,
) -> "Mistakes":
    """Find the images that a network gets most wrong; see `cnnkit.inspection.mistakes.find_mistakes`.

    With `output`, a folder, a page, a contact sheet and JSON are written into it.

    >>> import cnnkit
    >>> found = cnnkit.find_mistakes("shapes-cnn", data="shapes")
    >>> found.images
    300
    """
    folder = expanded(output)
    if folder is not None:
        require_writable(folder)
    result = result_of(
        mistakes_steps(
            load(ref, device=device, trust_code=trust_code, torch=True),
            data=data,
            split=split,
            data_dir=expanded(data_dir),
            top=top,
            batch_size=batch_size,
            skip_damaged=skip_damaged,
        )
    )
    if folder is not None:
        from cnnkit.render import mistakes

        mistakes.write(result, folder)
    return result


def mistakes_steps(
    classifier: Classifier, **options: Any
) -> "Generator[LoadProgress | LoadNote | WorkProgress, None, Mistakes]":
    """Do what `find_mistakes` does with a loaded classifier, and yield how far it is."""
    from cnnkit.inspection.mistakes import find_mistakes

    found = yield from find_mistakes(classifier.network, classifier.name, **options)
    return replace(found, assumptions=classifier.assumptions)
