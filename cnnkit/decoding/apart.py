"""Images that are decoded, and brought to a network's form, by a child process: what it is asked, and what it answers.

The child does all of it, so that what comes back is as small as a network's input. Both ends are here.
"""

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from cnnkit.cautions import Caution
from cnnkit.decoding import children
from cnnkit.decoding.file import File
from cnnkit.depth import Range, Span
from cnnkit.errors import ImageError, ImageFormatError, ImageTooLargeError
from cnnkit.files import JsonObject
from cnnkit.preprocessing import Original, Prepared, Preprocessing

_ERRORS = {error.code: error for error in (ImageError, ImageFormatError, ImageTooLargeError)}


def prepared(file: File, form: Preprocessing | None, values_range: Range | None = None) -> Prepared:
    """Let a child process prepare an image file.

    Args:
        file: the file.
        form: that it is brought to; None leaves the picture as it is, upright, grey or RGB.
        values_range: as in `cnnkit.pictures.opened`, where there is no form.

    Raises:
        ImageError: it is not acceptable, or takes too much time or memory.
    """
    request = {
        "name": file.name,
        "form": None if form is None else asdict(form),
        "formats": file.formats,
        "max_pixels": file.max_pixels,
        "values_range": values_range,
    }
    most = 3 * file.max_pixels if form is None else math.prod(form.shape)
    try:
        answer, pixels = children.ask(request, file.data, most)
        if "error" in answer:
            raise _ERRORS.get(answer["error"], ImageError)(answer["message"])
        return _prepared(answer, pixels)
    except children.DecoderError as error:
        raise ImageError(f"{file.name} {error}.") from error
    except (KeyError, TypeError, ValueError) as error:  # the file may have taken over the process that decoded it
        raise ImageError(f"{file.name} is damaged: its decoder gave something else than an image.") from error


def form_of(request: JsonObject) -> Preprocessing | None:
    """Return the form that a request asks for."""
    form = request["form"]
    if form is None:
        return None
    lists = {key: tuple(value) for key, value in form.items() if isinstance(value, list)}
    return Preprocessing(**(form | lists))


def answer(image: Prepared) -> tuple[JsonObject, bytes]:
    """Return the answer with an image, and its pixels."""
    steps = [{"step": str(step), "kinds": step.kinds if isinstance(step, Caution) else None} for step in image.steps]
    header = {"shape": image.pixels.shape, "steps": steps, "original": asdict(image.original)}
    return header, image.pixels.tobytes()


def refusal(error: ImageError) -> JsonObject:
    """Return the answer where there is no image."""
    return {"error": error.code, "message": str(error)}


def _prepared(header: dict[str, Any], pixels: bytearray) -> Prepared:
    original = dict(header["original"])
    span = original.pop("span")
    return Prepared(
        np.frombuffer(pixels, np.uint8).reshape(header["shape"]),
        tuple(
            str(each["step"]) if each["kinds"] is None else Caution(each["step"], *each["kinds"])
            for each in header["steps"]
        ),
        Original(**original, span=None if span is None else Span(**span)),
    )
