"""Numbers with points or commas."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["decimal_of", "number"]

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?", re.IGNORECASE | re.ASCII)
_GROUPED = {
    ".": re.compile(r"[-+]?\d{1,3}(?:(?:,\d{3})+\.\d*|(?:,\d{3}){2,})", re.ASCII),
    ",": re.compile(r"[-+]?\d{1,3}(?:(?:\.\d{3})+,\d*|(?:\.\d{3}){2,})", re.ASCII),
}
_LONGEST = 40
_MARK = 9e36
"""Instruments write 9.9E37 where there is no reading: an overload, or nothing measured (SCPI)."""


def decimal_of(texts: Iterable[str], default: str = ".") -> str:
    """Return what stands before the decimals of the numbers among some texts.

    Parameters
    ----------
    default
        Where they do not say.
    """
    points = commas = 0
    for text in texts:
        if len(text) > _LONGEST or not ("." in text or "," in text):
            continue
        points += _is_number(text, ".")
        commas += _is_number(text, ",")
    if commas == points:
        return default
    return "," if commas > points else "."


def number(text: str, decimal: str = ".") -> float:
    """Return a number.

    Raises
    ------
    ValueError
        It is none, or it may be read in two ways, as 1,234 among numbers with points.
    """
    if len(text) > _LONGEST:
        raise ValueError("no number: it is too long")
    plain = text.strip().replace("\N{MINUS SIGN}", "-")
    other = "," if decimal == "." else "."
    if other in plain and _GROUPED[decimal].fullmatch(plain):
        plain = plain.replace(other, "")
    if decimal == ",":
        plain = plain.replace(".", "?").replace(",", ".")
    if not _NUMBER.fullmatch(plain):
        raise ValueError(f"no number: {text.strip() or 'an empty cell'}")
    value = float(plain)
    if not abs(value) < _MARK:
        raise ValueError(f"no number of a reading: {text.strip()}")
    return value


def _is_number(text: str, decimal: str) -> bool:
    try:
        number(text, decimal)
    except ValueError:
        return False
    return True
