"""Charge, discharge and rest in the words of cyclers."""

from __future__ import annotations

import re
from functools import lru_cache

from streamer.cell.base import UNKNOWN

__all__ = ["state_of"]

_REST = {
    "r", "rest", "resting", "ocv", "ocp", "ocvr", "open", "p", "pau", "pause", "paused",
    "wait", "idle", "relax", "relaxation", "storage", "standby", "s", "stop", "stopped",
    "sto", "suspend", "suspended", "ruhe", "搁置", "静置", "休眠", "暂停",
}  # fmt: skip
_CHARGE = {"c", "ch", "cha", "chg", "chrg", "chr", "laden", "ladung", "ladephase"}
_DISCHARGE = {
    "d", "dis", "dch", "dchg", "dchrg", "dcha", "disc", "disch", "dischg", "dischrg",
    "entladen", "entladung", "entladephase",
}  # fmt: skip


@lru_cache(maxsize=4096)
def state_of(text: str) -> int:
    """Return 1 for charge, -1 for discharge, 0 for rest, UNKNOWN for what says none of these.

    >>> [state_of(text) for text in ("CCCV_Chg", "CC DChg", "Rest", "恒流充电")]
    [1, -1, 0, 1]
    """
    plain = text.casefold()
    if "放电" in plain or "充电" in plain:
        both = "放电" in plain and "充电" in plain
        return UNKNOWN if both else 1 if "充电" in plain else -1
    words = re.findall(r"[^\W\d_]+", plain)
    said = {_word(word) for word in words} - {UNKNOWN}
    moves = said - {0}
    if len(moves) == 1:
        return moves.pop()
    return 0 if said == {0} else UNKNOWN


def _word(word: str) -> int:
    if word in _DISCHARGE or "discharg" in word or word.endswith(("dchg", "dischg")):
        return -1
    if word in _CHARGE or word.startswith("charg") or word.endswith(("chg", "charge")):
        return 1
    return 0 if word in _REST else UNKNOWN
