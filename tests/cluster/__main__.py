"""Prints how long it takes until a run goes on after something happened to its hosts."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.cluster.conftest import LONG, record
from tests.cluster.faults import FAULTS, suffer
from tests.cluster.hosts import can_be_made


def main() -> None:
    """Run through all faults, or through those with one of the words given in their names."""
    if reason := can_be_made():
        sys.exit(reason)
    print("| what happens | later frames on disk, or nodes ended | sent again | frames |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        recording = record(Path(name), LONG)
        for number, fault in enumerate(FAULTS):
            if len(sys.argv) > 1 and not any(word in fault.name for word in sys.argv[1:]):
                continue
            folder = Path(name) / str(number)
            folder.mkdir()
            outcome = suffer(fault, recording, folder)
            states = Counter(state for _, state in outcome.rows)
            told = ", ".join(f"{count:,} {state}" for state, count in states.items())
            row = (fault.name, f"{outcome.silent_s:.1f} s", f"{outcome.redelivered:,}", told)
            print("|", " | ".join(row), "|", flush=True)


if __name__ == "__main__":
    main()
