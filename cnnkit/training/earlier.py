"""What versions before 0.2 wrote into states of runs, so that these can be resumed."""

import hashlib
import json
from dataclasses import asdict

from cnnkit.data.loaded import ImageData
from cnnkit.data.splits import PARTS
from cnnkit.files import sha256

_FORM = ("channels", "height", "width", "fit", "polarity", "crop")
"""The fields of a preprocessing that named an array of the cache."""


def earlier_contents(data: ImageData) -> set[str]:
    """Return the hashes that such a state may have of these images: of cached ones, and of those in memory."""
    found = set()
    known, form = data.catalogue, asdict(data.preprocessing)
    for cached in (True, False):
        digest = hashlib.sha256()
        if cached:
            content = sha256(json.dumps(dict(zip(known.origins, known.contents, strict=True))).encode())
            kind = json.dumps({name: form[name] for name in _FORM})
            digest.update(sha256(f"1 {kind} {content}".encode()).encode())
        for part in PARTS:
            split = data.split(part)
            digest.update(split.targets.numpy().data)
            if not cached:
                for images, _ in split.batches(256):
                    digest.update(images.contiguous().numpy().data)
        found.add(digest.hexdigest())
    return found
