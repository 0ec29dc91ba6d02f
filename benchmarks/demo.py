"""The demonstration as `make demo` runs it, measured: wall-clock time, the largest process, and its last line.

python benchmarks/demo.py --json benchmarks/results/demo.json [--out runs/demo-measured]
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo-measured"), help="run directory; emptied first"
    )
    args = parser.parse_args()
    shutil.rmtree(args.out, ignore_errors=True)
    start = time.monotonic()
    command = [sys.executable, "-m", "veridistill", "run", "lab", "--out", str(args.out)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    seconds = time.monotonic() - start
    results = json.loads((args.out / "results.json").read_text(encoding="utf-8"))
    measured = {
        "command": "python benchmarks/demo.py --json benchmarks/results/demo.json",
        "versions": results["versions"],
        "summary": said.splitlines()[0],
        "seconds": round(seconds, 1),
        # Kilobytes on Linux, of the largest child of ours and of its children.
        "peak_mb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000),
        **{name: results[name] for name in ("gain", "funnel", "calls", "tokens")},
        "step_seconds": results["seconds"],
    }
    args.json.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(measured, indent=2))


if __name__ == "__main__":
    main()
