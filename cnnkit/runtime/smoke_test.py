"""One session, really made and run: `python -m cnnkit.runtime.smoke_test DEVICE`, in a process of its own.

A provider whose libraries do not fit may crash, hang or print; the one who asks stays whole.
"""

import json
import os
import sys

NETWORK = "lenet-mnist"


def run(device: str) -> str:
    """Run a small network of the zoo on zeros, and return where it ran and how its logits differ from the CPU's.

    Raises:
        CnnkitError: there is no such network, or no session on this device.
        ArithmeticError: the outputs are wrong.
    """
    import numpy as np

    from cnnkit import zoo
    from cnnkit.certificate import TOLERANCE
    from cnnkit.runtime.classifier import softmax
    from cnnkit.runtime.session import open_session

    content = zoo.read(NETWORK, "model.onnx")
    session = open_session(content, NETWORK, device=device)
    zeros = np.zeros((2, 28, 28, 1), np.uint8)
    logits, probabilities = session.run(["logits", "probabilities"], {"image": zeros})
    if not np.allclose(softmax(logits), probabilities, atol=TOLERANCE):
        raise ArithmeticError("its probabilities are not those of its logits")
    if device == "cpu":
        return f"runs {NETWORK}"
    expected = open_session(content, NETWORK, device="cpu").run(["logits"], {"image": zeros})[0]
    difference = float(np.abs(expected - logits).max())
    if not difference <= TOLERANCE:
        raise ArithmeticError(f"its logits differ from the CPU's by {difference:.2g}")
    placed = session.placement.warning or "all nodes on the GPU"
    return f"runs {NETWORK}, logits within {difference:.1g} of the CPU's, {placed}"


def main() -> None:
    """Print the outcome as JSON."""
    # TensorRT has no option for TF32, whose rounding would pass for a fault.
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
    try:
        found = {"ok": True, "said": run(sys.argv[1])}
    except Exception as error:
        found = {"ok": False, "said": " ".join(str(error).split()) or type(error).__name__}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
