"""How pixels are scaled for an ONNX file without a card: as the user says, or as its first operations show."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite
from types import MappingProxyType

import numpy as np

from cnnkit import ink
from cnnkit.errors import UsageError
from cnnkit.images import Preprocessing
from cnnkit.runtime.foreign.colours import IMAGENET_MEAN, colours_of
from cnnkit.runtime.foreign.described import Declared, pixels_in
from cnnkit.runtime.foreign.entry import Entry
from cnnkit.runtime.foreign.options import ForeignOptions, Order, Pixels
from cnnkit.runtime.foreign.preparation import Preparation
from cnnkit.runtime.foreign.signature import Signature
from cnnkit.runtime.foreign.traces import LARGEST_UNIT
from cnnkit.words import counted

IMAGENET_STD = (0.229, 0.224, 0.225)

# Units in which a value of 0 to 255 is written: x / 255 = (x' - low) * factor.
_UNITS: Mapping[Pixels, tuple[float, float]] = {"unit": (0.0, 1.0), "byte": (0.0, 1 / 255), "signed": (-1.0, 0.5)}
_IN_WORDS: Mapping[Pixels, str] = {"unit": "scaled to [0, 1]", "byte": "from 0 to 255", "signed": "scaled to [-1, 1]"}

_DIVIDED = 0.05
"""A graph that multiplies by less takes numbers up to 255: 1/255 is 0.004, and 0.02 after dividing by the deviation."""
_CENTRED = 0.3
"""Largest mean, in deviations, of values less that of all images; of 0 to 255 it is 0.42 in MNIST, 1.5 in photos."""
_SIGNED = 0.9
"""Deviation of values from -1 to 1: 0.54 in photos, 0.7 in print; normalised ones have 1 and more."""


@dataclass(frozen=True)
class Scaling:
    """How images get to the network.

    Attributes:
        preprocessing: their size and scale.
        channel_order: in which the network takes the colours.
        said: what was assumed, in words.
    """

    preprocessing: Preprocessing
    channel_order: Order
    said: tuple[str, ...]


def preprocessing_of(
    signature: Signature,
    options: ForeignOptions,
    beside: Preparation | None = None,
    metadata: Mapping[str, str] = MappingProxyType({}),
) -> Scaling:
    """Return how images get to a network: as the user says; for what they leave open, as the graph or a file beside it.

    Args:
        signature: of the network.
        options: of the user.
        beside: what a file beside it says.
        metadata: of the file itself.

    Raises:
        UsageError: options that contradict each other or the network.
    """
    _check_values(signature, options)
    described = beside if options.preprocess != "imagenet" else None
    declared = pixels_in(metadata, channels=signature.channels, dtype=signature.dtype)
    order, colours = colours_of(signature, options, described, declared.order)
    channels = signature.channels
    form = Preprocessing(3 if channels == 3 else 1, signature.height, signature.width, (0.0,) * channels,
                         (1.0,) * channels)  # fmt: skip
    form, preset = _preset(form, signature, options)
    form, scaled = _scaled(form, signature, options, described, order, declared)
    form, fitted = _fitted(form, described if options.preprocess is None else None)
    return Scaling(form, order, (*preset, *scaled, *fitted, *colours, *declared.notes))


def _preset(form: Preprocessing, signature: Signature, options: ForeignOptions) -> tuple[Preprocessing, list[str]]:
    """Return a form with the size that `--preprocess` stands for, and what is to be said of it."""
    if options.preprocess == "mnist":
        said = "a drawn symbol as in MNIST: light on black, its ink in the middle"
        return replace(form, fit="mnist-box", polarity="light-on-dark"), [said]
    if options.preprocess is None:
        is_mnist = form.input_shape == (1, *ink.SHAPE)
        return form, ["pictures stay light or dark: for ink on paper, see --preprocess mnist"] if is_mnist else []
    form = replace(form, fit="cover", crop=0.875)
    if form.height == form.width:  # then the pixels are those of torchvision: 256 for 224
        form = replace(form, crop=1.0, resize=round(form.height * 8 / 7))
    own = "" if _normalises(signature, options) else "; the network normalises by itself"
    return form, [f"ImageNet preprocessing: shorter side to 8/7 of the input, centre crop{own}"]


def _normalises(signature: Signature, options: ForeignOptions) -> bool:
    """Whether `--preprocess` normalises the values: a graph that scales them itself does so already."""
    return options.preprocess == "imagenet" and not signature.entry.scales and signature.dtype != "uint8"


def _scaled(
    form: Preprocessing,
    signature: Signature,
    options: ForeignOptions,
    described: Preparation | None,
    order: Order,
    declared: Declared,
) -> tuple[Preprocessing, list[str]]:
    """Return a form with the mean and the deviation that a network takes, and what is to be said of them."""
    known, entry = _pixels(signature, options, declared), signature.entry
    unsaid = options.pixels is None and options.mean is None and options.std is None
    notes = []
    if signature.dtype == "uint8":
        if described is not None and described.scales:
            notes.append(f"{described.source} is not used for their scale: the network takes whole numbers")
        return form, ["pixels from 0 to 255, as whole numbers", *notes]
    if described is not None and described.scales and unsaid:
        # Where the graph scales, it has these values in it already, and they would count twice.
        own = entry.scales or entry.normalises
        by_file = None if own else described.scaled(form, reverse=order == "bgr")
        if by_file is not None:
            opposed = declared.pixels is not None and (declared.pixels == "byte") != (described.scale == 1)
            other = f", though {declared.because}" if opposed else ""
            return by_file, [f"pixels {described.scale_in_words}, by {described.source}{other}"]
        why = "the graph scales them itself" if own else "it is for other channels"
        notes.append(f"{described.source} is not used for their scale: {why}")
    # What the user says comes in the order of the network; the others have that of the pixels.
    mean, std = (values[::-1] if values and order == "bgr" else values for values in (options.mean, options.std))
    low, factor = _UNITS[known.pixels]
    means, deviations = ((value - low) * factor for value in mean or form.mean), (v * factor for v in std or form.std)
    form = replace(
        form,
        mean=known.mean if known.mean and mean is None else tuple(means),
        std=known.std if known.std and std is None else tuple(deviations),
    )
    return form, [f"pixels {_IN_WORDS[known.pixels]}{_normalised(options, entry, known)}{known.because}", *notes]


def _fitted(form: Preprocessing, described: Preparation | None) -> tuple[Preprocessing, list[str]]:
    """Return a form with the fit of the file beside a network, and what is to be said of it."""
    notes = [described.note] if described is not None and described.note else []
    if described is not None and described.fit is not None:
        if described.sides == (form.height, form.width):
            form = described.fitted(form)
            crop = "" if form.resize is None else f", shorter side {form.resize}"
            return form, [f"fit {form.fit}{crop}, {form.interpolation}, by {described.source}", *notes]
        notes = [f"{described.source} is for other sizes: its resizing is not used"]
    padded = "the whole picture, padded (contain), a guess: see --preprocess"
    return form, [*notes, padded] if form.fit == "contain" else notes


@dataclass(frozen=True)
class _Known:
    """What pixels are scaled to and how that is known; mean and deviation, where they follow, of RGB in [0, 1]."""

    pixels: Pixels
    because: str = ""
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def _pixels(signature: Signature, options: ForeignOptions, declared: Declared) -> _Known:
    """Return what pixels are scaled to: as the user says, as the metadata or the graph shows, or by a guess."""
    if signature.dtype == "uint8":
        if options.pixels not in {None, "byte"}:
            raise UsageError(f"--pixels {options.pixels}: this network takes whole numbers, uint8, from 0 to 255.")
        return _Known("byte")
    shown, how = _evidence(signature.entry, declared)
    numbers = [*(options.mean or ()), *(options.std or ())]
    large = max(map(abs, numbers), default=0) > LARGEST_UNIT
    preset = _normalises(signature, options)
    values = (IMAGENET_MEAN, IMAGENET_STD) if preset else (None, None)
    if options.pixels is not None:
        if large and options.pixels != "byte":
            raise UsageError(
                f"--mean and --std are those of pixels from 0 to 255, and --pixels {options.pixels} says "
                f"{_IN_WORDS[options.pixels]}. Give them on that scale, or say --pixels byte."
            )
        other = shown and shown != options.pixels
        return _Known(options.pixels, f": as --pixels says, though {how}" if other else "", *values)
    if preset:
        pixels: Pixels = "byte" if large else "unit"
        other = shown and shown != pixels
        return _Known(pixels, f": as --preprocess says, though {how}" if other else "", *values)
    if shown:
        if numbers and large != (shown == "byte"):
            scale = "up to 1" if shown == "byte" else "from 0 to 255"
            raise UsageError(
                f"--mean and --std are those of pixels {scale}, and this network takes them {_IN_WORDS[shown]}: {how}. "
                "Leave them out, or say which scale is meant by --pixels."
            )
        return _Known(shown, f": {how}")
    if numbers:
        return _Known("byte", ": mean and deviation are of such values") if large else _Known("unit")
    return _guessed(signature)


def _evidence(entry: Entry, declared: Declared) -> tuple[Pixels | None, str]:
    """Return what the metadata or the graph shows that a network takes, and how, in words.

    A graph that scales down from 255 counts more: it would turn smaller values into nearly nothing.
    """
    shown, how = _shown(entry)
    if declared.pixels is None or shown in {None, declared.pixels}:
        return (shown, how) if declared.pixels is None else (declared.pixels, declared.because)
    if shown == "byte" and entry.scales:
        return shown, f"{how}, though {declared.because}"
    return declared.pixels, f"{declared.because}, though {how}"


def _guessed(signature: Signature) -> _Known:
    """Return what a network takes by the traces of its training, or else what is most usual."""
    met, see = signature.entry.met, "see --pixels, --mean, --std and --preprocess"
    if met is None:
        if signature.entry.faint:
            return _Known("byte", f", a guess: its first weights are too small for less; {see}")
        return _Known("unit", f", a guess: {see}")
    because, spread = f", a guess: {met.in_words}; {see}", max(abs(met.mean), met.std)
    if spread > LARGEST_UNIT:
        # Caffe's networks take values of 0 to 255 less their mean.
        centred = signature.channels == 3 and abs(met.mean) < _CENTRED * met.std
        return _Known("byte", because, mean=IMAGENET_MEAN if centred else None)
    # Values from 0 to 1 of mean m deviate by at most the root of m (1 - m).
    if 0 < met.mean < 1 and met.std**2 < 1.2 * met.mean * (1 - met.mean):
        return _Known("unit", because)
    if spread < _SIGNED:
        return _Known("signed", because)
    if signature.channels == 3:
        return _Known("unit", because, IMAGENET_MEAN, IMAGENET_STD)
    return _Known("unit", f", which they were not in training, {met.in_words}: {see}")


def _shown(entry: Entry) -> tuple[Pixels | None, str]:
    """Return what a graph takes by what it does to its input first."""
    if entry.scale is None or entry.shift is None:
        return ("byte", "the graph normalises each image by itself") if entry.normalises else (None, "")
    scale, middle = float(np.abs(entry.scale).mean()), entry.middle
    if scale < _DIVIDED:
        return "byte", f"the graph multiplies them by {scale:.2g} itself"
    if middle is not None and float(middle.mean()) > 10:
        return "byte", "the graph subtracts their mean itself"
    if middle is not None and np.allclose(middle, -1, atol=0.02):
        return "signed", "the graph adds 1 to them itself"
    means = sorted(2 * np.array(IMAGENET_MEAN) - 1)
    if middle is not None and len(middle) == 3 and np.allclose(sorted(middle), means, atol=0.01):
        return "signed", "the graph subtracts the mean of such values itself"
    return "unit", "the graph scales them further itself"


def _normalised(options: ForeignOptions, entry: Entry, known: _Known) -> str:
    if options.mean is None and options.std is None:
        if known.mean is not None:
            return " and normalised by ImageNet's mean and deviation" if known.std else " less ImageNet's mean"
        return "" if entry.scales else ", not normalised"
    usual = ("ImageNet's", "ImageNet's") if known.std else ("0", "1")
    parts = [f"{name} {'as given' if value is not None else default}" for name, value, default in
             zip(("mean", "std"), (options.mean, options.std), usual, strict=True)]  # fmt: skip
    twice = ", after which the graph scales them, too" if entry.scales else ""
    return f", {', '.join(parts)}{twice}"


def _check_values(signature: Signature, options: ForeignOptions) -> None:
    channels = signature.channels
    if options.channel_order is not None and channels != 3:
        raise UsageError(f"--channel-order is for 3 channels; this network has {channels}.")
    if options.preprocess == "imagenet" and channels != 3:
        raise UsageError(f"--preprocess imagenet is for 3 channels; this network has {channels}.")
    if options.preprocess == "mnist" and (channels, signature.height, signature.width) != (1, *ink.SHAPE):
        sides = f"{signature.height}×{signature.width}"
        raise UsageError(
            f"--preprocess mnist is for 1 channel of {ink.SHAPE[0]}×{ink.SHAPE[1]}; this network has "
            f"{channels} of {sides}."
        )
    for option, given in (("--mean", options.mean), ("--std", options.std)):
        if given is None:
            continue
        if signature.dtype == "uint8":
            raise UsageError(f"{option} is for networks that take floats; this one takes whole numbers (uint8).")
        if len(given) != channels:
            raise UsageError(f"{option} needs {counted(channels, 'value')}, one for each channel; got {len(given)}.")
        if not all(map(isfinite, given)):
            raise UsageError(f"{option} needs finite numbers; got {given}.")
    if options.std is not None and min(options.std) <= 0:
        raise UsageError("--std must be positive.")
