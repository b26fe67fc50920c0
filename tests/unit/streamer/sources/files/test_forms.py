"""Every form of recording that the documentation names comes back pixel by pixel."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from streamer.config import SourceConfig
from streamer.sources.check import check_source
from tests.unit.streamer.sources.files.forms import FORMS, page
from tests.unit.streamer.sources.files.test_choice import play

TABLE = Path(__file__).parents[5] / "docs/reference/formats.md"


@pytest.mark.parametrize("name", FORMS)
def test_a_form_comes_back(tmp_path, name):
    form = FORMS[name]
    expected = form.write(tmp_path)
    address = f"{tmp_path}/{form.address}" if form.address != "." else str(tmp_path)
    series, frames, gaps = play(address, **form.config)
    assert not gaps
    assert series.n_frames == len(expected) == len(frames)
    for number, frame in enumerate(expected):
        assert frames[number].dtype == frame.dtype.newbyteorder("=")
        np.testing.assert_array_equal(frames[number], frame)
    text = io.StringIO()
    console = Console(file=text, width=400)
    check_source(address, SourceConfig(**form.config), console, seconds=30.0)
    words = text.getvalue().replace(f"{tmp_path}/", "")
    assert f"taken     {form.shown}\n" in words
    rows, cols = expected.shape[1:]
    assert f"frames    {len(expected)} of {rows} x {cols} " in words
    assert f"({expected.dtype.name}" in words
    assert f"numbers   0 to {len(expected) - 1}\n" in words
    assert "all is well" in words


def test_the_table_is_that_of_the_forms():
    assert len(FORMS) >= 60
    assert TABLE.read_text(encoding="utf-8") == page(), "run make docs"
