"""How peaks are found, placed and followed, and how a network is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from streamer.config.section import Parameters, Section
from streamer.errors import UserError

__all__ = ["DetectConfig", "PositionsConfig", "TracksConfig", "TrainConfig"]


class DetectConfig(Section):
    """The detector workers."""

    minval: Annotated[float, Field(ge=0)] | Literal["auto"] = "auto"
    """Counts; pixels below are set to 0 before peaks are looked for. `auto`: what is not above the
    background of the frame itself, which is taken off."""
    minscore: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    """Counts; persistence a peak must reach. `auto`: what noise has not, see `detect.false_peaks`.
    """
    false_peaks: float = Field(default=0.1, gt=0, le=1000)
    """Peaks of noise that a frame may have on average, for `detect.minscore: auto`."""
    merge_px: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Detector pixels, before binning: of peaks within that distance of each other on a frame only
    the one of the highest score is kept, for spots with fringes; 0 keeps all."""
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
    device: Literal["cpu", "cuda"] = "cpu"
    """What decodes frames and looks through their pixels. `cuda` is experimental and needs
    thresholds that are numbers, the finder `topology`, no `dark` and no `binning`; each detector
    worker takes a CUDA device of its own, in turn."""

    @field_validator("device")
    @classmethod
    def _check_device(cls, device: str, others: ValidationInfo) -> str:
        given = others.data
        lacking = [
            what
            for what, fits in (
                ("a number for detect.minval", given.get("minval") != "auto"),
                ("a number for detect.minscore", given.get("minscore") != "auto"),
                ("detect.finder=topology", given.get("finder") == "topology"),
                ("no detect.dark", given.get("dark") is None),
                ("detect.binning=1", given.get("binning") == 1),
            )
            if not fits
        ]
        if device == "cuda" and lacking:
            raise ValueError(f"cpu, as cuda takes {', '.join(lacking)}")
        return device

    def with_thresholds(self, minval: float | str, minscore: float | str) -> DetectConfig:
        """Return the same with other thresholds, counts or ``auto``.

        Raises
        ------
        UserError
            They are none, or do not fit to the rest.
        """
        given = self.model_dump() | {"minval": minval, "minscore": minscore}
        try:
            return DetectConfig.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            where = f"detect.{first['loc'][0]}"
            raise UserError(f"{where} cannot be {first['input']}: {first['msg']}") from None


class PositionsConfig(Section):
    """The GPU workers."""

    method: str = "braggnn"
    """How a peak is placed within its patch."""
    methods: Parameters = Field(default_factory=dict)
    """What methods take, also those of other packages: `positions.methods.NAME.KEY`."""
    gain: float = Field(default=1.0, ge=0)
    """Counts per photon, for fits: 1 for a photon counter; 0 for noise that does not grow."""
    read_noise: float = Field(default=0.0, ge=0)
    """Standard deviation in counts of a pixel without photons, for fits: 0 for a photon counter."""
    polish: bool = True
    """Let a few steps of a fit follow a network's answer: positions at the statistical limit, and
    the shape of each peak. Not for networks that see fewer than 11 pixels."""
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
    """What computes the network; all give the same positions. `auto` is what suits this
    machine."""


class TracksConfig(Section):
    """Linking of peaks from frame to frame."""

    gate_px: float = Field(default=3.0, gt=0)
    """A peak farther than this from where a track is expected, and from where it was seen last, is
    not of that track; times the root of the frames since then."""
    memory_frames: int = Field(default=5, ge=0)
    """Frames a track may miss before it ends."""
    confirm_frames: int = Field(default=3, ge=1)
    """Frames a track must be seen on to count as one; what is shorter is noise."""
    reference_frames: int = Field(default=10, ge=1)
    """Observations whose mean is a track's position now, and those of the one it is compared
    with."""
    reference_frame: int | None = Field(default=None, ge=0)
    """Frame around which a track's first position is taken; default: where the track begins."""
    common_motion: Literal["keep", "remove"] = "keep"
    """Whether drifts and strains have the shift and rotation that all spots of a frame share taken
    out: a beam that drifts, a sample that moves or turns. Peaks stay as measured."""


class TrainConfig(Section):
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
