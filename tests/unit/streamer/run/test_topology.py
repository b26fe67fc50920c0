"""How many nodes a run has."""

import os
from pathlib import Path

import pytest

from streamer.config import Config
from streamer.run.topology import Topology

ON_DEVICES = {"minval": 40.0, "minscore": 60.0, "device": "cuda"}


@pytest.mark.parametrize(
    ("detect", "nodes", "devices", "detectors"),
    [
        ({}, {}, 3, max(1, os.cpu_count() // 2)),
        (ON_DEVICES, {}, 3, 3),
        (ON_DEVICES, {"detectors": 2}, 3, 2),
        (ON_DEVICES, {}, 0, max(1, os.cpu_count() // 2)),
    ],
)
def test_where_devices_find_peaks_there_is_a_detector_worker_for_each(
    detect, nodes, devices, detectors
):
    config = Config.model_validate({"detect": detect, "nodes": nodes})
    assert Topology.plan(config, Path("/tmp/r"), devices).detectors == detectors
