"""What comes in: frames, where the detector stands, the cell beside it, and what is simulated."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from streamer.config.section import Parameters, Section

__all__ = ["CellConfig", "GeometryConfig", "SimulateConfig", "SourceConfig"]


_Size = Annotated[int, Field(ge=1)]
_SLICE = re.compile(r"(-?\d+)?:(-?\d+)?(?::([1-9]\d*)?)?")


class RawConfig(Section):
    """Layout of files that do not say it: frames without any coding, one after another."""

    shape: tuple[_Size, _Size] | tuple[_Size, _Size, _Size]
    """(rows, cols), then the file is frames to its end; or (frames, rows, cols)."""
    dtype: str
    """Type of a pixel with its byte order, as numpy writes it: `<u2`, `>i4`, `<f4`, `|u1`."""
    offset: int = Field(default=0, ge=0)
    """Bytes before the first frame."""

    @field_validator("dtype")
    @classmethod
    def _check_dtype(cls, text: str) -> str:
        if not re.fullmatch(r"[<>][iuf][248]|\|?[iu]1", text):
            raise ValueError("byte order, kind and bytes of a pixel, such as <u2, >i4, <f4 or |u1")
        return text


class SourceConfig(Section):
    """Where frames come from."""

    speed: float | None = Field(default=None, gt=0)
    """Multiple of real time at which a recording is replayed; default: as fast as it goes."""
    frame_time_s: float | None = Field(default=None, gt=0)
    """Time between frames of a recording that does not say."""
    frames: str | None = None
    """Frames of a recording to play, as `"start:stop:step"` in quotes; default: all."""
    loop: int = Field(default=1, ge=0)
    """How often to play a recording, each time as a new series; 0 plays it until stopped."""
    raw: RawConfig | None = None
    """Layout of files that do not say it, `{shape: [2048, 2048], dtype: <i4, offset: 8192}`; what
    they say is then not looked at."""
    follow: bool = False
    """Play a recording that is still being written as it grows, until it is complete."""
    idle_s: float = Field(default=0.0, ge=0)
    """A series that has been silent for this long is over. 0 waits for ever for a live one, and for
    a recording that is followed as long as its next file can take, 10 s at least."""
    series: int = Field(default=1, ge=0)
    """Live series to take before the run ends; 0 means until stopped."""
    channel: str | None = None
    """Channel of a detector that sends several; default: the only one, or `threshold_1`."""
    connect_s: float = Field(default=5.0, gt=0)
    """How long to try to reach a detector."""
    record: Path | None = None
    """File to keep a live stream in, exactly as it comes, while it is processed."""
    key: Path | None = None
    """Key for a `braggstream://` that asks for one: the file that `launch.py keys` made there."""
    protocols: Parameters = Field(default_factory=dict)
    """What protocols of other packages take: `source.protocols.NAME.KEY`."""
    readers: Parameters = Field(default_factory=dict)
    """What readers of other packages take, by their files' ending: `source.readers.NAME.KEY`."""

    @field_validator("frames", mode="before")
    @classmethod
    def _check_quotes(cls, value: object) -> object:
        if isinstance(value, int):  # 5:20 is 320 to YAML, which counts in sixties
            raise ValueError("start:stop:step in quotes of its own, as YAML makes numbers of some")
        return value

    @field_validator("frames")
    @classmethod
    def _check_frames(cls, text: str | None) -> str | None:
        _slice_of(text)
        return text

    def channel_of(self, names: Sequence[str]) -> str:
        """Return the channel to take of those that there are; it need not be one of them."""
        return self.channel or (names[0] if len(names) == 1 else "threshold_1")

    @property
    def chosen(self) -> slice:
        """`frames` as a slice of Python."""
        return _slice_of(self.frames)


class GeometryConfig(Section):
    """Where the detector stands; default: what the header of a series says."""

    poni: Path | None = None
    """Calibration file of pyFAI; it says all that the other keys would."""
    distance_m: float | None = Field(default=None, gt=0)
    """From the sample to the detector plane, at right angles to the plane."""
    beam_row: float | None = None
    """Row in pixels where the direct beam meets that plane."""
    beam_col: float | None = None
    """Column in pixels where it does."""
    pixel_m: float | None = Field(default=None, gt=0)
    """Edge of a pixel in metres."""
    wavelength_a: float | None = Field(default=None, gt=0)
    """Of the beam, in angstroms; without one there are angles and strains, and no spacings."""
    rot1: float = 0.0
    """Rotations of the detector in radians, with pyFAI's meaning."""
    rot2: float = 0.0
    rot3: float = 0.0
    instrument_fwhm_deg: float | None = Field(default=None, ge=0)
    """Full width at half maximum in two-theta that the spot of a large perfect crystal has: what is
    beyond it is told as size and microstrain. It may stand beside the geometry of a header."""

    @property
    def given(self) -> dict[str, Any]:
        """What a user said of the detector's place."""
        return self.model_dump(exclude_defaults=True, exclude={"instrument_fwhm_deg"})


class LatticeConfig(Section):
    """The crystal, for indices and lattice parameters; default: not known.

    With it, and where the place of the detector and the wavelength are known, reflections get their
    indices and each frame the lattice parameters of its phases.
    """

    a: float | None = Field(default=None, gt=0)
    """Edge of the unit cell in angstroms, as it is when the run begins. Parameters that are equal
    stay equal: the crystal system follows from them."""
    b: float | None = Field(default=None, gt=0)
    """Default: as `a`."""
    c: float | None = Field(default=None, gt=0)
    """Default: as `a`."""
    alpha: float = Field(default=90.0, gt=0, lt=180)
    """Angle between `b` and `c` in degrees."""
    beta: float = Field(default=90.0, gt=0, lt=180)
    """Angle between `a` and `c`."""
    gamma: float = Field(default=90.0, gt=0, lt=180)
    """Angle between `a` and `b`."""
    centring: Literal["P", "A", "B", "C", "I", "F", "R"] = "P"
    """Which reflections are extinct; `R` is a rhombohedral lattice on hexagonal axes."""
    tolerance: float = Field(default=0.01, gt=0, le=0.1)
    """Greatest relative difference between the spacing that a reflection has first and that of the
    lattice planes which it is taken for. Where planes of two spacings are that near it is none."""


class CellConfig(Section):
    """The cell cycler's channel beside the frames."""

    file: str | None = None
    """A cycler's file, read as it grows, or a pattern such as `cycling_*.mpt` of the files of one
    cell; or `pva://NAME` of a voltage's process variable."""
    offset_s: float = 0.0
    """Seconds to add to the cycler's clock to get that of the frames."""
    start: datetime | None = None
    """When the measurement began, for a file whose times count from there and which does not say
    it; of `timezone` where it names none."""
    timezone: str | None = None
    """Zone of times that name none, such as `Europe/Berlin` or `+01:00`; by default that of this
    machine."""
    date_form: Literal["ymd", "dmy", "mdy"] | None = None
    """Order of year, month and day, for a file whose dates leave it open."""
    columns: dict[Literal["time", "voltage", "current", "capacity", "state"], str] = Field(
        default_factory=dict
    )
    """Names of the file's columns, or of process variables, where they do not speak for
    themselves; `state` is where the cycler tells charge, discharge and rest. A unit in brackets
    behind a name, as in `I_cell [mA]`, is that of a column which names none."""


class SimulateConfig(Section):
    """The simulated detector."""

    frames: int = Field(default=480, ge=1)
    """Frames of the charge cycle."""
    rows: int = Field(default=512, ge=64)
    """Detector height in pixels."""
    cols: int = Field(default=512, ge=64)
    """Detector width in pixels."""
    spots: int = Field(default=30, ge=1)
    """Bragg spots of the particle."""
    seed: int = Field(default=20, ge=0)
    """Same seed, same bytes."""
    rate_hz: float = Field(default=100.0, ge=0)
    """Frames per second; 0 sends as fast as the client takes them."""
    series: int = Field(default=1, ge=1)
    """Times the charge cycle is sent, each as a series of its own."""


def _slice_of(text: str | None) -> slice:
    """Return the frames that ``start:stop:step`` means; a single number is that frame."""
    words = "::" if text is None else text.replace(" ", "")
    if re.fullmatch(r"-?\d+", words):
        frame = int(words)
        return slice(frame, None if frame == -1 else frame + 1)
    match = _SLICE.fullmatch(words)
    if match is None:
        raise ValueError("start:stop:step with a step of 1 or more, such as 100:400:2")
    return slice(*(int(part) if part else None for part in match.groups()))
