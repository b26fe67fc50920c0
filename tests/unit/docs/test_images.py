from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs

import pytest

pytest.importorskip("playwright", reason="needs Playwright: pip install 'braggstream[test]'")

import make_images

from streamer.results import open_run
from tests.conftest import ROOT
from tests.unit.runs import make_run


def test_the_page_is_opened_at_a_frame_that_there_is_with_tracks_that_there_are(tmp_path):
    run = open_run(make_run(tmp_path / "run").path)
    query, place = make_images._view(run.path)
    said = {name: value for name, (value,) in parse_qs(query).items()}
    assert set(map(int, said["tracks"].split("."))) <= set(run.tracks["track"].to_pylist())
    places = zip(run.frames["series"].to_pylist(), run.frames["frame"].to_pylist(), strict=True)
    assert (said["series"], int(said["frame"])) in set(places)
    assert place in set(
        zip(run.peaks["row"].to_pylist(), run.peaks["col"].to_pylist(), strict=True)
    )


def test_all_pictures_of_the_readme_are_taken_by_it():
    text = Path(make_images.__file__).read_text()
    shown = {path.name for path in (ROOT / "docs/images").iterdir()}
    assert shown == {"dashboard-dark.png", "dashboard-light.png", "drift.png"}
    assert "dashboard-{theme}.png" in text
    assert '"drift.png"' in text
