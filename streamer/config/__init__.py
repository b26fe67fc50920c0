"""The configuration of a run: read from YAML, changed by ``key.path=value``, checked."""

from streamer.config.alarms import WATCHED, AlarmsConfig, LimitsConfig, WatchedConfig
from streamer.config.loading import Config, load_config, pace_of
from streamer.config.peaks import DetectConfig, PositionsConfig, TracksConfig, TrainConfig
from streamer.config.running import (
    DashboardConfig,
    MetaConfig,
    MetricsConfig,
    NodesConfig,
    PlacementConfig,
    PublishConfig,
    PvaConfig,
    ReportConfig,
    TransportConfig,
)
from streamer.config.source import (
    CellConfig,
    GeometryConfig,
    LatticeConfig,
    SimulateConfig,
    SourceConfig,
)

__all__ = [
    "WATCHED",
    "AlarmsConfig",
    "CellConfig",
    "Config",
    "DashboardConfig",
    "DetectConfig",
    "GeometryConfig",
    "LatticeConfig",
    "LimitsConfig",
    "MetaConfig",
    "MetricsConfig",
    "NodesConfig",
    "PlacementConfig",
    "PositionsConfig",
    "PublishConfig",
    "PvaConfig",
    "ReportConfig",
    "SimulateConfig",
    "SourceConfig",
    "TracksConfig",
    "TrainConfig",
    "TransportConfig",
    "WatchedConfig",
    "load_config",
    "pace_of",
]
