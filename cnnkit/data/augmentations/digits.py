"""Digits as other people would write them, with other pens."""

from cnnkit.data.warping import Warp

AUGMENTATION = Warp(
    rotation=12, scale=0.2, aspect=0.25, shear=0.15, shift=0.12, warp=0.08, stroke=0.8, blur=0.8, contrast=0.5
)
