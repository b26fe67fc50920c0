"""The cell's newest reading as metrics."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

__all__ = ["CellGauges"]

logger = logging.getLogger(__name__)


class CellGauges(Collector):
    """Reads the newest row of ``cell.parquet`` when it is asked for.

    The launcher writes that file and has no metrics; whoever registers this collector lends its
    own.

    Parameters
    ----------
    registry
        Where to register.
    folder
        Run folder.
    """

    def __init__(self, registry: CollectorRegistry, folder: Path) -> None:
        self._path = folder / "cell.parquet"
        registry.register(self)

    def describe(self) -> list[Metric]:
        """Return nothing: what is there depends on the file."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Return the gauges; none before the first reading."""
        try:
            with pq.ParquetFile(self._path) as file:
                if not file.metadata.num_rows:
                    return
                group = file.read_row_group(file.num_row_groups - 1)
        except FileNotFoundError:
            return
        except (OSError, pa.ArrowException) as error:
            logger.warning("the cell's readings cannot be shown: %s", error)
            return
        last = group.slice(group.num_rows - 1).to_pylist()[0]
        for name, what, value in (
            ("voltage_volts", "Between the cell's terminals", last["voltage_v"]),
            ("current_amperes", "Positive while charging", last["current_a"]),
            ("half_cycle", "Charges and discharges before, -1 at rest", last["half_cycle"]),
            ("last_reading_timestamp_seconds", "Time of these", last["time_ns"] / 1e9),
        ):
            yield GaugeMetricFamily(f"braggstream_cell_{name}", what, value)
