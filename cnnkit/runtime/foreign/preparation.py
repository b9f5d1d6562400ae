"""How images are prepared, in the words of Hugging Face's image processors, of timm and of Ultralytics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor, isclose, isfinite
from typing import Any

from cnnkit.fits import Fit, Interpolation
from cnnkit.images import Preprocessing
from cnnkit.runtime.foreign.described import sides_of

_BY_NUMBER: tuple[Interpolation, ...] = ("nearest", "lanczos", "bilinear", "bicubic", "box")
"""Filters by Pillow's numbers."""
_SCALING = {"do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std"}
"""Keys of a processor that say how values are scaled."""
_WARPED = 384
"""ConvNeXt's processor crops below this side, and stretches from it on."""


@dataclass(frozen=True)
class Preparation:
    """What becomes of an image: `(scale * x - offset - mean) / std` of its values x from 0 to 255.

    Attributes:
        source: what says so, in words.
        sides: height and width that the network gets; None where it is not said.
        fit: how an image gets there.
        resize: its shorter side before the centre is cut out.
        interpolation: filter that it is resized by.
        scale, offset: of the values.
        mean, std: one for each channel, or one for all of them.
        bgr: the colours come as blue, green and red.
        scales: it says how the values are scaled.
        note: what is done otherwise here, in words.
    """

    source: str
    sides: tuple[int, int] | None = None
    fit: Fit | None = None
    resize: int | None = None
    interpolation: Interpolation | None = None
    scale: float = 1 / 255
    offset: float = 0.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    bgr: bool = False
    scales: bool = True
    note: str = ""

    @property
    def scale_in_words(self) -> str:
        """What becomes of the values, such as `scaled to [0, 1], mean 0.5, std 0.5`."""
        if self.offset:
            scale = f"multiplied by {self.scale:.4g}, less {self.offset:g}"
        elif isclose(255 * self.scale, 1):
            scale = "scaled to [0, 1]"
        else:
            scale = "from 0 to 255" if self.scale == 1 else f"multiplied by {self.scale:.4g}"
        mean, std = ([f"{value:.4g}" for value in values] for values in (self.mean, self.std))
        if set(mean) == {"0"} and set(std) == {"1"}:
            return f"{scale}, not normalised"
        return f"{scale}, mean {' '.join(mean)}, std {' '.join(std)}"

    def scaled(self, form: Preprocessing, *, reverse: bool) -> Preprocessing | None:
        """Return a preprocessing with these values; None where they are of another number of channels."""
        if not self.scales:
            return None
        mean, std = (each * form.channels if len(each) == 1 else each for each in (self.mean, self.std))
        if len(mean) != form.channels or len(std) != form.channels:
            return None
        if reverse:
            mean, std = mean[::-1], std[::-1]
        factor = 255 * self.scale
        return replace(
            form, mean=tuple((value + self.offset) / factor for value in mean),
            std=tuple(value / factor for value in std),
        )  # fmt: skip

    def fitted(self, form: Preprocessing) -> Preprocessing:
        """Return a preprocessing by which images get to their size as here."""
        if self.interpolation is not None:
            form = replace(form, interpolation=self.interpolation)
        if self.fit is None:
            return form
        form = replace(form, fit=self.fit, crop=1.0, resize=None)
        side = min(form.height, form.width)
        if self.fit == "cover" and self.resize is not None and side <= self.resize <= 4 * side:
            whole = form.height == form.width
            form = replace(form, resize=self.resize) if whole else replace(form, crop=side / self.resize)
        return form


def of_processor(found: Mapping[str, object], source: str) -> Preparation:
    """Read a `preprocessor_config.json`.

    Raises:
        ValueError: a value that is none, in words.
    """
    flips = found.get("do_flip_channel_order") is True
    scale = _number(found, "rescale_factor", 1 / 255) if found.get("do_rescale", True) else 1.0
    if scale <= 0:
        raise ValueError(f"rescale_factor is {scale:g}, which is not above 0")
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    if found.get("do_normalize", "image_mean" in found):
        mean, std = _values(found, "image_mean"), _values(found, "image_std")
    number = found.get("resample")
    if number is not None and (type(number) is not int or not 0 <= number < len(_BY_NUMBER)):
        raise ValueError(f"resample is {number!r}, none of the filters 0 to {len(_BY_NUMBER) - 1}")
    prepared = Preparation(
        source, scale=scale, offset=1.0 if found.get("rescale_offset") is True else 0.0, mean=mean, std=_positive(std),
        interpolation=None if number is None else _BY_NUMBER[number], bgr=flips, scales=not _SCALING.isdisjoint(found),
    )  # fmt: skip
    size, crops = found.get("size"), found.get("do_center_crop") is True
    crop = _sides(found, "crop_size") if crops and found.get("crop_size") is not None else None
    if not found.get("do_resize", True) or size is None:
        note = f"{source} crops without resizing first: here, the whole image is used" if crop else ""
        return replace(prepared, sides=crop, note=note)
    share = None if found.get("crop_pct") is None else _share(found)
    shortest = size.get("shortest_edge") if isinstance(size, Mapping) else size if crops or share else None
    if isinstance(shortest, int):
        side = _side("size", shortest)
        if share is not None:
            if side >= _WARPED:
                return replace(prepared, sides=(side, side), fit="stretch")
            return _cropped(prepared, (side, side), int(side / share))
        cropped = _cropped(prepared, crop or (side, side), side)
        note = "" if crops else f"{source} does not crop: here, the centre is cut out, for the network takes one size"
        return replace(cropped, note=note)
    sides = _sides(found, "size")
    if crop is not None and crop != sides:
        return _cropped(prepared, crop, min(sides), note=f"{sides[0]}×{sides[1]}")
    return replace(prepared, sides=sides, fit="stretch")


def of_metadata(metadata: Mapping[str, str], sides: tuple[int, int]) -> Preparation | None:
    """Return how Ultralytics' classifiers prepare images, where a file's metadata says that it is one of them.

    Args:
        metadata: of the file, which does not say how: all of them do it so.
        sides: height and width that the network gets.
    """
    if metadata.get("author") != "Ultralytics" or metadata.get("task") != "classify":
        return None
    prepared = Preparation("the file's metadata (Ultralytics)", interpolation="bilinear")
    return _cropped(prepared, sides, min(sides))


def of_timm(found: Mapping[str, object], source: str) -> Preparation:
    """Read the `pretrained_cfg` of timm's `config.json`.

    Raises:
        ValueError: a value that is none, in words.
    """
    shape = found.get("input_size")
    sides = sides_of(shape[1:]) if isinstance(shape, list | tuple) and len(shape) == 3 else None
    if sides is None:
        raise ValueError(f"input_size is {shape!r}, and not channels, height and width")
    way = found.get("interpolation")
    known: dict[Any, Interpolation] = {each: each for each in _BY_NUMBER}
    prepared = Preparation(
        source, sides=sides, mean=_values(found, "mean"), std=_positive(_values(found, "std")),
        interpolation=known.get(way) if isinstance(way, str) else None,
    )  # fmt: skip
    share = _share(found)
    mode = found.get("crop_mode", "center")
    if mode == "border":
        return replace(prepared, fit="contain")
    whole = floor(min(sides) / share)
    if mode == "squash":
        if whole == min(sides):
            return replace(prepared, fit="stretch")
        return _cropped(prepared, sides, whole, note=f"{whole}×{whole}")
    return _cropped(prepared, sides, whole)


def _cropped(prepared: Preparation, sides: tuple[int, int], shorter: int, note: str = "") -> Preparation:
    if note:  # there is no such fit here: for images that are square it is the same
        note = f"{prepared.source} stretches images to {note} before the crop: their aspect ratio is kept here"
    return replace(prepared, sides=sides, fit="cover", resize=shorter, note=note)


def _number(found: Mapping[str, Any], key: str, default: float) -> float:
    value = found.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError(f"{key} is {value!r}, and not a number")
    return float(value)


def _share(found: Mapping[str, Any]) -> float:
    share = _number(found, "crop_pct", 1.0)
    if not 0 < share <= 1:
        raise ValueError(f"crop_pct is {share:g}, which is not above 0 and at most 1")
    return share


def _values(found: Mapping[str, Any], key: str) -> tuple[float, ...]:
    values = found.get(key)
    listed: Sequence[Any] = values if isinstance(values, list | tuple) else [values]
    if len(listed) not in {1, 3} or any(isinstance(each, bool) or not isinstance(each, int | float) for each in listed):
        raise ValueError(f"{key} is {values!r}, and not one number for each channel")
    if not all(map(isfinite, listed)):
        raise ValueError(f"{key} is {values!r}, which is not finite")
    return tuple(map(float, listed))


def _positive(std: tuple[float, ...]) -> tuple[float, ...]:
    if min(std) <= 0:
        raise ValueError(f"the deviation is {list(std)}, which is not above 0")
    return std


def _sides(found: Mapping[str, Any], key: str) -> tuple[int, int]:
    value = found[key]
    sides = sides_of([value.get("height"), value.get("width")] if isinstance(value, Mapping) else value)
    if sides is None:
        raise ValueError(f"{key} is {value!r}, and no height and width")
    return sides


def _side(key: str, value: int) -> int:
    sides = sides_of(value)
    if sides is None:
        raise ValueError(f"{key} is {value!r}, and no side of an image")
    return sides[0]
