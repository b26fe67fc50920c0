"""Limits of tracks, and what is beyond them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from streamer.config import AlarmsConfig, LimitsConfig, load_config
from streamer.errors import UserError
from streamer.frames.flags import POOR_FIT
from streamer.results.alarms import Severity, Watch, alarm_of, alarms, alarms_in_words

LIMITS = LimitsConfig(lolo=-5.0, low=-2.0, high=2.0, hihi=5.0)


def tracks(**columns: list[float]) -> pa.Table:
    n = len(next(iter(columns.values())))
    whole = {
        "track": np.arange(n),
        "reflection": np.arange(n) // 2,
        "flags": np.zeros(n, np.int32),
        "last_time_ns": np.full(n, 10**18),
        **{name: np.full(n, np.nan) for name in ("drift", "strain", "fwhm_major", "d")},
    }
    return pa.table(whole | {name: np.array(values) for name, values in columns.items()})


def found(table: pa.Table, **config: object) -> dict[tuple[int, str], tuple[int, str]]:
    beyond = alarms(table, AlarmsConfig.model_validate(config))
    return {(one.track, one.quantity): (int(one.severity), one.limit) for one in beyond}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, (Severity.NONE, "")), (1.999, (Severity.NONE, "")), (2.0, (Severity.MINOR, "high")),
        (5.0, (Severity.MAJOR, "hihi")), (-2.0, (Severity.MINOR, "low")),
        (-9.0, (Severity.MAJOR, "lolo")), (float("nan"), (Severity.NONE, "")),
    ],
)  # fmt: skip
def test_a_value_is_in_alarm_from_its_limit_on_as_in_epics(value, expected):
    assert alarm_of(value, LIMITS) == expected


def test_each_quantity_has_its_limits_and_the_nearest_hold():
    table = tracks(drift=[0.0, 3.0, -6.0, 3.0, 3.0], d=[2.0, 2.0, 2.0, 2.0, 2.1])
    config = {
        "drift": {"low": -2, "high": 2, "lolo": -5},
        "tracks": {4: {"d": {"high": 2.05}, "drift": {"high": 10}}},
        "reflections": {1: {"drift": {"hihi": 2.5}}},
    }
    assert found(table, **config) == {
        (1, "drift"): (1, "high"),
        (3, "drift"): (2, "hihi"),  # of reflection 1, as is 2, which is not above
        (4, "d"): (1, "high"),
    }


def test_what_has_ended_or_is_no_peak_is_in_no_alarm():
    table = tracks(
        drift=[9.0, 9.0, 9.0],
        flags=[0, POOR_FIT, 0],
        last_time_ns=[10**18, 10**18, 10**18 - 61 * 10**9],
    )
    assert found(table, drift={"high": 1}) == {(0, "drift"): (1, "high")}
    assert found(table) == {}
    assert found(tracks(drift=[]), drift={"high": 1}) == {}


def test_it_is_said_in_a_line_the_worst_first():
    table = tracks(drift=[3.0, 7.25, 3.0, 3.0, 3.0])
    beyond = alarms(table, AlarmsConfig(drift=LIMITS))
    assert alarms_in_words(beyond) == (
        "track 1: drift 7.25 px is above hihi 5, track 0: drift 3 px is above high 2, "
        "track 2: drift 3 px is above high 2, and 2 more beyond their limits"
    )
    assert alarms_in_words([]) == ""


def test_a_table_is_looked_at_once():
    watch, table = Watch(AlarmsConfig(drift=LIMITS)), tracks(drift=[3.0])
    assert watch.look(table)
    assert not watch.look(table)
    assert watch.severities == {(0, "drift"): 1}
    assert watch.look(tracks(drift=[0.0]))
    assert (watch.severities, watch.words) == ({}, "")


def test_limits_are_read_from_the_command_line_and_must_grow():
    config = load_config(None, ["alarms.tracks.12.d.high=2.05", "alarms.strain={low: -1e-3}"])
    assert config.alarms.limits(12, 0, "d") == LimitsConfig(high=2.05)
    assert config.alarms.limits(13, 0, "strain") == LimitsConfig(low=-1e-3)
    with pytest.raises(UserError, match="limits must grow"):
        load_config(None, ["alarms.drift={low: 3, high: 2}"])
