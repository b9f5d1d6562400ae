"""`cnnkit predict`."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext, redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cnnkit.arguments import BatchSize
from cnnkit.cautions import Tally
from cnnkit.cli.common import Json, refuse_model
from cnnkit.cli.completion import complete_model
from cnnkit.cli.fields import OptionsOf
from cnnkit.cli.signals import StopRequest
from cnnkit.errors import ImageError, UsageError
from cnnkit.options import Option
from cnnkit.sources import load, load_on_ray

if TYPE_CHECKING:
    from cnnkit.runtime.classifier import Classifier
    from cnnkit.runtime.prediction import Prediction


def command(
    context: typer.Context,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE…", help="Files, folders, globs, or - for stdin.")],
    *,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="Model reference. Default: digits, of the zoo.", autocompletion=complete_model
        ),
    ] = None,
    top: Annotated[int, Option("Classes to show for each image.", ge=1)] = 5,
    batch_size: BatchSize = 64,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write a row an image to FILE.csv, .jsonl or .parquet."),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"],
        Option("Engine: local, or ray, which is Ray Data on the cluster of RAY_ADDRESS, or on processes here."),
    ] = "local",
    workers: Annotated[int | None, Option("Ray workers to run on.", ge=1, default="one for each CPU")] = None,
    opened: Annotated["partial[Classifier]", OptionsOf(load)],
    json: Json = False,
) -> None:
    """Classify images; the default model reads digits as people draw them."""
    from cnnkit.render import console, envelope, predictions
    from cnnkit.zoo import DEFAULT_CLASSIFIER

    _check_engine(engine, images, workers)
    if output is not None:
        from cnnkit.render import records

        records.check(output)
    paths = find_images(images)
    sources = [_standard_input() if path is None else path for path in paths]
    name = model or DEFAULT_CLASSIFIER
    if engine == "ray":
        given = {option: value for option, value in opened.keywords.items() if option != "trust_code"}
        classifier = load_on_ray(name, workers=workers, **given)
    else:
        classifier = opened(name)
    tally = Tally()
    results = _tallied(classifier.stream(sources, top=top, batch_size=batch_size), tally)
    found: Any
    # Ray prints what it has to say of lost workers to standard output, which is for results; the error says it too.
    with StopRequest(), redirect_stdout(sys.stderr) if engine == "ray" else nullcontext():
        if output is None:
            found, bad = predictions.collect(results, len(sources))
        else:
            names = [f"image {index + 1}" if path is None else str(path) for index, path in enumerate(paths)]
            classes = min(top, len(classifier.card.labels))
            found, bad = records.save(predictions.with_bar(results, len(names)), names, output, classes=classes)
    for line in tally.summed_up():
        console.warning(line)
    origin = classifier.name, classifier.engine, classifier.assumptions
    if context.obj["json"]:
        data = dict(zip(("model", "engine", "assumptions"), origin, strict=True))
        data |= {"output" if output else "predictions": found}
        errors = [(error.code, str(error)) for error in bad]
        envelope.write("predict", data, errors=errors, status="error" if bad else "ok")
    else:
        (predictions.saved if output else predictions.show)(found, *origin, trained=classifier.card.trained)
        for error in bad:
            console.error(str(error))
    if bad:
        raise typer.Exit(ImageError.exit_code)


def _check_engine(engine: str, images: list[str], workers: int | None) -> None:
    if engine == "ray" and "-" in images:
        raise UsageError("Ray workers read the images themselves, and cannot read standard input. Save it to a file.")
    if engine == "local" and workers is not None:
        raise UsageError("--workers are those of Ray; add --engine ray.")


def _tallied(results: Iterable["Prediction | ImageError"], tally: Tally) -> Iterator["Prediction | ImageError"]:
    for result in results:
        if not isinstance(result, ImageError):
            tally.add(result.steps)
        yield result


def _standard_input() -> bytes:
    from cnnkit.pictures import MAX_BYTES

    # One byte over the cap is enough to be refused for it.
    return sys.stdin.buffer.read(MAX_BYTES + 1)


def find_images(arguments: list[str]) -> list[Path | None]:
    """Turn files, folders and globs into image files, in order; `-` becomes None.

    Raises:
        UsageError: `-` more than once, or a model.
        ImageError: a folder or glob without images. A single file is not looked at yet.
    """
    from cnnkit.pictures import SUFFIXES, how_to_convert
    from cnnkit.render import console

    if arguments.count("-") > 1:
        raise UsageError("standard input can be read once only; give - once.")
    found: list[Path | None] = []
    for argument in arguments:
        path = Path(argument)
        if argument == "-":
            found.append(None)
            continue
        refuse_model(argument, "cnnkit predict", [each for each in arguments if each != argument])
        if path.is_dir():
            from cnnkit.data.walking import left_out, walk

            inside, skipped = walk(path)
            said = left_out(skipped)
            convertible = sorted(s.ending for s in skipped if s.convertible)
            hint = f" {how_to_convert(convertible)}" if convertible else ""
            if not inside:
                raise ImageError(
                    f"the folder {argument} has no images ({', '.join(sorted(SUFFIXES))})"
                    f"{f'; {said}' if said else ''}.{hint}"
                )
            if said:
                console.warning(f"{argument}: {said}.{hint}")
            found += [path / name for name in inside]
        elif not path.exists() and any(character in argument for character in "*?["):
            # The shell leaves a quoted glob, and on Windows every glob, to the program.
            matched = sorted(
                p for p in Path(path.anchor or ".").glob(str(path.relative_to(path.anchor))) if p.is_file()
            )
            if not matched:
                raise ImageError(f"nothing matches {argument}.")
            found += matched
        else:
            found.append(path)
    return found
