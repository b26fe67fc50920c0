"""A node of a run that says at its end what it took: ``python -m tests.benchmarks.node SPEC``."""

from __future__ import annotations

import atexit
import json
import re
import resource
import runpy
import sys
from pathlib import Path

from streamer.run.topology import NodeSpec

LAUNCH = Path(__file__).parents[2] / "launch.py"


def _tell(path: Path) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    # What `getrusage` says counts the memory of the process that this one was forked from.
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    mib = int(peak[1]) / 1024 if peak else 0.0
    path.write_text(json.dumps({"cpu_s": used.ru_utime + used.ru_stime, "peak_mib": mib}))


def main() -> None:
    """Be the node."""
    path = Path(sys.argv[1])
    spec = NodeSpec.read(path)
    atexit.register(_tell, Path(spec.out) / "logs" / f"{spec.name}.cost")
    sys.argv = [str(LAUNCH), "node", str(path)]
    runpy.run_path(str(LAUNCH), run_name="__main__")


if __name__ == "__main__":
    main()
