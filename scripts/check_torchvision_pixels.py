"""What cnnkit makes of an image for the weights of torchvision's classifiers, against `weights.transforms()`.

    python scripts/check_torchvision_pixels.py [NAME ...] [--photos FOLDER]

Twenty images of different shapes and modes are drawn: smooth gradients, edges and noise. With `--photos`, those of a
folder are compared too. Each is decoded and prepared by cnnkit from the content of its file, and by torchvision from
the image that Pillow opens, converted to RGB. Both go to pixels from 0 to 255, before mean and deviation.

At least 99.9% of the values of every image and network must be within 1 level. Exit code 3 where they are not, or
where mean or deviation differ; those of GoogLeNet and Inception are the ones that their `transform_input` amounts to.
"""

import argparse
import io
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import PIL
import torchvision
from numpy.typing import NDArray
from PIL import Image

from cnnkit.images import Preprocessing, prepare
from cnnkit.sources import find

SHAPES = [
    (500, 375), (375, 500), (224, 224), (1000, 200), (200, 1000), (300, 301), (301, 300), (37, 61), (61, 37),
    (256, 256), (255, 257), (4000, 3000), (641, 427), (1, 1), (2, 90), (299, 299), (343, 342), (800, 801),
    (1280, 719), (519, 518),
]  # fmt: skip
MODES = {(375, 500): "L", (300, 301): "RGBA", (641, 427): "P", (800, 801): "CMYK"}
ENOUGH = 0.999


def main() -> int:
    """Compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--photos", type=Path, help="folder of JPEG files to compare too")
    arguments = parser.parse_args()
    files = [drawn(*shape) for shape in SHAPES]
    if arguments.photos:
        files += [path.read_bytes() for path in sorted(arguments.photos.rglob("*.jpg"))]
    groups = defaultdict(list)
    for name in arguments.names or torchvision.models.list_models(module=torchvision.models):
        groups[torchvision_preprocessing(name), str(transforms_of(name))].append(name)
    worst, failed, values = 1.0, 0, 0
    print(f"{'resize':>6} {'crop':>5} {'filter':8} {'same':>9} {'within 1':>9} {'worst':>9} {'most':>4}  networks")
    for (form, _), names in groups.items():
        shares, same, most = [], 0.0, 0
        for file in files:
            difference = np.abs(levels(file, names[0]) - prepare(file, form).pixels)
            shares.append(float((difference <= 1).mean()))
            same += float((difference == 0).mean()) / len(files)
            most = max(most, int(difference.max()))
            values += difference.size * len(names)
        good = min(shares) >= ENOUGH and all(same_scale(form, name) for name in names)
        failed += 0 if good else len(names)
        worst = min(worst, *shares)
        mean = sum(shares) / len(shares)
        numbers = f"{form.resize:6} {form.width:5} {form.interpolation:8} {same:9.4%} {mean:9.4%} {min(shares):9.4%}"
        some = f"{len(names)}: {', '.join(names[:3])}{' …' if len(names) > 3 else ''}"
        print(f"{numbers} {most:4}  {some}{'' if good else '  DIFFERS'}")
    count = sum(map(len, groups.values()))
    print(f"{count - failed} of {count} networks as torchvision on {len(files)} images ({values:,} values); ", end="")
    print(f"worst image: {worst:.4%} within 1 level")
    print(f"torchvision {torchvision.__version__}, Pillow {PIL.__version__}")
    return 3 if failed else 0


def torchvision_preprocessing(name: str) -> Preprocessing:
    """Return how cnnkit prepares images for the default weights of a network."""
    source = find(f"torchvision/{name}")
    return source.preprocessing(source.input_shape() or (3, 224, 224))


def drawn(width: int, height: int) -> bytes:
    """Return a PNG, or a TIFF of CMYK, with gradients, edges and noise that depend on the size only."""
    random = np.random.default_rng(width * 10_007 + height)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    waves = [np.sin(2 * np.pi * (x * a + y * b + c)) for a, b, c in random.uniform(-6, 6, (3, 3))]
    picture = 128 + 60 * np.stack(waves, -1)
    for _ in range(12):  # edges
        left, right = np.sort(random.integers(0, width + 1, 2))
        top, bottom = np.sort(random.integers(0, height + 1, 2))
        picture[top:bottom, left:right] = 0.4 * picture[top:bottom, left:right] + random.uniform(0, 153, 3)
    picture += random.normal(0, 12, picture.shape)
    image = Image.fromarray(picture.clip(0, 255).astype(np.uint8)).convert(MODES.get((width, height), "RGB"))
    content = io.BytesIO()
    image.save(content, "TIFF" if image.mode == "CMYK" else "PNG")
    return content.getvalue()


def transforms_of(name: str) -> object:
    """Return the preprocessing of a network's default weights, as torchvision has it."""
    return torchvision.models.get_model_weights(name).DEFAULT.transforms()


def levels(file: bytes, name: str) -> NDArray[np.int64]:
    """Return the pixels that torchvision makes of an image, [H, W, C] from 0 to 255, before mean and deviation."""
    transform = transforms_of(name)
    made = transform(Image.open(io.BytesIO(file)).convert("RGB")).permute(1, 2, 0).double().numpy()  # type: ignore[operator]
    scaled = (made * transform.std + transform.mean) * 255  # type: ignore[attr-defined]
    return np.asarray(np.rint(scaled), np.int64)


def same_scale(form: Preprocessing, name: str) -> bool:
    """Whether mean and deviation are torchvision's, with what the network does to its input by itself."""
    transform = transforms_of(name)
    mean, std = np.array(transform.mean), np.array(transform.std)  # type: ignore[attr-defined]
    if name in {"googlenet", "inception_v3"}:
        # Those of `transform_input`: x · std / 0.5 + (mean - 0.5) / 0.5
        mean, std = mean - std * (mean - 0.5) / 0.5 / (std / 0.5), std / (std / 0.5)
    return bool(np.allclose(form.mean, mean, atol=1e-9) and np.allclose(form.std, std, atol=1e-9))


if __name__ == "__main__":
    sys.exit(main())
