"""The whole configuration: read from YAML, changed by ``key.path=value``, checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ValidationError

from streamer.config.alarms import AlarmsConfig
from streamer.config.peaks import DetectConfig, PositionsConfig, TracksConfig, TrainConfig
from streamer.config.running import (
    DashboardConfig,
    MetaConfig,
    MetricsConfig,
    NodesConfig,
    PlacementConfig,
    PublishConfig,
    ReportConfig,
    TransportConfig,
)
from streamer.config.section import Section
from streamer.config.source import (
    CellConfig,
    GeometryConfig,
    LatticeConfig,
    SimulateConfig,
    SourceConfig,
)
from streamer.documents import parse_yaml, read_regular
from streamer.errors import UserError, misfit

__all__ = ["Config", "load_config", "pace_of"]


class Config(Section):
    """Everything that decides how a run goes."""

    source: SourceConfig = SourceConfig()
    detect: DetectConfig = DetectConfig()
    positions: PositionsConfig = PositionsConfig()
    nodes: NodesConfig = NodesConfig()
    overload: Literal["auto", "wait", "spool", "newest"] = "auto"
    """When frames come faster than they can be worked on: `wait` holds the source back, `spool`
    keeps them on disk, `newest` sheds the oldest. `auto` waits for recordings, spools live ones."""
    placement: PlacementConfig = PlacementConfig()
    transport: TransportConfig = TransportConfig()
    geometry: GeometryConfig = GeometryConfig()
    lattice: LatticeConfig = LatticeConfig()
    tracks: TracksConfig = TracksConfig()
    alarms: AlarmsConfig = AlarmsConfig()
    publish: PublishConfig = PublishConfig()
    metrics: MetricsConfig = MetricsConfig()
    cell: CellConfig = CellConfig()
    dashboard: DashboardConfig = DashboardConfig()
    report: ReportConfig = ReportConfig()
    simulate: SimulateConfig = SimulateConfig()
    train: TrainConfig = TrainConfig()
    meta: MetaConfig = MetaConfig()
    token_file: Path | None = None
    """File with the token that page and metrics ask for where others reach them, made if it is not
    there; default: `token` in the run folder, made for each run."""
    shared: bool = False
    """True where other users may read run folders and recordings, as far as your umask lets them;
    else they are yours alone."""
    insecure: bool = False
    """True on a network where nobody else is: sockets that others can reach need no keys, page and
    metrics no token, and hops over `tcp` are not encrypted."""

    @property
    def uses_ipc(self) -> bool:
        """Whether the run's nodes reach each other through files."""
        return self.placement.engine == "local" and self.transport.scheme == "ipc"

    @property
    def spans_hosts(self) -> bool:
        """Whether the run's nodes may be on several hosts."""
        placement = self.placement
        return placement.engine == "dask" and not (placement.scheduler or "").startswith("local:")

    @property
    def encrypts(self) -> bool:
        """Whether hops are encrypted."""
        if self.placement.engine == "dask":
            return self.placement.curve
        return not self.uses_ipc and not self.insecure

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


def pace_of(text: str, *, fastest: float | None) -> float | None:
    """Return a speed or rate as a user writes it: a positive number, or ``max``.

    Parameters
    ----------
    fastest
        What means as fast as it goes.

    Raises
    ------
    UserError
        It is neither.
    """
    if text == "max":
        return fastest
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value > 0:
        raise UserError(f"{text} is not a positive number (or 'max')")
    return value


def _read(path: Path) -> dict[str, Any]:
    try:
        text = read_regular(path)
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
