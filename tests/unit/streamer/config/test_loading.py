from __future__ import annotations

import pytest

from streamer.config import Config, load_config
from streamer.errors import UserError
from tests.conftest import ROOT

CONFIGS = ROOT / "configs"


def test_defaults_survive_the_way_through_yaml(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(Config().to_yaml())
    assert load_config(path) == Config()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_the_configurations_that_come_along_are_valid(path):
    assert isinstance(load_config(path), Config)


def test_overrides_win_over_the_file_and_read_as_yaml(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("detect: {minval: 5, minscore: 7}\n")
    config = load_config(path, ["detect.minval=9.5", "nodes.gpus=2", "overload=newest"])
    assert (config.detect.minval, config.detect.minscore) == (9.5, 7)
    assert config.nodes.gpus == 2
    assert config.overload == "newest"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "detect.minvall=3",
            "unknown configuration key detect.minvall; did you mean detect.minval",
        ),
        ("zzz=3", "unknown configuration key zzz; known are source.speed"),
        ("minscore=3", "did you mean detect.minscore"),
        ("detect=3", "detect = 3 does not fit"),
        ("detect.finders=magic", "detect.finders = 'magic' does not fit"),
        ("detect.minscore=0", "detect.minscore = 0 does not fit"),
        (
            "detect.minscore=.inf",
            "detect.minscore = inf does not fit: it should be a finite number",
        ),
        ("detect.minval=1e400", "detect.minval = '1e400' does not fit: it should be a finite"),
        ("alarms.drift={high: .inf}", "alarms.drift.high = inf does not fit"),
        ("nodes.gpus=100000", "nodes.gpus = 100000 does not fit"),
        ("source.frames=5:20", "does not fit: it should be start:stop:step in quotes of its own"),
        ("detect.minval.deep=3", "does not fit"),
        ("detect.minval", "write it as key.path=value"),
        ("detect.minval=[", "not a YAML value"),
        ("detect.device=cuda", "cpu, as cuda takes a number for detect.minval, a number for"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(override, message):
    with pytest.raises(UserError) as caught:
        load_config(None, [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_device_is_taken_with_thresholds_that_are_numbers():
    given = ["detect.device=cuda", "detect.minval=0", "detect.minscore=60"]
    assert load_config(None, given).detect.device == "cuda"
    for other in ("detect.dark=dark.npy", "detect.binning=2", "detect.finder=findpeaks"):
        with pytest.raises(UserError, match=r"detect\.device = 'cuda' does not fit"):
            load_config(None, [*given, other])


LAUGHS = b"a0: &a0 [1]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 8)) for n in range(1, 12)
)
"""Eight times the same eight times the same, and so on: 10^10 values in half a kilobyte."""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"detect: [", "is not valid YAML (line 1)"),
        (b"- just\n- a list\n", "must hold sections"),
        (b"cell: {start: 9999-99-99}", "is not valid YAML (month must be in 1..12)"),
        (b"[" * 5000, "is not valid YAML"),
        (b"detect: &a {minval: *a}", "beyond all need"),
        (LAUGHS, "beyond all need"),
        (b"\xff\xfe\x00binary", "cannot read the configuration"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path, content, message):
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"config\.yaml") as caught:
        load_config(path)
    assert message in str(caught.value)


def test_an_empty_file_means_the_defaults(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("")
    assert load_config(path) == Config()


def test_options_stand_above_overrides_and_are_taken_as_they_are(tmp_path):
    options = {"source.frames": "10:20", "source.loop": None, "dashboard.port": 0}
    config = load_config(None, ["source.loop=3", "dashboard.port=9000"], options)
    assert config.source.frames == "10:20"  # a number in YAML
    assert (config.source.loop, config.dashboard.port) == (3, 0)
    with pytest.raises(UserError, match=r"source\.loop = -1 does not fit"):
        load_config(None, None, {"source.loop": -1})
