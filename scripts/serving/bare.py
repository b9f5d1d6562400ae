"""The bare function: what the work costs on uvicorn when nothing guards it. All of it runs in the event loop.

python scripts/serving/bare.py MODEL --port PORT
"""

import argparse
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn

import cnnkit
from cnnkit.images import prepare
from cnnkit.runtime.classifier import softmax
from cnnkit.runtime.providers import ProviderOptions

Message = dict[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


def bare(model: Path) -> App:
    """Return the ASGI function for an ONNX file."""
    # As the server runs it: a second thread would cost a network this small more than it gives.
    classifier = cnnkit.load(model, provider=ProviderOptions(threads=1, spinning=False))
    form, labels, network = classifier.card.preprocessing, classifier.card.labels, classifier.network

    async def app(
        scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        if scope["method"] == "POST":
            row = softmax(network.logits(prepare(body, form).pixels[None]))[0]
            best = np.argsort(-row)[:5]
            scores = [{"label": labels[index], "probability": float(row[index])} for index in best]
            answer = json.dumps({"label": scores[0]["label"], "probabilities": scores}).encode()
        else:
            answer = b"{}"
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return app


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    uvicorn.run(
        bare(given.model), port=given.port, loop="uvloop", http="httptools", lifespan="off", access_log=False,
        log_level="warning",
    )  # fmt: skip


if __name__ == "__main__":
    main()
