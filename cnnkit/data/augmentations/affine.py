"""Small turns, shifts, and changes of size and proportion: for images that stay what they are under them."""

from cnnkit.data.warping import Warp

AUGMENTATION = Warp(rotation=12, scale=0.15, aspect=0.1, shear=0.15, shift=0.1)
