"""Units as files write them."""

from __future__ import annotations

import unicodedata
from typing import Literal

__all__ = ["Quantity", "factor"]

Quantity = Literal["length", "wavelength", "energy", "angle", "time", "pixels"]
"""What is measured; in m, angstrom, eV, rad, s and pixels."""

_PI = 3.141592653589793
_LENGTHS = {
    "m": 1.0, "meter": 1.0, "metre": 1.0,
    "dm": 1e-1, "decimeter": 1e-1, "decimetre": 1e-1,
    "cm": 1e-2, "centimeter": 1e-2, "centimetre": 1e-2,
    "mm": 1e-3, "millimeter": 1e-3, "millimetre": 1e-3,
    "um": 1e-6, "micron": 1e-6, "micrometer": 1e-6, "micrometre": 1e-6, "mum": 1e-6,
    "nm": 1e-9, "nanometer": 1e-9, "nanometre": 1e-9,
    "pm": 1e-12, "picometer": 1e-12, "picometre": 1e-12,
    "a": 1e-10, "å": 1e-10, "ang": 1e-10, "angstrom": 1e-10, "ångström": 1e-10, "ångstrom": 1e-10,
    "angstroem": 1e-10,
    "km": 1e3, "kilometer": 1e3, "kilometre": 1e3,
    "in": 0.0254, "inch": 0.0254, "inches": 0.0254,
}  # fmt: skip
_EV_J = 1.602176634e-19
_ENERGIES = {
    "ev": 1.0, "electronvolt": 1.0, "electron volt": 1.0,
    "kev": 1e3, "kiloelectronvolt": 1e3,
    "gev": 1e9, "j": 1 / _EV_J, "joule": 1 / _EV_J,
}  # fmt: skip
_ANGLES = {
    "rad": 1.0, "radian": 1.0, "mrad": 1e-3, "milliradian": 1e-3,
    "urad": 1e-6, "microradian": 1e-6,
    "deg": _PI / 180, "degree": _PI / 180, "°": _PI / 180,
    "arcmin": _PI / 10800, "arcsec": _PI / 648000,
}  # fmt: skip
_TIMES = {
    "s": 1.0, "sec": 1.0, "second": 1.0,
    "ms": 1e-3, "msec": 1e-3, "millisecond": 1e-3,
    "us": 1e-6, "usec": 1e-6, "microsecond": 1e-6,
    "ns": 1e-9, "nsec": 1e-9, "nanosecond": 1e-9,
    "ps": 1e-12, "picosecond": 1e-12,
    "min": 60.0, "minute": 60.0, "h": 3600.0, "hr": 3600.0, "hour": 3600.0,
}  # fmt: skip
_TABLES = {
    "length": _LENGTHS,
    "wavelength": {name: size * 1e10 for name, size in _LENGTHS.items()},
    "energy": _ENERGIES,
    "angle": _ANGLES,
    "time": _TIMES,
    "pixels": {"px": 1.0, "pix": 1.0, "pixel": 1.0, "": 1.0},
}
# Where the size of a letter tells two units apart; small letters mean the one in the tables.
_CAPITALS = {"energy": {"MeV": 1e6, "meV": 1e-3}, "length": {"Mm": 1e6}}


def factor(unit: str, quantity: Quantity) -> float | None:
    """Return what to multiply a value by; None when the unit is not known.

    Parameters
    ----------
    unit
        As a file says, such as ``um``, ``µm``, ``microns`` or ``Micrometer``.
    """
    text = unicodedata.normalize("NFKC", unit).strip().replace("μ", "u").replace("µ", "u")
    if text in _CAPITALS.get(quantity, {}):
        return _CAPITALS[quantity][text]
    name, table = text.lower(), _TABLES[quantity]
    found = table.get(name, table.get(name.removesuffix("s")) if len(name) > 2 else None)
    return found
