"""LitServe with the same ONNX file, as its documentation has it: base64 in JSON, decoded and run in a worker.

python scripts/serving/litserve_peer.py MODEL --port PORT [--max-batch 8] [--batch-timeout 0.0] [--fast-queue]
"""

import argparse
import base64
from pathlib import Path
from typing import Any

import litserve
import numpy as np
from numpy.typing import NDArray

import cnnkit
from cnnkit.images import prepare
from cnnkit.pictures import Pixels
from cnnkit.runtime.classifier import Classifier, softmax
from cnnkit.runtime.providers import ProviderOptions


class Digits(litserve.LitAPI):  # type: ignore[misc]
    """The four steps of a LitServe server; its session has the one thread that suits the network, as in the others."""

    model: Path
    classifier: Classifier

    def setup(self, device: str) -> None:
        """Open the file in the worker."""
        self.classifier = cnnkit.load(self.model, provider=ProviderOptions(threads=1, spinning=False))

    def decode_request(self, request: dict[str, Any]) -> Pixels:
        """Return uint8 [H, W, C]."""
        return prepare(base64.b64decode(request["image"]), self.classifier.card.preprocessing).pixels

    def predict(self, pixels: Pixels) -> NDArray[np.float64]:
        """Return probabilities [N, classes] of a batch, [classes] of one image."""
        if pixels.ndim == 3:
            return np.asarray(softmax(self.classifier.network.logits(pixels[None]))[0])
        return softmax(self.classifier.network.logits(pixels))

    def encode_response(self, row: NDArray[np.float64]) -> dict[str, Any]:
        """Return the best five classes."""
        labels = self.classifier.card.labels
        scores = [{"label": labels[index], "probability": float(row[index])} for index in np.argsort(-row)[:5]]
        return {"label": scores[0]["label"], "probabilities": scores}


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--max-batch", type=int, default=1)
    parser.add_argument("--batch-timeout", type=float, default=0.0)
    parser.add_argument("--fast-queue", action="store_true", help="LitServe's ZeroMQ queue")
    given = parser.parse_args()
    digits = Digits(max_batch_size=given.max_batch, batch_timeout=given.batch_timeout)
    digits.model = given.model
    server = litserve.LitServer(digits, accelerator="cpu", fast_queue=given.fast_queue)
    server.run(host="127.0.0.1", port=given.port, log_level="warning", generate_client_file=False, access_log=False)


if __name__ == "__main__":
    main()
