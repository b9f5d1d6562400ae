"""Which images a network has seen, as lists of the hashes of their contents: a run folder keeps one."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cnnkit.card import ModelCard
from cnnkit.results import Exposure
from cnnkit.splits import PARTS, SplitName, digest_of_pairs
from cnnkit.training.catalogue import Catalogue

LIST = "split.csv"
"""The file of a run folder with a line for each image: hash, split, class and name.

Images that only the starting weights were trained on have the split `pretraining`, and neither class nor name.
"""

_HEADER = ("sha256", "split", "class", "image")
_PRETRAINING = "pretraining"


@dataclass(frozen=True)
class Membership:
    """The images that a network has seen.

    Attributes:
        hashes: what the content of an image is, as of `SplitRecord`.
        trained: contents that its weights were trained on, those of earlier trainings included.
        validated: contents that chose its best epoch.
        pretraining: whether the images that its starting weights were trained on are known.
    """

    hashes: Literal["file", "pixels"]
    trained: frozenset[str]
    validated: frozenset[str]
    pretraining: Literal["none", "known", "unknown"] = "none"

    def exposure(self, known: Catalogue, split: SplitName) -> Exposure:
        """Return what the network has seen of a split."""
        if self.hashes != known.record.hashes:
            return Exposure(pretraining=self.pretraining)
        contents = contents_of(known, split)
        trained = sum(content in self.trained for content in contents)
        validated = sum(content in self.validated and content not in self.trained for content in contents)
        return Exposure(True, trained, validated, self.pretraining)


def contents_of(known: Catalogue, split: SplitName) -> list[str]:
    """Return the hashes of the images of a split; `all` is the three together."""
    parts = PARTS if split == "all" else (split,)
    return [known.contents[position] for part in parts for position in known.parts[part].tolist()]


def write_list(known: Catalogue, pretrained: Iterable[str] = ()) -> bytes:
    """Return the content of a run folder's list; `pretrained` are contents that starting weights were trained on."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADER)
    for part in PARTS:
        for position in known.parts[part].tolist():
            label = known.classes[known.targets[position]]
            writer.writerow((known.contents[position], part, label, known.origins[position]))
    writer.writerows((content, _PRETRAINING, "", "") for content in sorted(set(pretrained)))
    return text.getvalue().encode(errors="surrogateescape")


def membership_of(card: ModelCard, reference: str, known: Catalogue | None = None) -> Membership | None:
    """Find out which images a network has seen: by the list beside its file, or by the data set at hand.

    Args:
        card: of the network.
        reference: that names it; a list in its folder counts where it belongs to the card.
        known: a data set that may be the one of its training, divided as the card says.

    Returns:
        None where neither says it.
    """
    record = card.split
    pretraining = card.pretraining
    earlier: Literal["none", "known", "unknown"] = (
        "none" if pretraining is None else "known" if pretraining.known else "unknown"
    )
    path = Path(reference)
    listed = _read_list(path if path.is_dir() else path.parent) if record is not None else None
    if record is not None and listed is not None and listed[0] == record.digest:
        _, trained, validated = listed
        return Membership(record.hashes, trained, validated, earlier)
    if known is None or not _is_of_training(card, known):
        return None
    trained = frozenset(contents_of(known, "train"))
    # The list of the earlier trainings is not at hand.
    return Membership(
        known.record.hashes,
        trained,
        frozenset(contents_of(known, "validation")),
        "none" if pretraining is None else "unknown",
    )


def _is_of_training(card: ModelCard, known: Catalogue) -> bool:
    """Whether a data set, divided as the card says, is the one that the network was trained on."""
    if card.split is not None:
        return card.split.digest == known.record.digest
    # Cards of versions before 0.2 know only the names and sizes of the files.
    return card.recipe is not None and card.fingerprint == known.fingerprint and known.record.by == "path"


def _read_list(folder: Path) -> tuple[str, frozenset[str], frozenset[str]] | None:
    """Return the digest of a folder's list, and the contents trained and validated on; None where it has none."""
    try:
        with (folder / LIST).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = [(row["sha256"], row["split"]) for row in csv.DictReader(file)]
    except (OSError, KeyError, csv.Error):
        return None

    def of(*parts: str) -> frozenset[str]:
        return frozenset(content for content, part in rows if part in parts)

    digest = digest_of_pairs((content, part) for content, part in rows if part in PARTS)
    return digest, of("train", _PRETRAINING), of("validation")
