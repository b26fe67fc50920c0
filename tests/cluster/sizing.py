"""How many hosts a detector needs: ``python -m tests.cluster.sizing [NAME MPX MB PEAKS RATE]``.

What frames cost is fitted to docs/performance.md with few numbers, and two fifths off at most.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from math import ceil

__all__ = ["Detector"]

_HOST_CORES, _SPARE = 32, 1.25
"""Of a host, and how many times as many are to be there as are busy."""
_LINKS_GB_S = (10, 25, 100)
"""Of the host of ingest, in Gb/s."""
_USED, _CURVE_GB_S = 0.92, 2.0
"""Part of a link that is left for frames; what a core encrypts or decrypts."""


@dataclass(frozen=True, slots=True)
class Detector:
    """A detector and what it sees."""

    name: str
    mpx: float
    """Million pixels."""
    mb: float
    """Megabytes of a coded frame."""
    peaks: float
    """On a frame."""
    rate_hz: float

    def cpu_ms(self, *, defaults: bool) -> dict[str, float]:
        """Return what a frame costs each role, in CPU milliseconds.

        Parameters
        ----------
        defaults
            Automatic thresholds and joint fits; else thresholds as numbers, and single fits.
        """
        automatic = 0.5 + 1.2 * self.mpx if defaults else 0.0
        return {
            "ingest": 0.13 + 0.2 * self.mb,
            "detector": 0.15 + 0.23 * self.mpx + 0.0025 * self.peaks + automatic,
            "gpu": (0.052 if defaults else 0.021) * self.peaks,
            "sink": 0.075 + 0.0009 * self.peaks,
        }

    def cores(self, *, defaults: bool) -> float:
        """Return how many cores are busy, those that encrypt and decrypt frames included."""
        curve = 2 * self.rate_hz * self.mb / 1e3 / _CURVE_GB_S
        return self.rate_hz * sum(self.cpu_ms(defaults=defaults).values()) / 1e3 + curve

    def hosts(self, *, defaults: bool) -> int:
        """Return how many hosts there are to be."""
        return ceil(_SPARE * self.cores(defaults=defaults) / _HOST_CORES)

    def most(self, link_gb_s: float) -> tuple[float, str]:
        """Return how many frames a second there can be with any number of hosts, and why."""
        cpu_ms = self.cpu_ms(defaults=False)
        limits = {"link": link_gb_s / 8 * _USED * 1e3 / self.mb}
        limits |= {role: 1e3 / cpu_ms[role] for role in ("ingest", "sink")}
        return min((limit, why) for why, limit in limits.items())


_DETECTORS = (
    Detector("EIGER2 16M", 18.1, 4.1, 300, 133),
    Detector("JUNGFRAU 4M", 4.2, 1.05, 150, 2000),
    Detector("EIGER2 500K", 0.53, 0.13, 30, 4000),
)


def main() -> None:
    """Print the table, for the detector that the command line tells of or for three."""
    detectors = _DETECTORS
    if words := sys.argv[1:]:
        mpx, mb, peaks, rate_hz = map(float, words[1:])
        detectors = (Detector(words[0], mpx, mb, peaks, rate_hz),)
    links = " | ".join(f"most at {link} Gb/s" for link in _LINKS_GB_S)
    print("| detector | frames/s | GB/s | thresholds, fits | ingest | detector workers "
          f"| GPU workers | sink | hosts | {links} |")  # fmt: skip
    print("|---" * (9 + len(_LINKS_GB_S)) + "|")
    for detector in detectors:
        for defaults in (False, True):
            ms = detector.cpu_ms(defaults=defaults)
            cores = [f"{detector.rate_hz * it / 1e3:.1f}" for it in ms.values()]
            most = [f"{limit:,.0f} ({why})" for limit, why in map(detector.most, _LINKS_GB_S)]
            rate, gb_s = f"{detector.rate_hz:,.0f}", f"{detector.rate_hz * detector.mb / 1e3:.2f}"
            kind = "the defaults" if defaults else "numbers, single"
            hosts = str(detector.hosts(defaults=defaults))
            print("|", " | ".join((detector.name, rate, gb_s, kind, *cores, hosts, *most)), "|")


if __name__ == "__main__":
    main()
