"""Detectors that calibration files call by a name, where all their pixels are alike."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["KnownDetector", "known_detector"]


class KnownDetector(NamedTuple):
    """A flat detector."""

    pixel_m: float
    """Edge of a pixel."""
    shape: tuple[int, int]
    """(rows, cols) with such pixels."""


# Edge of a pixel in micrometres, rows, columns, and the names it goes by without signs and spaces.
_KNOWN = """\
1.12 2464 3280 picamv2 raspberrypi8m
1.4 1944 2592 picamv1 raspberrypi5m
1.55 3040 4056 picamhq raspberrypi12m
3.75 966 1296 aca1300 basler
15 4096 4096 condor fairchild fairchildcondor48690
15.625 1920 1920 rayonixsx30hs
39.5 4096 4096 mar165 rayonixsx165
44.2708 1920 1920 rayonixsx85hs
44.2708 1920 3840 rayonixlx170 rayonixlx170hs
44.2708 1920 5760 rayonixlx225hs rayonixlx255 rayonixlx255hs
44.2708 3840 3840 rayonixmx170 rayonixmx170hs
44.2708 9600 9600 rayonixmx425hs
48 4096 4096 rayonixsx200
50 2048 2048 frelon
51 2304 2304 adscq4 quantum4
51 4096 4096 adscq210 quantum210
51 4168 4168 adscq270 quantum270
51 6144 6144 adscq315 quantum315
55 256 256 lambda60k maxipix maxipix1x1
55 256 1296 maxipix5x1
55 516 516 lambda250k maxipix2x2
55 516 1556 lambda750k
55 1556 1556 lambda2m
55 2596 2596 lambda75m lambda7m5
55 2596 4676 lambda10m
55 3868 3227 lambda9m
60 2048 2048 agilenttitan oxdtitan titan titan2kx2k
64 2048 2048 mar133 rayonix133
73.242 3072 3072 mar225 rayonixmx225
73.242 4096 4096 mar300 rayonixmx300
75 512 512 eiger2250k
75 512 1028 eiger2500k eiger2cdte500k
75 512 2068 eiger21mw eiger2cdte1mw
75 512 4148 eiger22mw eiger2cdte2mw
75 514 1030 eiger500k
75 1062 1028 eiger21m eiger2cdte1m
75 1064 1030 jungfrau1m
75 1065 1030 eiger1m
75 2162 2068 eiger24m eiger2cdte4m
75 2164 2068 jungfrau4m
75 2167 2070 eiger4m
75 3262 3108 eiger29m eiger2cdte9m
75 3269 3110 eiger9m
75 3888 3072 dexela2923
75 4362 4148 eiger216m eiger2cdte16m
75 4371 4150 eiger16m
78.125 2880 2880 rayonixmx225hs
78.125 3840 3840 rayonixmx300hs
79.346 4096 4096 rayonixmx325
88.5417 3840 3840 rayonixmx340hs
100 3450 3450 mar345 mar3450
120 1024 1024 apex2 apexii bruker
139 3072 2560 mar555
150 255 1033 pilatus4260kw pilatus4260kwcdte pilatus4cdte260kw
150 256 512 hf130k
150 512 512 hf262k
150 530 513 pilatus4260k pilatus4260kcdte pilatus4cdte260k
150 1024 1024 hf1m
150 1080 1033 pilatus41m pilatus41mcdte pilatus4cdte1m
150 1536 1536 hf24m hf2m
150 1630 1553 pilatus42m pilatus42mcdte pilatus4cdte2m
150 2048 2048 hf4m
150 2180 2073 pilatus44m pilatus44mcdte pilatus4cdte4m
150 3072 3072 hf94m hf9m
172 195 487 pilatus100k
172 195 1475 pilatus300kw pilatus300kwcdte pilatuscdte300kw
172 195 4439 pilatus900kwcdte pilatuscdte900kw
172 407 487 pilatus200k
172 619 487 pilatus300k pilatus300kcdte pilatuscdte300k
172 619 1475 pilatus900k
172 1043 981 pilatus1m pilatus1mcdte pilatuscdte1m
172 1679 1475 pilatus2m pilatus2mcdte pilatuscdte2m
172 2527 2463 pilatus6m
200 2048 2048 perkin perkindetector perkinelmer
308 955 1240 pixium pixium4700 pixium4700detector thaleselectronics
"""
_UNEVEN = frozenset(
    """
    aarhus cirpad d5 imxpads10 imxpads140 imxpads70 imxpads70v jungfrau jungfrau16mcor
    jungfrau500k jungfrau8m pixirad1 pixirad2 pixirad4 pixirad8 rapid rapidii xcirpad xpadflat
    xpads540flat
    """.split()
)


def known_detector(name: str) -> KnownDetector | None:
    """Return what is known of a detector; None when it is not known.

    Raises
    ------
    ValueError
        It is not flat, or its pixels are not all alike.
    """
    plain = "".join(sign for sign in name.lower() if sign.isalnum())
    if plain in _UNEVEN:
        raise ValueError(f"its detector ({name}) is not flat or has pixels of several sizes")
    return _BY_NAME.get(plain)


def _read() -> dict[str, KnownDetector]:
    known: dict[str, KnownDetector] = {}
    detector = None
    for line in _KNOWN.splitlines():
        words = line.split()
        if not line.startswith(" "):
            detector = KnownDetector(float(words[0]) * 1e-6, (int(words[1]), int(words[2])))
            words = words[3:]
        if detector is not None:
            known |= dict.fromkeys(words, detector)
    return known


_BY_NAME = _read()
