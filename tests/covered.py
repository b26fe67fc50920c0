"""How much of each package the tests ran, in a few lines: what ``make test`` ends with.

What compiled kernels and processes that tests start do is not seen: packages that consist of them
stand lower than they are tested.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePath

import coverage

from tests.conftest import ROOT

LEAST = 5
"""Files to name of those that were covered least."""


def package_of(path: PurePath) -> str:
    """Return the package a file is counted under: the two outermost folders, joined by a dot."""
    return ".".join(path.parts[:-1][:2])


def report(data: coverage.Coverage) -> str:
    """Return a line of totals, lines of packages, and one of the files covered least."""
    lines: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    shares = {}
    for file in data.get_data().measured_files():
        path = Path(file).relative_to(ROOT)
        _, statements, _, absent, _ = data.analysis2(file)
        for name in {path.parts[0], package_of(path)}:
            lines[name] += len(statements)
            missed[name] += len(absent)
        if statements:
            shares[path.as_posix()] = percent(len(statements), len(absent))
    tops = [name for name in sorted(lines) if "." not in name]
    total = percent(sum(lines[top] for top in tops), sum(missed[top] for top in tops))
    told = [f"Lines of code that the tests ran: {total} %"]
    for top in tops:
        inner = [name for name in sorted(lines) if name.startswith(f"{top}.")]
        each = ", ".join(f"{n.partition('.')[2]} {percent(lines[n], missed[n])}" for n in inner)
        told.append(f"  {top} {percent(lines[top], missed[top])}: {each}")
    least = sorted(shares, key=lambda name: (shares[name], name))[:LEAST]
    told.append("  least: " + ", ".join(f"{name} {shares[name]}" for name in least))
    return "\n".join(told)


def percent(lines: int, missed: int) -> int:
    """Return the share that was not missed, rounded down so that 100 means all."""
    return 100 * (lines - missed) // lines if lines else 100


if __name__ == "__main__":
    recorded = coverage.Coverage()
    recorded.load()
    if not recorded.get_data():
        raise SystemExit("Nothing was measured: the tests have to run with --cov first")
    print(report(recorded))
