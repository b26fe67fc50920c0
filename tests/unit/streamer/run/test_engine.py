"""Which placements are refused."""

import pytest

from streamer.config import load_config
from streamer.errors import UserError
from streamer.run.engine import check_placement, open_placement
from streamer.run.placement import LocalPlacement


def placed(*settings):
    return load_config(None, ["placement.engine=dask", *(f"placement.{one}" for one in settings)])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ((), "is to say where Dask's scheduler is"),
        (("scheduler=10.0.0.1:8786",), "is to say where Dask's scheduler is"),
        (("scheduler=local:x",), "write local:3"),
        (("scheduler=tcp://10.0.0.1:8786",), "tls://, or set placement.insecure=true"),
        (("scheduler=tls://10.0.0.1:8786", "curve=false"), "placement.curve=true"),
    ],
)
def test_a_placement_that_others_could_use_or_that_cannot_be_is_refused(settings, words):
    with pytest.raises(UserError, match=words):
        check_placement(placed(*settings))


@pytest.mark.parametrize(
    "settings",
    [
        ("scheduler=local:3",),
        ("scheduler=tcp://127.0.0.1:8786",),
        ("scheduler=tls://10.0.0.1:8786",),
        ("scheduler=tcp://10.0.0.1:8786", "insecure=true", "curve=false"),
    ],
)
def test_a_placement_that_nobody_else_reaches_is_not(settings):
    check_placement(placed(*settings))


def test_without_dask_it_is_said_how_to_have_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'braggstream\[cluster\]'"):
        check_placement(placed("scheduler=local:3"))


@pytest.mark.parametrize(("scheme", "has_names"), [("ipc", False), ("tcp", True)])
def test_a_run_of_one_host_has_names_where_it_has_ports(scheme, has_names, tmp_path):
    config = load_config(None, [f"transport.scheme={scheme}"])
    check_placement(config)
    placement = open_placement(config, list, tmp_path, tmp_path, 2)
    assert isinstance(placement, LocalPlacement)
    assert placement.cuda_devices == 2
    assert (placement.directory is not None) is has_names
