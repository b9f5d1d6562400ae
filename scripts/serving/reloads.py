"""The model file replaced again and again under load, at times by a bad one: no request fails, each answer is right.

The good files are LeNet with its classes shifted, a shift for each version, so that an answer shows which weights gave
it: its label has to be that of the version it names. Each good file raises the version by one, a bad one never.
"""

import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from cnnkit import zoo
from cnnkit.card import CARD_KEY, ModelCard
from cnnkit.files import write_atomic
from cnnkit.runtime import guard
from serving.clients import Client, LostError
from serving.figures import Figure, Part
from serving.servers import LENET, Server, cnnkit_command, digit, post, running

CLIENTS, CLASSES, PATIENCE = 8, 10, 30.0
LABEL = 7
"""Of the digit, in the file that the zoo has."""


def with_card(model: onnx.ModelProto, change: Callable[[ModelCard], ModelCard] = lambda card: card) -> bytes:
    """Return a model as a file whose card fits its graph, but for what is changed in it."""
    entry = next(entry for entry in model.metadata_props if entry.key == CARD_KEY)
    card = ModelCard.from_metadata({CARD_KEY: entry.value}, "lenet")
    assert card is not None  # noqa: S101
    entry.value = change(replace(card, graph_sha256=guard.graph_sha256(model))).to_json()
    return bytes(model.SerializeToString(deterministic=True))


def changed(edit: Callable[[np.ndarray], np.ndarray]) -> onnx.ModelProto:
    """Return LeNet with the weights and biases of its last layer changed along the classes."""
    model = onnx.load(LENET)
    found = 0
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.shape in {(CLASSES, 84), (CLASSES,)}:
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(edit(values)), tensor.name))
            found += 1
    assert found == 2, "the last layer of lenet is not what it was"  # noqa: S101
    return model


def good(shift: int, turn: int) -> bytes:
    """Return LeNet with its classes shifted; each turn gives another file, and so another version."""
    model = changed(lambda values: np.roll(values, shift, axis=0))
    model.doc_string = f"turn {turn}"
    return with_card(model)


def bad_files(dice: random.Random) -> dict[str, bytes]:
    """Return files that must not serve in place of LeNet, by what is wrong with them."""
    whole = LENET.read_bytes()
    return {
        "truncated": whole[: dice.randrange(1, len(whole))],
        "garbage": dice.randbytes(len(whole)),
        "empty": b"",
        "weights that are not numbers": with_card(changed(lambda values: values * np.float32("nan"))),
        "other labels": with_card(
            onnx.load(LENET), lambda card: replace(card, labels=tuple(f"class {index}" for index in range(CLASSES)))
        ),
        "the card of other weights": changed(lambda values: values + 1).SerializeToString(),
        "another network": (zoo.folder() / zoo.entry("shapes-cnn").name / "model.onnx").read_bytes(),
        "a layer that takes minutes": _before_its_first_layer(
            [helper.make_node("AveragePool", ["wide"], ["out"], kernel_shape=[1499, 1499], pads=[749] * 4)], 3000
        ),
        "a layer of 100 GB": _before_its_first_layer([helper.make_node("Relu", ["wide"], ["out"])], 150_000),
    }


def _before_its_first_layer(nodes: list[onnx.NodeProto], side: int) -> bytes:
    """Return LeNet with its image enlarged to so many pixels a side for some operations, and made smaller again."""
    model = onnx.load(LENET)
    graph = model.graph
    first = next(node for node in graph.node if node.op_type == "Conv")
    source, first.input[0] = first.input[0], "back"
    sizes = {"larger": [1, 1, side, side], "smaller": [1, 1, 28, 28]}
    graph.initializer.extend(numpy_helper.from_array(np.array(size), name) for name, size in sizes.items())
    added = [
        helper.make_node("Slice", [source, "zero", "one", "zero"], ["single"]),
        helper.make_node("Resize", ["single", "", "", "larger"], ["wide"], mode="nearest"),
        *nodes,
        helper.make_node("Resize", ["out", "", "", "smaller"], ["small"], mode="nearest"),
        helper.make_node("Add", [source, "small"], ["back"]),
    ]
    graph.initializer.extend(
        numpy_helper.from_array(np.array([value]), name) for name, value in (("zero", 0), ("one", 1))
    )
    place = list(graph.node).index(first)
    rest = list(graph.node)[place:]
    del graph.node[place:]
    graph.node.extend([*added, *rest])
    return with_card(model)


class Asking:
    """Clients that ask all the time, and compare each answer with the version that it names."""

    def __init__(self, port: int) -> None:
        self.labels = {1: LABEL}
        self.fates: Counter[str] = Counter()
        self.problems: list[str] = []
        self._port, self._over = port, threading.Event()
        self._request = post("/predict/lenet", digit(), "image/png")
        self._threads = [threading.Thread(target=self._client) for _ in range(CLIENTS)]

    def start(self) -> None:
        """Let them ask."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let them end."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _client(self) -> None:
        fates, last = Counter[str](), 0
        with Client(self._port) as client:
            while not self._over.is_set():
                try:
                    answer = client.ask(self._request)
                except (OSError, LostError) as error:
                    self.problems.append(f"a request failed: {type(error).__name__}: {error}")
                    fates["failed"] += 1
                    time.sleep(0.01)
                    continue
                fates[str(answer.status)] += 1
                if answer.status != 200:
                    self.problems.append(f"status {answer.status}: {answer.body[:200]!r}")
                    continue
                last = self._check(json.loads(answer.body), last)
        self.fates += fates

    def _check(self, said: dict[str, Any], last: int) -> int:
        version = int(said["version"])
        if version < last:
            self.problems.append(f"version {version} after version {last} on one connection")
        if said["label"] != str(self.labels.get(version)):
            self.problems.append(f"version {version} says {said['label']}, not {self.labels.get(version)}")
        return version


def counted(server: Server, outcome: str) -> int:
    """Return how many reloads ended so, as the metrics have it."""
    text = server.get("/metrics")[1].decode()
    found = re.search(rf'^cnnkit_reloads_total{{model="lenet",outcome="{outcome}"}} (\S+)$', text, re.MULTILINE)
    return int(float(found[1])) if found else 0


def serving_version(server: Server) -> int:
    """Return the version that serves."""
    return int(json.loads(server.get("/models")[1])["models"][0]["version"])


def await_count(server: Server, outcome: str, wanted: int) -> float | None:
    """Wait until so many reloads ended so; return the seconds, None where they do not come."""
    began = time.perf_counter()
    while time.perf_counter() < began + PATIENCE:
        if counted(server, outcome) >= wanted:
            return time.perf_counter() - began
        time.sleep(0.02)
    return None


def reloads(folder: Path, times: int, bad: int, seed: int) -> Part:
    """Replace the file `times` times, `bad` of them by a bad one."""
    dice = random.Random(seed)  # noqa: S311
    kinds = [True] * (times - bad) + [False] * bad
    dice.shuffle(kinds)
    path = folder / "lenet.onnx"
    write_atomic(path, good(0, -1))
    version, refused, tried = 1, 0, Counter[str]()
    problems: list[str] = []
    seconds: list[float] = []
    with running("cnnkit", cnnkit_command(path), folder) as server:
        asking = Asking(server.port)
        asking.start()
        memory = [server.memory_mib()]
        for turn, is_good in enumerate(kinds):
            which = f"reload {turn} of seed {seed}"
            if is_good:
                shift = (turn + 1) % CLASSES
                asking.labels[version + 1] = (LABEL + shift) % CLASSES
                write_atomic(path, good(shift, turn))
                taken = await_count(server, "swapped", version)
                version += 1
            else:
                name, content = dice.choice(list(bad_files(dice).items()))
                which, refused = f"{which} ({name})", refused + 1
                tried[name] += 1
                write_atomic(path, content)
                taken = await_count(server, "refused", refused)
            seconds += [taken] if taken is not None else []
            memory.append(server.memory_mib())
            serves = serving_version(server)
            if taken is None or serves != version:
                problems.append(f"{which}: version {serves} serves, expected {version}; {server.tail()[-500:]}")
                break
        asking.stop()
        logged = server.log.read_text("utf-8").count("stays at version")
    answers, failed = asking.fates["200"], sum(asking.fates.values()) - asking.fates["200"]
    figures = [
        Figure(f"{times} reloads under load, {bad} with bad files: failed requests", str(failed), "0", not failed),
        Figure(
            "… answers, each by the version it names",
            f"{answers:,}",
            "all right",
            answers > 0 and not asking.problems,
        ),
        Figure("… versions at the end", str(version), str(times - bad + 1), version == times - bad + 1),
        Figure("… bad files refused, in metrics and log", f"{refused}, {logged}", str(bad), refused == logged == bad),
        Figure("… seconds from file to service", f"{min(seconds):.1f}–{max(seconds):.1f}" if seconds else "–"),
        Figure("… memory, first and last", f"{memory[0]:.0f} MiB, {memory[-1]:.0f} MiB"),
    ]
    details = {
        "fates": dict(asking.fates),
        "bad files": dict(tried),
        "seconds": seconds,
        "memory_mib": memory,
        "seed": seed,
    }
    return Part("reload", figures, details, problems + asking.problems[:50])
