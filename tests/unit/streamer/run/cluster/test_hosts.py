"""Which host is to have a node."""

from __future__ import annotations

from collections import defaultdict

import pytest

from streamer.run.cluster.hosts import Host, choose

NODES = ["sink", *(f"gpu-{i}" for i in range(2)), *(f"detector-{i}" for i in range(8)), "ingest"]


def hosts(*gpus, cores=8):
    letters = "abc"[: len(gpus)]
    return [
        Host(f"tcp://{name}:1", (name, f"host-{name}", name), cores, count)
        for name, count in zip(letters, gpus, strict=True)
    ]


def place(there, pins=None, nodes=NODES):
    """Return which nodes each host gets, one after the other."""
    busy = defaultdict(list)
    for node in nodes:
        busy[choose(there, node, busy, pins or {}).address].append(node)
    return {address[6]: set(nodes) for address, nodes in busy.items()}


def roles(nodes):
    return sorted(node.partition("-")[0] for node in nodes)


def test_gpu_workers_go_where_devices_are_and_each_has_its_own():
    placed = place(hosts(0, 1, 1))
    assert roles(placed["b"]).count("gpu") == roles(placed["c"]).count("gpu") == 1


def test_detector_workers_go_to_hosts_with_a_gpu_worker_while_these_have_cores():
    placed = place(hosts(0, 2, 0))
    assert roles(placed["b"]).count("detector") == 6  # beside two GPU workers, on eight cores
    few = place(hosts(0, 2, 0, cores=4))
    assert roles(few["b"]).count("detector") == 2


def test_without_devices_nodes_are_spread_by_cores():
    assert sorted(map(len, place(hosts(0, 0, 0)).values())) == [4, 4, 4]


@pytest.mark.parametrize("pins", [{"sink": ["c"]}, {"sink": ["host-c"]}])
def test_a_pinned_node_is_nowhere_else(pins):
    assert "sink" in place(hosts(0, 0, 0), pins)["c"]
    assert choose(hosts(0, 0), "sink", {}, pins) is None


def test_a_pin_of_a_node_stands_above_that_of_its_role():
    placed = place(hosts(1, 1, 1), {"detector": ["a"], "detector-3": ["b"]})
    assert "detector-3" in placed["b"]
    assert roles(placed["a"]).count("detector") == 7
