"""Memory of `cnnkit serve` once it is ready, all processes together, beside a bare session that has run one image.

    python scripts/measure_memory.py MODEL.onnx [OPTIONS OF cnnkit serve]

Exit code 1: more than 1.5 times as much.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from serving.servers import cnnkit_command, running

BAR = 1.5
BARE = """
import sys, numpy as np, onnxruntime as ort, psutil
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
taken = session.get_inputs()[0]
kind = np.uint8 if taken.type == "tensor(uint8)" else np.float32
session.run(None, {taken.name: np.zeros([size if isinstance(size, int) else 1 for size in taken.shape], kind)})
print(psutil.Process().memory_info().rss / 2**20)
"""


def main() -> None:
    """Measure both."""
    model, *options = sys.argv[1:]
    bare = float(subprocess.run([sys.executable, "-c", BARE, model], check=True, capture_output=True).stdout)
    with (
        tempfile.TemporaryDirectory() as folder,
        running("cnnkit", cnnkit_command(model, *options), Path(folder)) as server,
    ):
        ours = server.memory_mib()
    print(f"ready: {ours:.0f} MiB; a bare session after one image: {bare:.0f} MiB; {ours / bare:.2f} × (≤ {BAR} ×)")
    sys.exit(ours > BAR * bare)


if __name__ == "__main__":
    main()
