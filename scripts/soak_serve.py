"""The soak of `cnnkit serve`: signals, reloads, slow clients and hostile input, in numbers.

    python scripts/soak_serve.py --sigterms 100 --reloads 200 --bad 40 --dribblers 300 --attack-seconds 30
    python scripts/soak_serve.py --images 20000 --requests 20000
    python scripts/soak_serve.py --replay soak-failures/request-0-1234.http

Each part starts servers of its own; what is not asked for is left out. `serving/sigterms.py`, `reloads.py`,
`dribblers.py`, `attackers.py` and `fuzzing.py` say what is counted as what. All is derived from --seed; a mutated
request that is not answered as it must be is saved under --save, and --replay sends it to a new server and shows the
answer. Exit code 1: something is not as it must be.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from serving.attackers import attackers
from serving.dribblers import dribblers
from serving.figures import headline, report
from serving.fuzzing import fuzz, replay
from serving.reloads import reloads
from serving.sigterms import sigterms


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sigterms", type=int, default=0, help="servers stopped under load")
    parser.add_argument("--reloads", type=int, default=0, help="replacements of the model file under load")
    parser.add_argument("--bad", type=int, default=0, help="of them by bad files")
    parser.add_argument("--dribblers", type=int, default=0, help="clients that send a byte a second")
    parser.add_argument("--receive-seconds", type=float, default=10.0, help="the server's deadline for those")
    parser.add_argument("--attack-seconds", type=float, default=0, help="of four attackers with the worst bodies")
    parser.add_argument("--images", type=int, default=0, help="mutated images")
    parser.add_argument("--requests", type=int, default=0, help="mutated requests")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, default=Path("soak-failures"), help="folder for what fails")
    parser.add_argument("--replay", type=Path, help="a saved request")
    parser.add_argument("--output", type=Path, help="also write the table and the numbers, as .md and .json")
    given = parser.parse_args()
    if given.bad > given.reloads:
        parser.error(f"--bad {given.bad} is more than --reloads {given.reloads}")
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.replay:
            found.append(replay(folder, given.replay))
        if given.sigterms:
            found.append(sigterms(folder, given.sigterms, given.seed))
        if given.reloads:
            found.append(reloads(folder, given.reloads, given.bad, given.seed))
        if given.dribblers:
            found.append(dribblers(folder, given.dribblers, given.receive_seconds))
        if given.attack_seconds:
            found.append(attackers(folder, given.attack_seconds))
        for what in ("images", "requests"):
            if times := getattr(given, what):
                found.append(fuzz(folder, what, times, given.seed, given.save))
    if not found:
        parser.error("nothing to do: say how many of what")
    packages = ("onnxruntime-gpu", "onnxruntime", "uvloop", "httptools", "pillow")
    sys.exit(report(f"{headline(packages)}, seed {given.seed}", found, given.output))


if __name__ == "__main__":
    main()
