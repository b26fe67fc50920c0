"""Known weaknesses of the packages in ``constraints.txt``: ``make audit``.

Where no source of advisories can be reached, or none knows a package, that is said: it is no
failure, and no clean bill either.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SOURCES = ("pypi", "osv")
CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"


def ask(program: str, source: str) -> tuple[list[dict], str]:
    """Return what pip-audit says of each package, and its last words."""
    done = subprocess.run(
        [program, "-r", str(CONSTRAINTS), "--no-deps", "--disable-pip", "--progress-spinner", "off",
         "--format", "json", "--vulnerability-service", source, "--timeout", "15"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    last = (done.stderr.strip().splitlines() or [""])[-1][:120]
    try:
        return json.loads(done.stdout)["dependencies"], last
    except (ValueError, KeyError):
        return [], last


def main(program: str) -> int:
    """Print what is known; 1 if anything is."""
    for source in SOURCES:
        packages, last = ask(program, source)
        known = [package for package in packages if "skip_reason" not in package]
        if not known:
            print(f"not audited with {source}: {last if not packages else 'it knows no package'}")
            continue
        weak = [(package, one) for package in known for one in package["vulns"]]
        for package, one in weak:
            mended = ", ".join(one["fix_versions"]) or "no version yet"
            print(f"{package['name']} {package['version']}: {one['id']}, mended in {mended}")
        print(f"{source}: {len(known)} of {len(packages)} packages audited, {len(weak)} weaknesses")
        for package in packages:
            if "skip_reason" in package:
                print(f"not audited: {package['skip_reason']}")
        return 1 if weak else 0
    print("nothing was audited: no source of advisories can be reached from here")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
