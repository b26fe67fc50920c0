import io
import re

import numpy as np
from rich.console import Console

from streamer.config import Config
from workers.detect.topology import TopologyFinder
from workers.detect.tune import tune


def test_the_two_numbers_find_the_spots_and_no_noise(tmp_path):
    rng = np.random.default_rng(0)
    row, col = np.mgrid[:160, :160]
    places = [(40, 40), (40, 110), (110, 40), (110, 110)]
    spots = sum(400 * np.exp(-((row - r) ** 2 + (col - c) ** 2) / 4.5) for r, c in places)
    frames = rng.poisson(spots + 20, (4, 160, 160)).astype(np.uint16)
    np.save(tmp_path / "a.npy", frames)
    told = io.StringIO()
    console = Console(file=told, width=200)
    tune(Config(), str(tmp_path / "a.npy"), tmp_path / "a.png", 4, console)
    minval, minscore = map(
        float, re.search(r"minval=(\S+) --set detect\.minscore=(\S+)", told.getvalue()).groups()
    )
    assert "auto finds 4.0 peaks a frame" in told.getvalue()
    assert (tmp_path / "a.png").stat().st_size > 1000
    for frame in frames:
        assert len(TopologyFinder(minval, minscore)(frame)) == 4


def test_fringes_are_left_out_as_in_a_run(tmp_path):
    row, col = np.mgrid[:160, :160]
    places = [(40, 40, 400), (40, 48, 150), (110, 110, 400), (118, 110, 150)]
    spots = sum(a * np.exp(-((row - r) ** 2 + (col - c) ** 2) / 4.5) for r, c, a in places)
    frames = np.random.default_rng(0).poisson(spots + 20, (2, 160, 160)).astype(np.uint16)
    np.save(tmp_path / "a.npy", frames)
    told = io.StringIO()
    config = Config.model_validate({"detect": {"merge_px": 10}})
    tune(config, str(tmp_path / "a.npy"), tmp_path / "a.png", 2, Console(file=told, width=200))
    assert "auto finds 2.0 peaks a frame" in told.getvalue()
    rows = [
        line for line in told.getvalue().splitlines() if re.match(r"\s+[\d.]+(\s+[\d.,]+){5}", line)
    ]
    assert rows
    assert all(float(line.split()[3]) == 2.0 for line in rows[2:4])
