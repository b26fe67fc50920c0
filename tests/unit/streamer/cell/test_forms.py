"""Every form of a table that the documentation names is read to the same values."""

from datetime import UTC, timedelta, timezone

import numpy as np
import pytest

from streamer.cell.cycles import half_cycles, kinds_from
from streamer.cell.log import open_cell
from streamer.config import CellConfig
from tests.conftest import ROOT
from tests.unit.streamer.cell.forms import BEGUN, FORMS, measurement, table

TOKYO = timezone(timedelta(hours=9))
IN_UTC = ("since 1970", "since 1904")


@pytest.mark.parametrize("grows", [False, True], ids=["whole", "growing"])
@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.instrument}, {form.what}")
def test_form(tmp_path, form, grows):
    readings = measurement()
    path = tmp_path / form.name
    whole = form.write(readings)
    n_first = len(whole) * 2 // 5 if grows else len(whole)
    path.write_bytes(whole[:n_first])
    source = open_cell(CellConfig(file=str(path), timezone="Asia/Tokyo", **form.options))
    got = source.poll()
    with path.open("ab") as file:
        file.write(whole[n_first:])
    got = got.then(source.poll())
    (account,) = source.accounts()
    source.close()

    names_zone = any(words in form.times for words in IN_UTC) or "zone" in form.what
    begun = BEGUN.replace(tzinfo=UTC if names_zone else TOKYO)
    begun_ns = round(begun.timestamp()) * 10**9
    offsets = (got.time_ns - begun_ns) / 1e9
    np.testing.assert_allclose(offsets, [r.total_s for r in readings], atol=2e-3)
    np.testing.assert_allclose(got.voltage_v, [r.volt for r in readings], atol=1e-9)
    if form.has_current:
        wanted = [r.milliamp / 1000 for r in readings]
        np.testing.assert_allclose(got.current_a, wanted, atol=1e-12)
    else:
        assert np.isnan(got.current_a).all()
    if np.isfinite(got.capacity_ah).any():
        wanted = [r.milliamp_h / 1000 for r in readings]
        np.testing.assert_allclose(got.capacity_ah, wanted, atol=1e-9)
    assert sorted(set(kinds_from(got))) == sorted(form.kinds.split(", "))
    if form.has_current:
        number, sign = half_cycles(got)
        assert sign.tolist() == [r.sign for r in readings]
        assert number.max() == 1
    assert (account.n_read, account.n_unread) == (len(readings), 0)
    assert form.times in account.times.replace("T00:00:00+00:00", "T09:00:00")
    assert bool(account.zone) is not names_zone or "counted" in account.times


def test_documentation_has_the_forms():
    page = (ROOT / "docs" / "cell.md").read_text(encoding="utf-8")
    assert table() in page, "put in what python -m tests.unit.streamer.cell.forms prints"
