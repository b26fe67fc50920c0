"""Which processes there are, how they talk, and what others may see of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field

from streamer.config.section import Section

__all__ = [
    "DashboardConfig",
    "MetaConfig",
    "MetricsConfig",
    "NodesConfig",
    "PlacementConfig",
    "PublishConfig",
    "PvaConfig",
    "ReportConfig",
    "TransportConfig",
]


class MetaConfig(Section):
    """What the run is of: kept with it and in its exports. Any other key can stand here too."""

    model_config = ConfigDict(extra="allow", frozen=True, coerce_numbers_to_str=True)
    __pydantic_extra__: dict[str, str | int | float | bool] = Field(init=False)

    sample: str = ""
    """What is in the beam."""
    proposal: str = ""
    """Number or name of the proposal, as the facility writes it."""
    user: str = ""
    """Who measures; several names are parted by commas."""
    comment: str = ""
    """Anything worth knowing of the run."""

    @property
    def said(self) -> dict[str, str | int | float | bool]:
        """What was given, by key."""
        return {key: value for key, value in self.model_dump().items() if value != ""}


class NodesConfig(Section):
    """How many processes of each kind."""

    detectors: int | None = Field(default=None, ge=1, le=1000)
    """Detector workers; default: half the cores, or one for each CUDA device where
    `detect.device` is `cuda`."""
    gpus: int | None = Field(default=None, ge=1, le=1000)
    """GPU workers; default: one for each CUDA device, or one for each core without CUDA."""


class PlacementConfig(Section):
    """Which hosts the nodes of a run are on."""

    engine: Literal["local", "dask"] = "local"
    """`local`: all on this host; `dask`: on the hosts of a Dask cluster (extra `cluster`)."""
    scheduler: str | None = None
    """Address of Dask's scheduler, `tls://HOST:8786` or `tcp://HOST:8786`; `local:3` starts one on
    this host, with three workers, to try things out."""
    hosts: int = Field(default=1, ge=1)
    """Workers of Dask to wait for before nodes are placed, one on each host."""
    pin: dict[str, list[str]] = Field(default_factory=dict)
    """Hosts for a node or a role, as in `{sink: [10.0.0.1], ingest: [10.0.0.1]}`; default: any."""
    host: str | None = None
    """Address of the launcher's host, as others reach it; default: that towards the scheduler."""
    curve: bool = True
    """Encrypt what goes from host to host, with keys made for each run."""
    lease_s: float = Field(default=12.0, ge=2.0)
    """A node that has not heard of the scheduler for so long ends: it is cut off, and another may
    be started in its place."""
    insecure: bool = False
    """True on a network where nobody else is: a scheduler without `tls://`, which runs any program
    for whoever reaches it, and hops without encryption are not refused."""


class TransportConfig(Section):
    """Sockets between the nodes."""

    scheme: Literal["ipc", "tcp"] = "ipc"
    """`ipc` through files in `/tmp`; `tcp` through the loopback interface. With several hosts it is
    `tcp` between them."""
    window_frames: int = Field(default=4096, ge=1)
    """Frames that may be on their way at once, from the source to the disk."""
    window_mib: int | None = Field(default=None, ge=1)
    """Coded pixels of those frames, in MiB; default: 128 and twice as many for each detector
    worker, 1024 at most."""
    ack_timeout_s: float = Field(default=60.0, gt=0)
    """The frames of a worker that has brought no result for so long are sent to another."""

    def window_bytes(self, detectors: int) -> int:
        """Return what coded pixels may be on their way with so many detector workers."""
        return (self.window_mib or min(1024, 128 * (1 + 2 * detectors))) << 20


class PvaConfig(Section):
    """Results as process variables of EPICS, over PVAccess: for reading, by whoever reaches it."""

    prefix: str = ""
    """What their names begin with, `BRAGG:`; empty: there are none."""
    host: str = "127.0.0.1"
    """Address they are served on; PVAccess knows no keys, so that others are let in by this one."""
    port: int = Field(default=5075, ge=0, le=65535)
    """Port, or another one when it is in use; 0 lets the system choose."""
    tracks: int = Field(default=20, ge=1, le=1000)
    """Tracks with variables of their own: those in alarm, those with limits, the longest."""


class PublishConfig(Section):
    """What others may listen to, each at an address; nobody who listens can hold the run up."""

    peaks: str = "tcp://127.0.0.1:*"
    """Peaks with their positions, once they are on disk; `*` lets the system choose a port, nothing
    switches it off."""
    frames: str = "tcp://127.0.0.1:*"
    """Frames as they come in, for other pipelines and for viewers; written as `publish.peaks`."""
    pva: PvaConfig = PvaConfig()
    """Process variables of EPICS, with keys of their own."""
    keys: Path | None = None
    """Folder of the keys of those who may listen, made by `launch.py keys`; without one anybody may
    who reaches the address, which must then be one of this machine alone."""


class MetricsConfig(Section):
    """Prometheus."""

    host: str = "127.0.0.1"
    """Address the nodes serve their metrics on; one that others reach asks for the token."""
    base_port: int = Field(default=0, ge=0, le=65000)
    """First port, one for each node from there on; 0 lets the system choose."""
    targets: Path | None = None
    """Folder that a Prometheus watches; while a run goes on its nodes are listed there in a file
    of its name."""


class DashboardConfig(Section):
    """The live page of a run."""

    host: str = "127.0.0.1"
    """Address it is served on; one that others reach asks for a token, which is printed with it."""
    port: int = Field(default=8350, ge=0, le=65535)
    """Port, or the next free one when it is in use; 0 switches the dashboard off."""
    control: bool = True
    """Let who has the run's control token change `detect.minval` and `detect.minscore` while it
    goes on. The token is printed with the page's address, and is in `control.token` of the run
    folder. Without it the page only shows; with `false` it does for all."""


class ReportConfig(Section):
    """The report that ends a run."""

    auto: bool = True
    """Write `report/report.html` into the run folder at the end of a run."""
