"""The configuration of a run: read from YAML, changed by ``key.path=value``, checked here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from streamer.documents import parse_yaml
from streamer.errors import UserError, misfit

__all__ = [
    "CellConfig",
    "Config",
    "DashboardConfig",
    "DetectConfig",
    "GeometryConfig",
    "MetricsConfig",
    "NodesConfig",
    "PositionsConfig",
    "PublishConfig",
    "ReportConfig",
    "SimulateConfig",
    "SourceConfig",
    "TracksConfig",
    "TrainConfig",
    "TransportConfig",
    "load_config",
]

_SLICE = re.compile(r"(-?\d+)?:(-?\d+)?(?::([1-9]\d*)?)?")

Parameters = dict[str, dict[str, Any]]
"""What plugins take beside what stands here, by name; `streamer.plugins` checks it."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class DetectConfig(_Section):
    """The detector workers."""

    minval: float = Field(default=40.0, ge=0)
    """Counts; pixels below are set to 0 before peaks are looked for."""
    minscore: float = Field(default=60.0, gt=0)
    """Counts; persistence a peak must reach."""
    finder: str = "topology"
    """`topology` is fast; `findpeaks` is the reference package, thousands of times slower."""
    finders: Parameters = Field(default_factory=dict)
    """What finders of other packages take: `detect.finders.NAME.KEY`."""
    mask: Path | None = None
    """File (.npy, .npz, .tif, .h5::/path) whose non-zero pixels are not used."""
    dark: Path | None = None
    """File with counts to subtract from each pixel; a 3-D stack is averaged."""
    binning: int = Field(default=1, ge=1)
    """Pixels summed along each axis before anything else; positions stay in detector pixels."""
    saturation: float | None = Field(default=None, gt=0)
    """Counts from which a pixel is saturated; default: what the source says."""


class PositionsConfig(_Section):
    """The GPU workers."""

    method: str = "braggnn"
    """How a peak is placed within its patch."""
    methods: Parameters = Field(default_factory=dict)
    """What methods of other packages take: `positions.methods.NAME.KEY`."""
    gain: float = Field(default=1.0, ge=0)
    """Counts per photon, for fits: 1 for a photon counter; 0 for noise that does not grow."""
    read_noise: float = Field(default=0.0, ge=0)
    """Standard deviation in counts of a pixel without photons, for fits: 0 for a photon counter."""
    refit: bool = True
    """Fit patches that may not hold one clean peak: two or three together, which may have tails.
    Not for networks that see fewer than 11 pixels."""
    check_share: float = Field(default=0.01, ge=0, le=1)
    """Share of the peaks that are also fitted, to see that the model still suits the data; none for
    networks that see fewer than 11 pixels."""
    checkpoint: Path | None = None
    """Weights to use in place of our own; checked against known patches before use."""
    device: str = "auto"
    """`auto` (CUDA when there is one), `cpu`, `cuda` or `cuda:N`."""
    backend: Literal["auto", "eager", "openvino", "cuda-graphs"] = "auto"
    """What computes the network; all give the same positions. `auto` is the fastest here."""


class NodesConfig(_Section):
    """How many processes of each kind."""

    detectors: int | None = Field(default=None, ge=1)
    """Detector workers; default: half the cores."""
    gpus: int | None = Field(default=None, ge=1)
    """GPU workers; default: one for each CUDA device, or one for each core without CUDA."""


class TransportConfig(_Section):
    """Sockets between the nodes."""

    scheme: Literal["ipc", "tcp"] = "ipc"
    """`ipc` through files in `/tmp`; `tcp` through the loopback interface."""
    window_frames: int = Field(default=4096, ge=1)
    """Frames that may be on their way at once, from the source to the disk."""
    window_mib: int = Field(default=1024, ge=1)
    """Coded pixels of those frames, in MiB."""
    ack_timeout_s: float = Field(default=60.0, gt=0)
    """The frames of a worker that has brought no result for so long are sent to another."""


class SourceConfig(_Section):
    """Where frames come from."""

    speed: float | None = Field(default=None, gt=0)
    """Multiple of real time at which a recording is replayed; default: as fast as it goes."""
    frame_time_s: float | None = Field(default=None, gt=0)
    """Time between frames of a recording that does not say."""
    frames: str | None = None
    """Frames of a recording to play, as `"start:stop:step"` in quotes; default: all."""
    loop: int = Field(default=1, ge=0)
    """How often to play a recording, each time as a new series; 0 plays it until stopped."""
    follow: bool = False
    """Play a recording that is still being written as it grows, until it is complete."""
    idle_s: float = Field(default=0.0, ge=0)
    """A series that has been silent for this long is over. 0 waits for ever for a live one, and for
    a recording that is followed as long as its next file can take, 10 s at least."""
    series: int = Field(default=1, ge=0)
    """Live series to take before the run ends; 0 means until stopped."""
    channel: str = "threshold_1"
    """Channel of a detector that sends several."""
    connect_s: float = Field(default=5.0, gt=0)
    """How long to try to reach a detector."""
    record: Path | None = None
    """File to keep a live stream in, exactly as it comes, while it is processed."""
    protocols: Parameters = Field(default_factory=dict)
    """What protocols of other packages take: `source.protocols.NAME.KEY`."""
    readers: Parameters = Field(default_factory=dict)
    """What readers of other packages take, by their files' ending: `source.readers.NAME.KEY`."""

    @field_validator("frames")
    @classmethod
    def _check_frames(cls, text: str | None) -> str | None:
        _slice_of(text)
        return text

    @property
    def chosen(self) -> slice:
        """`frames` as a slice of Python."""
        return _slice_of(self.frames)


class GeometryConfig(_Section):
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


class TracksConfig(_Section):
    """Linking of peaks from frame to frame."""

    gate_px: float = Field(default=3.0, gt=0)
    """A peak farther than this from where a track stood is not of that track."""
    memory_frames: int = Field(default=5, ge=0)
    """Frames a track may miss before it ends."""
    confirm_frames: int = Field(default=3, ge=1)
    """Frames a track must be seen on to count as one; what is shorter is noise."""
    reference_frames: int = Field(default=10, ge=1)
    """Observations whose mean is a track's position now, and those of the one it is compared
    with."""
    reference_frame: int | None = Field(default=None, ge=0)
    """Frame around which a track's first position is taken; default: where the track begins."""


class PublishConfig(_Section):
    """What others may listen to, each at an address; nobody who listens can hold the run up."""

    peaks: str = "tcp://127.0.0.1:*"
    """Peaks with their positions, once they are on disk; `*` lets the system choose a port, nothing
    switches it off."""
    frames: str = "tcp://127.0.0.1:*"
    """Frames as they come in, for other pipelines and for viewers; written as `publish.peaks`."""


class MetricsConfig(_Section):
    """Prometheus."""

    host: str = "127.0.0.1"
    """Address the nodes serve their metrics on."""
    base_port: int = Field(default=0, ge=0, le=65000)
    """First port, one for each node from there on; 0 lets the system choose."""
    targets: Path | None = None
    """Folder that a Prometheus watches; while a run goes on its nodes are listed there in a file
    of its name."""


class DashboardConfig(_Section):
    """The live page of a run."""

    host: str = "127.0.0.1"
    """Address it is served on; whoever can reach it can look."""
    port: int = Field(default=8350, ge=0, le=65535)
    """Port, or the next free one when it is in use; 0 switches the dashboard off."""


class ReportConfig(_Section):
    """The report that ends a run."""

    auto: bool = True
    """Write `report/report.html` into the run folder at the end of a run."""


class CellConfig(_Section):
    """The cell cycler's channel beside the frames."""

    file: str | None = None
    """CSV, BioLogic `.mpt` or `.mpr` file, read as it grows; or `pva://NAME` of a voltage's process
    variable."""
    offset_s: float = 0.0
    """Seconds to add to the cycler's clock to get that of the frames."""
    start: datetime | None = None
    """When the measurement began, for a file whose times count from there."""
    columns: dict[Literal["time", "voltage", "current", "capacity"], str] = Field(
        default_factory=dict
    )
    """Names of the file's columns, or of process variables, where they do not speak for
    themselves."""


class SimulateConfig(_Section):
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


class TrainConfig(_Section):
    """Training of a network."""

    architecture: Literal["published", "compact"] = "compact"
    """`published` is BraggNN; `compact` is many times faster and at least as exact."""
    start: Path | None = None
    """Weights to start from; default: random ones, with `--from` those that come with the
    project."""
    frames: int = Field(default=200, ge=2)
    """Most frames to take of the recording given by `--from`, evenly spread."""
    patches: int = Field(default=1_000_000, ge=1)
    """Patches to learn from, simulated ones seen once; the weights that come with the project took
    32.5 million."""
    batch: int = Field(default=1024, ge=1)
    """Patches for each step."""
    lr: float = Field(default=2e-3, gt=0)
    """Highest learning rate; it rises over the first steps and falls to 0 along a cosine."""
    seed: int = Field(default=1, ge=0)
    """Same seed, same weights."""
    device: str = "auto"
    """`auto` (CUDA when there is one), `cpu`, `cuda` or `cuda:N`."""


class Config(_Section):
    """Everything that decides how a run goes."""

    source: SourceConfig = SourceConfig()
    detect: DetectConfig = DetectConfig()
    positions: PositionsConfig = PositionsConfig()
    nodes: NodesConfig = NodesConfig()
    overload: Literal["auto", "wait", "spool", "newest"] = "auto"
    """When frames come faster than they can be worked on: `wait` holds the source back, `spool`
    keeps them on disk, `newest` sheds the oldest. `auto` waits for recordings, spools live ones."""
    transport: TransportConfig = TransportConfig()
    geometry: GeometryConfig = GeometryConfig()
    tracks: TracksConfig = TracksConfig()
    publish: PublishConfig = PublishConfig()
    metrics: MetricsConfig = MetricsConfig()
    cell: CellConfig = CellConfig()
    dashboard: DashboardConfig = DashboardConfig()
    report: ReportConfig = ReportConfig()
    simulate: SimulateConfig = SimulateConfig()
    train: TrainConfig = TrainConfig()

    def to_yaml(self) -> str:
        """Return the configuration as YAML that `load_config` reads back to an equal one."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def load_config(
    path: Path | None = None,
    overrides: list[str] | None = None,
    options: Mapping[str, object] | None = None,
) -> Config:
    """Read a configuration file and apply ``key.path=value`` overrides.

    Parameters
    ----------
    path
        YAML file; None starts from the defaults.
    overrides
        Each ``key.path=value``, the value written as in YAML.
    options
        Values by ``key.path``, which stand above all others; None leaves a key as it is.

    Raises
    ------
    UserError
        The file is missing or not YAML, a key does not exist or a value does not fit.
    """
    data = {} if path is None else _read(path)
    for override in overrides or []:
        key, equals, text = override.partition("=")
        if not equals:
            raise UserError(f"--set {override}: write it as key.path=value")
        try:
            value = parse_yaml(text)
        except ValueError:
            raise UserError(f"--set {override}: {text!r} is not a YAML value") from None
        _assign(data, key.strip().split("."), value)
    for key, value in (options or {}).items():
        if value is not None:
            _assign(data, key.split("."), value)
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        where = f"{path}: " if path is not None else ""
        raise UserError(where + misfit(error, _keys(Config))) from None


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


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        raise UserError(f"cannot read the configuration {path}: {reason}") from None
    try:
        data = parse_yaml(text)
    except ValueError as error:
        raise UserError(f"{path} {error}") from None
    if not isinstance(data, dict | None):
        raise UserError(f"{path} must hold sections of keys, such as 'detect:' with 'minval: 40'")
    return data or {}


def _assign(data: dict[str, Any], keys: list[str], value: object) -> None:
    for key in keys[:-1]:
        inner = data.setdefault(key, {})
        if not isinstance(inner, dict):
            raise UserError(f"--set {'.'.join(keys)}: {key} is not a section")
        data = inner
    data[keys[-1]] = value


def _keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    names: list[str] = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names += _keys(kind, f"{prefix}{name}.")
        else:
            names.append(prefix + name)
    return names
