"""Limits of what tracks do, beyond which somebody is to be told."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, Self

from pydantic import Field, model_validator

from streamer.config.section import Section

__all__ = ["WATCHED", "AlarmsConfig", "LimitsConfig", "WatchedConfig"]

WATCHED: tuple[Literal["drift", "strain", "fwhm", "d"], ...] = ("drift", "strain", "fwhm", "d")
"""Quantities of tracks that may have limits."""


class LimitsConfig(Section):
    """Limits of a quantity, as EPICS has them: a value at or beyond one is an alarm."""

    lolo: float | None = None
    """Below it the alarm is major."""
    low: float | None = None
    """Below it the alarm is minor."""
    high: float | None = None
    """Above it the alarm is minor."""
    hihi: float | None = None
    """Above it the alarm is major."""

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        given = [one for one in (self.lolo, self.low, self.high, self.hihi) if one is not None]
        if any(one > other for one, other in pairwise(given)):
            raise ValueError("limits must grow from lolo over low and high to hihi")
        return self


class WatchedConfig(Section):
    """Quantities of tracks with their limits."""

    drift: LimitsConfig | None = None
    """Drift in pixels, as the column `drift` of the tracks, `{low: -2, high: 2, hihi: 5}`."""
    strain: LimitsConfig | None = None
    """Strain, as the column `strain`: 0.001 is a part in a thousand."""
    fwhm: LimitsConfig | None = None
    """Width along the major axis in pixels, as the column `fwhm_major`."""
    d: LimitsConfig | None = None
    """Lattice spacing in angstroms, as the column `d`."""


class AlarmsConfig(WatchedConfig):
    """Limits beyond which a track that goes on is in alarm: on the page, in metrics and as PVs."""

    tracks: dict[int, WatchedConfig] = Field(default_factory=dict)
    """Limits of single tracks in place of those of all: `{12: {d: {low: 2.03, high: 2.05}}}`."""
    reflections: dict[int, WatchedConfig] = Field(default_factory=dict)
    """The same of all tracks of a reflection; those of a track itself come first."""

    @property
    def is_set(self) -> bool:
        """True if anything has a limit."""
        every = (self, *self.tracks.values(), *self.reflections.values())
        return any(getattr(one, quantity) is not None for one in every for quantity in WATCHED)

    def limits(self, track: int, reflection: int, quantity: str) -> LimitsConfig | None:
        """Return the limits of a quantity of a track, from the nearest that has any."""
        for one in (self.tracks.get(track), self.reflections.get(reflection), self):
            found: LimitsConfig | None = getattr(one, quantity, None)
            if found is not None:
                return found
        return None
