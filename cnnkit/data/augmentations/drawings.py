"""Drawings as other hands would make them: turned, mirrored, and with other pens."""

from cnnkit.data.warping import Warp

AUGMENTATION = Warp(
    rotation=20, scale=0.2, aspect=0.15, shear=0.15, shift=0.15, warp=0.05, stroke=0.5, contrast=0.3, hflip=True
)
