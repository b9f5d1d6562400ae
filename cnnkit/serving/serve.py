"""`cnnkit.serve`: trained networks over HTTP."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from cnnkit.errors import UsageError
from cnnkit.runtime.foreign.options import Described, ForeignOptions
from cnnkit.sources import Ref, find
from cnnkit.zoo import DEFAULT_CLASSIFIER

if TYPE_CHECKING:
    from cnnkit.serving.settings import ModelSource, Settings

# As browsers write it: in small letters, and without the port that goes without saying.
_ORIGIN = re.compile(r"(http(?!.*:80$)|https(?!.*:443$))://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?|\*|null")
_KEY = re.compile(r"[!-~]{1,512}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def serve(
    refs: Sequence[Ref] = (),
    settings: "Settings | None" = None,
    **foreign: Unpack[Described],
) -> None:
    """Serve models over HTTP until SIGTERM or Ctrl-C ends it; what happens is written to the log.

    Args:
        refs: ONNX files, zoo entries and architectures that have one; `NAME=REF` gives one of them another name.
            Empty for the model that reads digits.
        settings: of the server; None for the defaults.
        foreign: how to use files without a card, as for `load`.

    Raises:
        UsageError: two models of one name, or settings that contradict each other.
        UnknownNameError, CheckpointError, OnnxError, ZooError: a model that is unavailable, or not exported.
        DeviceError: the device is unavailable.
        ServerError: the address cannot be used, or the workers die.
    """
    from cnnkit.serving.process import logs
    from cnnkit.serving.process.server import run
    from cnnkit.serving.settings import Settings

    settings = settings or Settings()
    _check(settings)
    sources = served_models(refs, ForeignOptions.of(**foreign))
    logs.configure(settings.log_format)
    run(sources, settings)


def read_api_keys(path: Path) -> tuple[str, ...]:
    """Return the API keys in a file: one a line, without blank lines and those that begin with #.

    Raises:
        UsageError: it cannot be read, or has none.
    """
    try:
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except OSError as error:
        raise UsageError(f"--api-key-file {path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError:
        raise UsageError(f"--api-key-file {path} is not a text file in UTF-8; write one key a line.") from None
    keys = tuple(line for line in lines if line and not line.startswith("#"))
    if not keys:
        raise UsageError(f"--api-key-file {path} has no key; write one a line.")
    return keys


def _check(settings: "Settings") -> None:
    for origin in settings.cors:
        if not _ORIGIN.fullmatch(origin):
            raise UsageError(f"--cors {origin!r} is not an origin; write it as browsers do: https://example.org:8443")
    if not all(_KEY.fullmatch(key) for key in settings.api_keys):
        raise UsageError("an API key must be 1 to 512 visible ASCII characters without spaces.")


def served_models(refs: Sequence[Ref], options: ForeignOptions | None = None) -> "list[ModelSource]":
    """Return what references name, under the names that they are served by.

    Raises:
        UsageError, UnknownNameError, CheckpointError: as for `serve`.
    """
    from cnnkit.serving.settings import ModelSource

    sources: dict[str, ModelSource] = {}
    for text in refs or [DEFAULT_CLASSIFIER]:
        name, ref = _named(str(text)) if isinstance(text, str | Path) else ("", text)
        found = find(ref)
        ref, path = found.text, found.require_exported().path
        name = name or (ref if path is None else path.stem)
        source = ModelSource(name, ref, path, options if options and path else ForeignOptions())
        if not _NAME.fullmatch(name) or name == "stats":  # whose path is that of all models' statistics
            raise UsageError(
                f"{name!r} cannot be a model's name in a URL, which has letters from A to Z, digits, dots, hyphens and "
                f"underscores{', and is not stats' * (name == 'stats')}. Give it another: 'NAME={ref}'"
            )
        if name in sources:
            raise UsageError(
                f"two models are called {name}: {sources[name].ref} and {ref}. Give one another name: 'NAME={ref}'"
            )
        sources[name] = source
    if options and not any(source.path for source in sources.values()):
        raise UsageError(f"{options.listed}: only for ONNX files without a model card; the zoo's have one.")
    return list(sources.values())


def _named(text: str) -> tuple[str, str]:
    """Split `NAME=REF`; a path may have an equals sign of its own."""
    name, equals, ref = text.partition("=")
    return (name, ref) if equals and _NAME.fullmatch(name) and not Path(text).exists() else ("", text)
