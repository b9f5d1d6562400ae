"""In which order an ONNX file without a card takes red, green and blue."""

from collections.abc import Mapping

import numpy as np

from cnnkit.runtime.foreign.entry import Entry
from cnnkit.runtime.foreign.options import ForeignOptions, Order
from cnnkit.runtime.foreign.preparation import Preparation
from cnnkit.runtime.foreign.signature import Signature

IMAGENET_MEAN = (0.485, 0.456, 0.406)

_MEANS = {
    "unit": np.array(IMAGENET_MEAN), "byte": 255 * np.array(IMAGENET_MEAN),
    "caffe": np.array([123.675, 116.779, 103.939]), "signed": 2 * np.array(IMAGENET_MEAN) - 1,
}  # fmt: skip
"""Of ImageNet's red, green and blue, as they are written in graphs."""
_ORDERS: Mapping[Order, str] = {"rgb": "red, green, blue (RGB)", "bgr": "blue, green, red (BGR)"}


def colours_of(
    signature: Signature, options: ForeignOptions, described: Preparation | None, declared: Order | None
) -> tuple[Order, list[str]]:
    """Return the order of the colours, and what is to be said of it: nothing where there are no three."""
    if signature.channels != 3:
        return "rgb", []
    shown: list[tuple[Order, str]] = []
    if described is not None and described.bgr:
        shown.append(("bgr", f"{described.source} says so"))
    if declared is not None:
        shown.append((declared, f"the file's metadata says {declared.upper()}"))
    if (found := _order(signature.entry)) is not None:
        shown.append((found, f"the graph subtracts the means of {found.upper()}"))
    order = options.channel_order or (shown[0][0] if shown else "rgb")
    against = next((f", though {because}" for other, because in shown if other != order), "")
    if options.channel_order is not None:
        because = f": as --channel-order says{against}" if against else ""
    elif shown:
        because = f": {shown[0][1]}{against}"
    else:  # whose values are known by channel has the usual order of these
        known = options.preprocess or (described is not None and described.scales)
        because = "" if known else ", a guess: see --channel-order"
    return order, [f"{_ORDERS[order]}{because}"]


def _order(entry: Entry) -> Order | None:
    """Return the order of the colours that a graph shows by the means that it subtracts, or None."""
    middle = entry.middle
    if middle is not None and len(middle) == 3:
        for known in _MEANS.values():
            if np.allclose(middle, known, rtol=0.02):
                return "rgb"
            if np.allclose(middle, known[::-1], rtol=0.02):
                return "bgr"
    return None
