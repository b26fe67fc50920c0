"""Which nodes a run has and where each of them publishes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from streamer.config import Config
from streamer.transport.directory import SCHEME
from streamer.transport.keys import RunKeys

__all__ = ["NodeSpec", "Topology", "cuda_devices"]


class NodeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """All that a process must be told to be one node of a run."""

    name: str
    """``ingest``, ``sink``, ``detector-N`` or ``gpu-N``."""
    source: str
    """URI or path."""
    out: str
    """Run folder; its ``config.yaml`` says the rest."""
    endpoints: dict[str, str]
    directory: str = ""
    """Folder that says where those are that have names in place of addresses; empty: none has."""
    host: str = ""
    """Address of the node's host, as others reach it; empty where all nodes are on one."""
    detectors: int
    gpus: int
    patch_size: int
    """Pixels along each axis of the patches that the position method wants."""
    incarnation: int = 0
    """How often it was started before, in this run, also by launchers that are gone."""
    metrics_port: int = 0
    launcher: int = 0
    """Process that looks after the node; 0 for the one that starts it."""
    lease: str = ""
    """File that says how long the node may go on; empty: as long as that process is there."""
    slot: int | None = None
    """Which of the GPU workers on its host it is; None where it is its number."""
    keys: RunKeys | None = None
    """By which the nodes of the run know each other."""

    @classmethod
    def read(cls, path: Path) -> NodeSpec:
        """Read what `write` has written."""
        return msgspec.json.decode(path.read_bytes(), type=cls)

    def write(self, path: Path) -> None:
        """Write a file that a node's process is started with; nobody else can read it."""
        with open(path, "wb", opener=_private) as file:
            file.write(msgspec.json.encode(self))

    @property
    def role(self) -> str:
        """The kind of node."""
        return self.name.partition("-")[0]

    @property
    def index(self) -> int:
        """Which of its kind."""
        return int(self.name.partition("-")[2] or 0)


@dataclass(frozen=True, slots=True)
class Topology:
    """The nodes of a run and the addresses between them."""

    detectors: int
    gpus: int
    endpoints: dict[str, str]

    @classmethod
    def plan(
        cls,
        config: Config,
        runtime: Path,
        cuda_devices: int = 0,
        cores: int | None = None,
    ) -> Topology:
        """Decide how many nodes there are and where they publish.

        Parameters
        ----------
        config
            The run's configuration.
        runtime
            A short-lived folder for the sockets of this run.
        cuda_devices
            GPUs that the workers may use.
        cores
            Of all hosts; default: those of this one.
        """
        cores = cores or os.cpu_count() or 1
        on_cuda = cuda_devices > 0 and config.positions.device != "cpu"
        on_devices = cuda_devices if config.detect.device == "cuda" else 0
        detectors = config.nodes.detectors or on_devices or max(1, cores // 2)
        gpus = config.nodes.gpus or (cuda_devices if on_cuda else cores)
        names = ["frames", "acks", "status"]
        names += [f"patches-{i}" for i in range(detectors)]
        names += [f"positions-{i}" for i in range(gpus)]
        at = f"ipc://{runtime}/" if config.uses_ipc else SCHEME
        return cls(detectors, gpus, {name: f"{at}{name}" for name in names})

    @property
    def nodes(self) -> list[str]:
        """Names of all nodes, those first that others need."""
        gpus = [f"gpu-{i}" for i in range(self.gpus)]
        return ["sink", *gpus, *(f"detector-{i}" for i in range(self.detectors)), "ingest"]

    def specs(
        self,
        source: str,
        out: Path,
        patch_size: int,
        base_port: int,
        *,
        incarnation: int = 0,
        keys: RunKeys | None = None,
        directory: str = "",
    ) -> list[NodeSpec]:
        """Return what each of the nodes is told; this process is the one that looks after them.

        Parameters
        ----------
        source, out, patch_size, incarnation, keys, directory
            As in `NodeSpec`.
        base_port
            Port of the first node's metrics, those of the others follow; 0 lets each choose one.
        """
        return [
            NodeSpec(
                name=name,
                source=source,
                out=str(out),
                endpoints=self.endpoints,
                directory=directory,
                detectors=self.detectors,
                gpus=self.gpus,
                patch_size=patch_size,
                incarnation=incarnation,
                metrics_port=base_port + i if base_port else 0,
                launcher=os.getpid(),
                keys=keys,
            )
            for i, name in enumerate(self.nodes)
        ]


def cuda_devices() -> int:
    """Return how many NVIDIA GPUs this machine shows, without the seconds that torch takes."""
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
