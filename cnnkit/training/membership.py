"""Which images a network has seen, as lists of the hashes of their contents: a run folder keeps one."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cnnkit.card import ModelCard
from cnnkit.data.catalogue import Catalogue
from cnnkit.data.results import Exposure
from cnnkit.data.splits import PARTS, Part, SplitName, digest_of_pairs

LIST = "split.csv"
"""The file of a run folder with a line for each image: hash, split, class and name.

What the starting weights were trained and validated on has the splits `pretraining` and `pretraining-validation`, and
neither class nor name.
"""

_HEADER = ("sha256", "split", "class", "image")
_PRETRAINED, _PREVALIDATED = "pretraining", "pretraining-validation"
_EARLIER = (_PRETRAINED, _PREVALIDATED)
_SEEN: tuple[Part, ...] = ("train", "validation")


@dataclass(frozen=True)
class Membership:
    """The images that a network has seen.

    Attributes:
        hashes: what the content of an image is, as of `SplitRecord`.
        trained: contents that its weights were trained on, those of earlier trainings included.
        validated: contents that chose its best epoch, or that of an earlier training.
        dataset: name of the data set that it was trained on.
        names: of the images of it that it was trained and validated on.
        pretraining: whether the images that its starting weights were trained on are known.
        exact: it is known by the contents of the images, not by names and sizes of files.
    """

    hashes: Literal["file", "pixels"]
    trained: frozenset[str]
    validated: frozenset[str]
    dataset: str | None = None
    names: frozenset[str] = frozenset()
    pretraining: Literal["none", "known", "unknown"] = "none"
    exact: bool = True

    def exposure(self, known: Catalogue, split: SplitName) -> Exposure:
        """Return what the network has seen of a split."""
        if self.hashes != known.record.hashes:
            return Exposure(pretraining=self.pretraining)
        trained = validated = changed = 0
        for position in positions_of(known, split):
            content = known.contents[position]
            if content in self.trained:
                trained += 1
            elif content in self.validated:
                validated += 1
            # Saved anew, an image is the same to the network, and another file.
            elif known.name == self.dataset and known.origins[position] in self.names:
                changed += 1
        return Exposure(True, trained, validated, self.pretraining, self.exact, changed)


def positions_of(known: Catalogue, split: SplitName) -> list[int]:
    """Return the positions of the images of a split; `all` is the three together."""
    parts = PARTS if split == "all" else (split,)
    return [position for part in parts for position in known.parts[part].tolist()]


def contents_of(known: Catalogue, split: SplitName) -> list[str]:
    """Return the hashes of the images of a split; `all` is the three together."""
    return [known.contents[position] for position in positions_of(known, split)]


def write_list(known: Catalogue, earlier: Membership | None = None) -> bytes:
    """Return the content of a run folder's list; `earlier` is what the starting weights have seen."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADER)
    for part in PARTS:
        for position in known.parts[part].tolist():
            label = known.classes[known.targets[position]]
            writer.writerow((known.contents[position], part, label, known.origins[position]))
    if earlier is not None:
        writer.writerows((content, _PRETRAINED, "", "") for content in sorted(earlier.trained))
        writer.writerows((content, _PREVALIDATED, "", "") for content in sorted(earlier.validated))
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
    if not card.trained:
        kind = known.record.hashes if known is not None else "file"
        return Membership(kind, frozenset(), frozenset(), card.dataset, frozenset(), card.known_pretraining)
    path = Path(reference)
    listed = _read_list(path if path.is_dir() else path.parent) if record is not None else None
    if record is not None and listed is not None and listed[0] == record.digest:
        _, trained, validated, names = listed
        return Membership(record.hashes, trained, validated, card.dataset, names, card.known_pretraining)
    if known is None or not _is_of_training(card, known):
        return None
    return Membership(
        known.record.hashes,
        frozenset(contents_of(known, "train")),
        frozenset(contents_of(known, "validation")),
        card.dataset,
        frozenset(known.origins[at] for part in _SEEN for at in positions_of(known, part)),
        "none" if card.pretraining is None else "unknown",  # the list of the earlier trainings is not at hand
        exact=record is not None,
    )


def _is_of_training(card: ModelCard, known: Catalogue) -> bool:
    """Whether a data set, divided as the card says, is the one that the network was trained on."""
    if card.split is not None:
        return card.split.digest == known.record.digest
    # Cards of versions before 0.2 know only the names and sizes of the files.
    record = known.record
    own = (record.by, record.seed, record.validation_fraction, record.test_fraction)
    return card.fingerprint == known.fingerprint and own == tuple(card.split_settings.values())


def _read_list(folder: Path) -> tuple[str, frozenset[str], frozenset[str], frozenset[str]] | None:
    """Return the digest of a folder's list, the contents trained and validated on, and the names of these images.

    None where it has no list.
    """
    try:
        with (folder / LIST).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = [(row["sha256"], row["split"], row["image"]) for row in csv.DictReader(file)]
    except (OSError, KeyError, csv.Error):
        return None
    of = {split: frozenset(content for content, part, _ in rows if part == split) for split in (*_SEEN, *_EARLIER)}
    digest = digest_of_pairs((content, part) for content, part, _ in rows if part in PARTS)
    names = frozenset(name for _, part, name in rows if part in _SEEN)
    return digest, of["train"] | of[_PRETRAINED], of["validation"] | of[_PREVALIDATED], names
