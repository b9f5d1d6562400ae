"""Images that a network's preprocessing leaves as they are: what is drawn there is what the network sees."""

import numpy as np
from numpy.typing import NDArray

from cnnkit.images import Preprocessing
from cnnkit.pictures import Pixels

Values = NDArray[np.float64]

_BOX = slice(4, 24)
"""Rows and columns of a boxed symbol; their centre, 13.5, is as near to 14 as the box allows."""
_CENTRE = 14.0
_OFF = 0.4
"""How far the centre of mass may be from there, in pixels; `cnnkit.ink` allows half a pixel, rounding included."""
_ROUNDS = 20


class Canvas:
    """The free pixels of such an image, and the way back to it.

    Attributes:
        shape: height, width, channels, as the network sees it.
        free: the values that may be anything, bool [H, W, C].
    """

    def __init__(self, form: Preprocessing) -> None:
        self.form, self.shape = form, form.shape
        self.free = np.ones(form.shape, bool)
        self._ground = 0.0
        self._limits: list[Values] = []
        if form.fit == "mnist-box":
            self.free[:] = False
            self.free[_BOX, _BOX] = True
            for places in np.mgrid[0 : form.height, 0 : form.width][..., None] - _CENTRE:
                self._limits += [(places - _OFF) * self.free, (-places - _OFF) * self.free]
        elif form.polarity != "as-is":
            # The border tells which way round an image is, so it has to be the ground.
            self.free[[0, -1]] = self.free[:, [0, -1]] = False
            self._ground = 0.0 if form.polarity == "light-on-dark" else 255.0

    def project(self, values: Values) -> Values:
        """Return the image of this kind that is about the nearest to `values`, float64 [H, W, C] in [0, 255]."""
        # No free value is quite black: that the symbol fills its box is seen by what is not.
        values = np.where(self.free, np.clip(values, 1, 255), self._ground)
        for _ in range(_ROUNDS):
            # Each limit is linear, `limit · values <= 0`, and the step to its edge is straight.
            over = [(limit, float((limit * values).sum())) for limit in self._limits]
            if all(excess <= 0 for _, excess in over):
                break
            for limit, excess in over:
                if excess > 0:
                    values = values - (1.02 * excess / np.square(limit).sum()) * limit
            values = np.where(self.free, np.clip(values, 1, 255), self._ground)
        return values

    def framed(self, values: Values) -> Pixels:
        """Return the image to save, uint8 [H', W', C]: with a margin where the preprocessing crops one away."""
        pixels = np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)
        if not self.form.crops:
            return pixels
        margins = [round(side / self.form.share) - side for side in self.shape[:2]]
        # The first is rounded as the crop rounds where it begins.
        edges = [(round(margin / 2), margin - round(margin / 2)) for margin in margins]
        return np.pad(pixels, [*edges, (0, 0)], mode="edge")
