"""What a child process does: decode files one after the other, until its standard input ends."""

import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from cnnkit.decoding import apart
from cnnkit.decoding.children import LENGTHS, MEMORY, SECONDS, SECONDS_A_PIXEL
from cnnkit.decoding.file import read
from cnnkit.errors import ImageError
from cnnkit.images import fitted
from cnnkit.pictures import decoded
from cnnkit.preprocessing import Original, Prepared


def main() -> None:
    """Answer all requests."""
    _limit()
    # Whatever a library prints must not get among the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    requests = sys.stdin.buffer
    while lengths := requests.read(LENGTHS.size):
        length, size = LENGTHS.unpack(lengths)
        request = json.loads(requests.read(length))
        _answer(request, requests.read(size), answers)
        answers.flush()


def _limit() -> None:
    # The parent is told to stop as well, and ends this process by closing its input.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if sys.platform != "win32":
        import resource

        with suppress(ValueError, OSError):  # a lower limit holds already, or the system has none
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _answer(request: dict[str, Any], data: bytes, answers: BinaryIO) -> None:
    pixels = b""
    try:
        header, pixels = apart.answer(_prepared(request, data))
    except ImageError as error:
        header = apart.refusal(error)
    finally:
        _allow(0)
    content = json.dumps(header).encode()
    for part in (LENGTHS.pack(len(content), len(pixels)), content, pixels):
        answers.write(part)


def _prepared(request: dict[str, Any], data: bytes) -> Prepared:
    form, values_range = apart.form_of(request), request["values_range"]
    _allow(SECONDS)
    file = replace(read(data, tuple(request["formats"]), request["max_pixels"]), name=request["name"])
    with suppress(Exception):  # what is wrong with the file is said below
        image = Image.open(BytesIO(data), formats=(file.kind,))
        _allow(SECONDS + SECONDS_A_PIXEL * min(image.width * image.height, file.max_pixels))
    picture = decoded(file, values_range if form is None else form.value_range)
    if form is not None:
        return fitted(picture, form)
    size = picture.image.size
    original = Original(
        *size, picture.mode, picture.span, first_of_frames=picture.first_of_frames, coarse=picture.coarse
    )
    return Prepared(np.asarray(picture.image), tuple(picture.steps), original)


def _allow(seconds: float) -> None:
    """End this process after so much processor time, even within a library; 0 takes that back."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)
