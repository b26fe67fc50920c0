"""What the columns of a cycler's table mean, by their names and units."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["ABSOLUTE", "DIMENSIONS", "ELAPSED", "Name", "is_unit", "ranked"]

ABSOLUTE = (
    "unixtime", "unixtimestamp", "posixtime", "epoch", "epochtime", "datetime", "dateandtime",
    "absolutetime", "abstime", "realtime", "dpttime", "dpt", "systemtime", "systime",
    "recordtime", "timestamp", "utc", "utctime",
    "localtime", "datetimestamp", "date", "datum", "datumzeit", "datumuhrzeit",
    "datumundzeit", "datumunduhrzeit", "zeitstempel", "绝对时间", "系统时间", "实际时间",
    "日期时间", "日期",
)  # fmt: skip
"""Names of moments, the more certain first."""
ELAPSED = (
    "testtime", "totaltime", "totaltesttime", "runtime", "elapsedtime", "elapsed", "progtime",
    "programtime", "experimenttime", "timesincestart", "testt", "gesamtzeit", "testzeit",
    "laufzeit", "programmzeit", "总时间", "测试时间", "测试总时间", "运行时间",
    "test", "time", "zeit", "uhrzeit", "t", "时间",
)  # fmt: skip
"""Names of times since a start; the last few are given to moments as well. A step's is none."""

# Of each quantity, the more certain first: one that was set, or of one electrode, comes last.
_NAMES = {
    "voltage": (
        ("ecell", "eweece", "cellvoltage", "cellpotential", "terminalvoltage", "ucell", "vcell"),
        ("voltage", "volts", "volt", "v", "u", "potential", "spannung", "zellspannung", "e", "vf",
         "vmeas", "measuredvoltage", "电压", "电芯电压", "测量电压"),
        ("ewe",),
    ),
    "current": (
        ("current", "amps", "amp", "ampere", "amperes", "i", "im", "strom", "cellcurrent",
         "zellstrom", "icell", "imeas", "measuredcurrent", "电流", "测量电流"),
    ),
    "capacity": (
        ("capacity", "cap", "qqo", "q", "netcapacity", "stepcapacity", "stepnetcapacity", "ah",
         "amphr", "amphrs", "amphours", "amphour", "ahr", "ahaccu", "kapazität",
         "kapazitat", "ladungsmenge", "容量"),
        ("qchargedischarge", "qcharge", "charge"),
    ),
    "charged": (
        ("chargecapacity", "chargingcapacity", "chgcapacity", "chgcap", "capchg", "ahcha",
         "qcharge", "ahcharge", "ladekapazität", "充电容量"),
    ),
    "discharged": (
        ("dischargecapacity", "dischargingcapacity", "dchgcapacity", "dchgcap", "capdchg",
         "dischgcapacity", "ahdch", "qdischarge", "ahdischarge", "entladekapazität", "放电容量"),
    ),
    "state": (
        ("state", "status", "steptype", "stepstate", "stepmode", "workmode", "workingmode", "md",
         "mode", "command", "process", "operation", "stepname", "zustand", "schritttyp", "befehl",
         "工步类型", "工步状态", "状态", "工步名称", "工作模式", "工作状态"),
    ),
}  # fmt: skip

DIMENSIONS = {
    "time": {
        "s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0, "sekunden": 1.0,
        "秒": 1.0, "ms": 1e-3, "msec": 1e-3, "millisecond": 1e-3, "milliseconds": 1e-3,
        "us": 1e-6, "microseconds": 1e-6, "ns": 1e-9, "nanoseconds": 1e-9, "min": 60.0,
        "mins": 60.0, "minute": 60.0, "minutes": 60.0, "minuten": 60.0, "分": 60.0, "h": 3600.0,
        "hr": 3600.0, "hrs": 3600.0, "hour": 3600.0, "hours": 3600.0, "stunden": 3600.0,
        "小时": 3600.0, "d": 86400.0, "day": 86400.0, "days": 86400.0, "tage": 86400.0,
    },
    "voltage": {
        "v": 1.0, "volt": 1.0, "volts": 1.0, "mv": 1e-3, "millivolt": 1e-3, "millivolts": 1e-3,
        "uv": 1e-6, "microvolt": 1e-6, "kv": 1e3, "伏": 1.0,
    },
    "current": {
        "a": 1.0, "amp": 1.0, "amps": 1.0, "ampere": 1.0, "amperes": 1.0, "ma": 1e-3,
        "milliamp": 1e-3, "milliamps": 1e-3, "milliampere": 1e-3, "ua": 1e-6, "microamp": 1e-6,
        "microamps": 1e-6, "microampere": 1e-6, "na": 1e-9, "pa": 1e-12, "ka": 1e3, "安": 1.0,
        "毫安": 1e-3,
    },
    "capacity": {
        "ah": 1.0, "amphr": 1.0, "amperehour": 1.0, "amperehours": 1.0, "ahr": 1.0, "mah": 1e-3,
        "mahr": 1e-3, "milliamperehour": 1e-3, "uah": 1e-6, "nah": 1e-9, "as": 1 / 3600,
        "c": 1 / 3600, "coulomb": 1 / 3600, "mc": 1e-3 / 3600, "kc": 1e3 / 3600,
        "安时": 1.0, "毫安时": 1e-3,
    },
    "state": {},
}  # fmt: skip
"""What to multiply by to get s, V, A, Ah."""
_UNITS = {unit for units in DIMENSIONS.values() for unit in units}
_STEMS = {*ABSOLUTE, *ELAPSED} | {
    stem for groups in _NAMES.values() for names in groups for stem in names
}

# "mu" as written by Latin-1, Greek, old code pages, doubly coded UTF-8, and lost altogether.
_MICRO = re.compile("[µμ\u03bcæì\ufffd]|Âµ|Î¼|\ufffd\ufffd|(?<![a-z])u(?=[av])", re.IGNORECASE)
_PATTERN = re.compile(
    r"\s*[\[(](?:[^\[\]()]*:[^\[\]()]*|[dmyhs./\- ]{5,})[\])]$|\s*/\s*[dhms]+:[dhms:.in]+$",
    re.IGNORECASE,
)
"""How times are written, as "(hh:mm:ss)"."""
_ZONE = re.compile(r"[\s_]*[\[(_ ]((?:utc|gmt)(?:[+-]\d{1,2}(?::?\d{2})?)?)[\])]?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Name:
    """The name of a column, taken apart."""

    text: str
    stem: str
    """In small letters, without blanks and punctuation."""
    unit: str
    """In small letters without blanks and dots; empty where none is named, and with a question
    mark before one that is none of a cell's."""
    zone: str = ""
    """Of times, where it is named."""

    @classmethod
    def of(cls, text: str) -> Name:
        """Take a name apart: ``Ecell/V``, ``Voltage [mV]``, ``current_ma``, ``U[V]``."""
        words = _PATTERN.sub("", text.strip().strip("~#\ufeff")).strip()
        zone = ""
        if found := _ZONE.search(words):
            zone, words = found[1].upper(), words[: found.start()]
        for stem, unit in _splits(words):
            if _unit(unit) in _UNITS:
                return cls(text, _stem(stem), _unit(unit), zone)
        if _stem(words) in _STEMS:
            return cls(text, _stem(words), "", zone)
        stem, unit = _foreign(words)
        return cls(text, _stem(stem), unit, zone)

    def means(self, quantity: str) -> tuple[int, int] | None:
        """Tell whether this is a quantity's column.

        Returns
        -------
        tuple[int, int] or None
            How uncertain it is, averages after what was read itself, and which of equally certain
            names it has; None where it is not.
        """
        dimension = DIMENSIONS["capacity" if quantity.endswith("charged") else quantity]
        if self.unit and self.unit not in dimension:
            return None
        for rank, names in enumerate(_NAMES[quantity]):
            if self.stem in names:
                return 2 * rank + self.text.startswith("<"), names.index(self.stem)
        if quantity in DIMENSIONS and not self.unit and self.stem in dimension:
            return 2 * len(_NAMES[quantity]), 0  # as "mV" alone
        return None

    def may_be(self, quantity: str) -> bool:
        """Tell whether this would be a quantity's column, were its unit known."""
        return self.unit.startswith("?") and any(self.stem in names for names in _NAMES[quantity])

    def is_time(self, names: tuple[str, ...]) -> bool:
        """Tell whether this is a column of times of a kind; a capital T is a temperature."""
        if self.unit and self.unit not in DIMENSIONS["time"]:
            return False
        return self.stem in names and self.text.strip() != "T"

    def factor(self, quantity: str, unit: str = "") -> float:
        """Return what to multiply by to get s, V, A or Ah.

        Parameters
        ----------
        unit
            As it is written elsewhere, where it is.

        Raises
        ------
        ValueError
            The unit is none of the quantity.
        """
        units = DIMENSIONS[quantity]
        named = _unit(unit) or self.unit or (self.stem if self.stem in units else "")
        if not named:
            return 1.0
        if named not in units:
            raise ValueError(f"the unit {unit or self.unit!r} is none of {quantity}")
        return units[named]


def ranked(names: Sequence[Name], quantity: str) -> list[int]:
    """Return the places of the columns that may be a quantity's, the most certain first."""
    ranks = ((name.means(quantity), place) for place, name in enumerate(names))
    return [place for _, place in sorted((rank, place) for rank, place in ranks if rank)]


def is_unit(text: str) -> bool:
    """Tell whether a text is a unit of what a cycler measures."""
    return _unit(text) in _UNITS


def _splits(words: str) -> Iterator[tuple[str, str]]:
    """Return where a name may end and its unit begin."""
    if found := re.fullmatch(r"(.*?)\s*[\[(]\s*([^\[\]()]*)\s*[\])]\s*", words):
        yield found[1], found[2]
    stem, slash, unit = words.rpartition("/")
    if slash:
        # "/mAh/g" is no unit of grams, and "V vs. Li" is one of volts.
        inner = stem.rpartition("/")[2] if "/" in stem else ""
        if _unit(inner) not in _UNITS or not inner:
            yield stem, re.sub(r"\s+vs\b.*", "", unit, flags=re.IGNORECASE)
    if found := re.fullmatch(r"(.+?)\s*[\[(]\s*([^\[\]()]*)\s*[\])].+", words):
        yield found[1], found[2]
    if _stem(words) in _STEMS:  # "Amp-hr" is no ampere in hours
        return
    *most, last_but_one, last = ["", *words.split("_")] if "_" in words else ["", "", ""]
    if most:  # as "net_capacity_ampere_hour"
        yield "_".join(most), last_but_one + last
    for apart in (",", " ", "_", "-"):
        stem, is_apart, unit = words.rpartition(apart)
        if is_apart and stem.strip():
            yield stem, unit


def _unit(text: str) -> str:
    plain = _MICRO.sub("u", text.strip().casefold())
    return re.sub(r"[\s.·*\-⋅_]", "", plain).strip("[]()")


def _stem(text: str) -> str:
    plain = re.sub(r"\bvs\b.*", "", text.casefold())
    return re.sub(r"[\W_\d]", "", plain)


def _foreign(words: str) -> tuple[str, str]:
    """Part a unit that is none of a cell's, as "mAh/g", so that its column is taken for none."""
    found = re.search(r"[\[(]\s*([^\[\]()]+)\s*[\])]\s*$", words) or re.search(r"/(.+)$", words)
    return (words[: found.start()], f"?{_unit(found[1])}") if found else (words, "")
