"""Memory and utilisation of the CUDA devices that this process computes on."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

__all__ = ["GpuGauges"]


class GpuGauges(Collector):
    """Asks torch when it is asked; without a CUDA device in use there are no such metrics.

    The utilisation needs NVIDIA's library for Python (``pip install nvidia-ml-py``).

    Parameters
    ----------
    registry
        Where to register.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        registry.register(self)

    def describe(self) -> list[Metric]:
        """Return nothing: what is there depends on the machine."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Return the gauges, with one sample for each device in use."""
        torch = sys.modules.get("torch")  # who has not imported it computes on no device
        if torch is None or not torch.cuda.is_initialized():
            return
        gauges = {
            name: GaugeMetricFamily(f"braggstream_gpu_{name}", what, labels=["device"])
            for name, what in (
                ("memory_bytes", "Memory this worker has allocated on the device"),
                ("device_memory_used_bytes", "Memory in use on the device, by whomever"),
                ("device_memory_size_bytes", "Memory of the device"),
                ("utilisation_ratio", "Share of the time in which the device was busy"),
            )
        }
        for index in range(torch.cuda.device_count()):
            reserved = torch.cuda.memory_reserved(index)
            if not reserved:
                continue
            device = [str(index)]
            free, size = torch.cuda.mem_get_info(index)
            gauges["memory_bytes"].add_metric(device, reserved)
            gauges["device_memory_used_bytes"].add_metric(device, size - free)
            gauges["device_memory_size_bytes"].add_metric(device, size)
            try:
                busy = torch.cuda.utilization(index) / 100.0
            except (ImportError, RuntimeError):  # the library is not there, or its driver is not
                continue
            gauges["utilisation_ratio"].add_metric(device, busy)
        yield from gauges.values()
