"""Resizing that gives the same pixels under every version of Pillow. Pillow only.

Pillow resizes in two passes, and rounds the pixels between them, so their order shows in the result. Up to version 12
the horizontal pass comes first; from 13 on Pillow chooses the order by the sizes. Here each pass is a call of its own.
"""

from PIL import Image

Box = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels of a part of an image."""


def resized(image: Image.Image, size: tuple[int, int], way: Image.Resampling, box: Box | None = None) -> Image.Image:
    """Resize an image, or the part of it in a box, first horizontally, then vertically.

    Args:
        image: of a mode without alpha.
        size: width and height of the result.
        way: the filter.
        box: the part that becomes the result; None is the whole image.
    """
    left, top, right, bottom = box or (0, 0, image.width, image.height)
    if (left, right, size[0]) != (0, image.width, image.width):
        image = image.resize((size[0], image.height), way, box=(left, 0, right, image.height))
    if (top, bottom, size[1]) != (0, image.height, image.height):
        image = image.resize(size, way, box=(0, top, size[0], bottom))
    return image
