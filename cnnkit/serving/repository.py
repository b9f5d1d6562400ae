"""The models of a server by name, and their replacement while they serve."""

import asyncio
import difflib
import logging
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from cnnkit.errors import CnnkitError, OnnxError
from cnnkit.runtime import guard
from cnnkit.serving.batching.batcher import Batcher
from cnnkit.serving.batching.decoders import Decoders
from cnnkit.serving.batching.instance import ModelInstance
from cnnkit.serving.http.errors import HttpError
from cnnkit.serving.metrics import Metrics
from cnnkit.serving.settings import ModelSource, Settings
from cnnkit.serving.versions import Fingerprint, Versions, fingerprint
from cnnkit.words import listed

WATCH_SECONDS = 1.0
"""Between two looks at the files."""

_log = logging.getLogger("cnnkit.serving")


@dataclass(frozen=True)
class Reloaded:
    """What became of a reload; the reason is empty where the new file serves."""

    model: str
    version: int
    reason: str = ""


class Repository:
    """The models, each behind its batcher. Only one is loaded at a time, beside those that serve.

    Attributes:
        batchers: by the name of their model.
        decoders: decode what a batch does not wait for; their threads also draw feature maps.
    """

    def __init__(self, sources: Sequence[ModelSource], settings: Settings, metrics: Metrics) -> None:
        self.sources = {source.name: source for source in sources}
        self.batchers: dict[str, Batcher] = {}
        self.decoders = Decoders()
        self._settings = settings
        self._metrics = metrics
        self._reload_file = settings.shared / "reload" if settings.shared is not None else None
        self._loading = asyncio.Lock()
        self._seen: dict[str, Fingerprint] = {}
        self._opened: list[ModelInstance] = []
        self._versions = Versions(settings.shared)
        self._asked = fingerprint(self._reload_file)

    def open(self) -> None:
        """Open all models, or raise CnnkitError."""
        guard.allow()
        for name, source in self.sources.items():
            self._seen[name] = fingerprint(source.path)
            self._opened.append(self._numbered(ModelInstance(source, self._settings)))

    def serve(self) -> None:
        """Put the opened models behind their queues, on the event loop that runs."""
        for model in self._opened:
            self.batchers[model.name] = Batcher(model, self._settings, self._metrics, self.decoders)
            self._metrics.serving(model.info)
        self._opened.clear()

    def batcher(self, name: str) -> Batcher:
        """Return the batcher of a model, or raise HttpError 404."""
        try:
            return self.batchers[name]
        except KeyError:
            close = difflib.get_close_matches(name.lower(), self.batchers, n=1, cutoff=0.5)
            meant = f" Did you mean {close[0]}?" if close else ""
            names = listed(self.batchers, 10)
            message = f"there is no model {name[:80]!r}; this server has {names}.{meant}"
            raise HttpError(404, "unknown-model", message) from None

    async def watch(self) -> None:
        """Reload the models whose files change, for ever."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            before, self._asked = self._asked, fingerprint(self._reload_file)
            everything = self._asked != before
            for name, source in self.sources.items():
                found = fingerprint(source.path)
                if found is None and self._seen[name] is not None:
                    said = "%s: its file is gone; version %d still serves"
                    _log.warning(said, name, self.batchers[name].model.version, extra={"event": "file-gone"})
                    self._seen[name] = None
                changed = self._settings.watch and found is not None and found != self._seen[name]
                if changed:
                    # A file that is still being written is another one a moment later.
                    await asyncio.sleep(WATCH_SECONDS / 10)
                    changed = self._seen[name] != found == fingerprint(source.path)
                if changed or everything:
                    await self.reload(name)

    def tell_other_workers(self) -> None:
        """Let the other workers behind the port reload as well."""
        if self._reload_file is not None:
            self._reload_file.write_text(secrets.token_hex(), "ascii")
            self._asked = fingerprint(self._reload_file)

    async def reload(self, name: str) -> Reloaded:
        """Load a model's file again, and let it serve in place of the old one if it passes its trial.

        The file is first opened in another process (see `cnnkit.runtime.guard`): whatever it does there, the old one
        still serves.
        """
        async with self._loading:
            source, batcher = self.sources[name], self.batchers[name]
            self._seen[name] = fingerprint(source.path)
            old = batcher.model
            try:
                new = await asyncio.to_thread(ModelInstance, source, self._settings)
                _require_same_interface(old, new)
                self._numbered(new)
            except Exception as error:
                reason = str(error) if isinstance(error, CnnkitError) else f"{type(error).__name__}: {error}"
                self._metrics.reloaded(name, "refused")
                _log.error("%s stays at version %d: %s", name, old.version, reason, extra={"event": "reload-refused"})
                return Reloaded(name, old.version, reason)
            if new.version == old.version:
                self._metrics.reloaded(name, "unchanged")
                said = "%s stays at version %d: the file is the same"
                _log.info(said, name, old.version, extra={"event": "unchanged"})
                return Reloaded(name, old.version)
            batcher.replace(new)
            self._metrics.serving(new.info, old.info)
            self._metrics.reloaded(name, "swapped")
            _log.info("%s is at version %d", name, new.version, extra={"event": "reloaded"})
            return Reloaded(name, new.version)

    def _numbered(self, model: ModelInstance) -> ModelInstance:
        model.version = self._versions.number(model.name, model.network.session.sha256)
        return model

    def stop_loading(self) -> None:
        """End the trial of a new file at once: the server is ending."""
        guard.end_all()

    def close(self) -> None:
        """Let all threads end."""
        for batcher in self.batchers.values():
            batcher.close()
        self.decoders.close()


def _require_same_interface(old: ModelInstance, new: ModelInstance) -> None:
    """Make sure that clients of the old model can go on with the new one; else OnnxError."""
    before, after = _interface(old), _interface(new)
    differing = [name for name in before if before[name] != after[name]]
    if differing:
        raise OnnxError(
            f"its {' and '.join(differing)} are not those of the file that serves; "
            "images may be on their way to that. Serve it under another name, or restart the server."
        )


def _interface(model: ModelInstance) -> dict[str, object]:
    """Return what images are prepared by before it is known which version answers, and what clients rely on.

    Mean and standard deviation are part of the network where it takes pixels: each version applies its own.
    """
    card = model.classifier.card
    form = asdict(card.preprocessing)
    if not card.raw_input:
        form.pop("mean"), form.pop("std")
    return {
        "labels": card.labels,
        "tensors": (model.inputs, model.outputs, model.network.output),
        **{f"preprocessing ({name})": value for name, value in form.items()},
    }
