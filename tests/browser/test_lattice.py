"""Lattice parameters on the page of a run that has ended, over time, voltage and capacity."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamer.config import Config
from streamer.dashboard.hub import Hub
from streamer.dashboard.requests import Watch
from streamer.dashboard.server import application
from streamer.dashboard.view import RunView
from streamer.results.schema import LATTICE
from tests.browser.conftest import shown, until
from tests.served import Served
from tests.unit.runs import BEGIN, FRAMES_PER_SERIES, STEP, make_run

N = FRAMES_PER_SERIES
A = 4.05 + 1e-4 * np.arange(N)
SIGMA = np.linspace(2e-5, 6e-5, N)


def write_lattice(folder, last: int) -> None:
    """Write the table as of a run whose last part is that: two phases in the first series."""
    frame = np.repeat(np.arange(N), 2)
    columns = {name: np.full(2 * N, np.nan) for name in LATTICE.names}
    columns |= {
        "series": ["first"] * (2 * N), "frame": frame, "time_ns": BEGIN + frame * STEP,
        "phase": np.tile([0, 1], N).astype(np.int32), "a": np.stack([A, A + 0.1], axis=1).ravel(),
        "a_sigma": np.repeat(SIGMA, 2), "n_reflections": np.full(2 * N, 5, np.int32),
    }  # fmt: skip
    table = pa.table(columns, schema=LATTICE)
    said = {b"braggstream.last_part": str(last).encode()}
    pq.write_table(table.replace_schema_metadata(said), folder.path / "lattice.parquet")


@pytest.fixture
def folder(tmp_path):
    folder = make_run(tmp_path / "run")
    cell = folder.read_cell()
    place = cell.column_names.index("capacity_ah")
    capacity = pa.array(1e-3 + 1e-5 * np.arange(len(cell)))
    folder.write_cell(cell.set_column(place, "capacity_ah", capacity))
    (folder.path / "config.yaml").write_text(
        Config.model_validate({"lattice": {"a": 4.05}}).to_yaml()
    )
    return folder


def test_a_lattice_parameter_is_drawn_with_its_error_over_voltage_and_capacity(folder, look, keep):
    write_lattice(folder, folder.last_part().index)
    with Served(application(Hub(RunView(folder.path)))) as served:
        page = look(served.url + "?tracks=0", height=2200)
        until(
            page,
            "[...document.querySelector('#quantity').options].some((o) => o.value === 'lattice_a')",
        )
        page.locator("#quantity").select_option("lattice_a")
        until(page, "view.drift.quantity === 'lattice_a' && view.drift.lines.length === 2")
        drift = shown(page)["drift"]
        assert drift["unit"] == "angstrom"
        lines = {line["track"]: line for line in drift["lines"]}
        for number, a in ((-1, A), (-2, A + 0.1)):
            assert lines[number]["x"] == pytest.approx((BEGIN + np.arange(N) * STEP) * 1e-9)
            assert lines[number]["y"] == pytest.approx(a, abs=1e-6)
            assert lines[number]["sigma"] == pytest.approx(SIGMA, rel=1e-5)
        # The cell is read at the moments of the frames: at rest for five of them, then charged.
        for axis, begin, step in (("voltage", 4.0, 0.01), ("capacity", 1.0, 0.01)):
            page.locator("#against").select_option(axis)
            until(
                page,
                f"view.against.axis === '{axis}' && view.against.pieces[0]?.name === 'phase 0'",
            )
            until(page, f"Math.abs(view.against.pieces[0].x[0] - {begin}) < 0.001")
            pieces = [p for p in shown(page)["against"]["pieces"] if p["name"] == "phase 0"]
            assert [len(one["x"]) for one in pieces] == [5, N - 5]
            assert [one["dash"] for one in pieces] == [[6, 4], []]
            x, y, sigma = (np.concatenate([one[k] for one in pieces]) for k in ("x", "y", "sigma"))
            assert x == pytest.approx(begin + step * np.arange(N), abs=1e-5)
            assert y == pytest.approx(A, abs=1e-6)
            assert sigma == pytest.approx(SIGMA, rel=1e-5)
        keep(page)


def test_what_was_fitted_before_the_run_went_on_is_not_offered(folder):
    view = RunView(folder.path)
    write_lattice(folder, folder.last_part().index - 1)
    view.refresh()
    view.refresh_tables()
    assert not any(name.startswith("lattice") for name in view.hello()["quantities"])
    assert view.drift(Watch(quantity="lattice_a")).curves == {}
    write_lattice(folder, folder.last_part().index)
    view.refresh_tables()
    assert "lattice_a" in view.hello()["quantities"]
    assert "lattice_b" not in view.hello()["quantities"]
    view.close()
