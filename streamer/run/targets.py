"""Where a run's nodes serve their metrics, as a Prometheus reads it (file_sd)."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from streamer.config import MetricsConfig
from streamer.errors import UserError
from streamer.results.folder import write_atomically
from streamer.run.supervisor import NodeProcess

__all__ = ["TARGETS_FILE", "Targets"]

logger = logging.getLogger(__name__)

TARGETS_FILE = "prometheus_targets.json"
"""Name of the list in a run folder."""


_FOLDER_MODE, _MODE = 0o755, 0o644
"""A Prometheus is another user."""


class Targets:
    """Keeps the list of the nodes' metrics ports; on leaving the context it is gone.

    Parameters
    ----------
    config
        Host of the nodes that say none, and the folder for the lists of all runs, if there is one.
    folder
        Run folder; its name is the run's.

    Raises
    ------
    UserError
        The folder for the lists of all runs cannot be made.
    """

    def __init__(self, config: MetricsConfig, folder: Path) -> None:
        # What listens on all addresses is reached on this one.
        self._host = "127.0.0.1" if config.host in ("0.0.0.0", "::") else config.host
        self._hosts: dict[str, str] = {}
        self._run = folder.resolve().name
        self._paths = [folder / TARGETS_FILE]
        self._ports: dict[str, int] = {}
        self._text = ""
        if config.targets is not None:
            try:
                missing = [p for p in (config.targets, *config.targets.parents) if not p.exists()]
                config.targets.mkdir(parents=True, exist_ok=True)
                for path in missing:
                    path.chmod(_FOLDER_MODE)
            except OSError as error:
                raise UserError(
                    f"cannot make the folder metrics.targets {config.targets}: {error.strerror}"
                ) from None
            self._paths.append(config.targets / f"{self._run}.json")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Nothing is served any more.
        for path in self._paths:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                logger.warning("%s cannot be removed: %s", path, error.strerror)

    def update(self, nodes: Iterable[NodeProcess]) -> None:
        """Write the list if it has changed.

        A node that died stays in it where it was, so that it is seen to be down. Its successor is
        entered when it works: what it has counted is then in order.
        """
        entries = []
        for node in nodes:
            name, status = node.spec.name, node.status
            if status is not None and status.metrics_port:
                if status.state != "starting" or name not in self._ports:
                    self._ports[name] = status.metrics_port
                    self._hosts[name] = status.host or self._host
            ended = node.process is not None and node.process.poll() == 0
            if name in self._ports and not ended:
                # With an instance that is the node, and not its port, a node that was started
                # again goes on with its predecessor's time series.
                labels = {
                    "instance": f"{self._run}/{name}",
                    "node": name,
                    "role": node.spec.role,
                    "run": self._run,
                }
                address = f"{self._hosts[name]}:{self._ports[name]}"
                entries.append({"targets": [address], "labels": labels})
        text = json.dumps(entries, indent=2) + "\n"
        if text != self._text:
            for path in self._paths:
                write_atomically(path, text, _MODE)
            self._text = text
