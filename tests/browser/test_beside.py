"""What stands beside the curves: drifts as arrows, curves over the cell, two compared."""

from __future__ import annotations

import math

import numpy as np
import pytest

from streamer.dashboard.messages import encode
from tests.browser.conftest import ready, shown, until
from tests.browser.fake import FakeRun, FakeServer


class Charged(FakeRun):
    """A run whose tables tell where spots were first, and whose cell counts its capacity."""

    def table(self):
        now = self.positions(self.n_known // 2)
        drift = now - self.place
        sigma = np.full(self.spots, 0.02)
        more = {
            "row": now[:, 0], "col": now[:, 1],
            "ref_row": self.place[:, 0], "ref_col": self.place[:, 1],
            "drift_row": drift[:, 0], "drift_col": drift[:, 1],
        }  # fmt: skip
        names = ("row", "col", "ref_row", "ref_col", "drift_row", "drift_col")
        more |= {f"{name}_sigma": sigma for name in names}
        return super().table() | more | {"last_frame": np.full(self.spots, self.n_known - 1.0)}

    def cell(self):
        kinds = [("charge", 0, 200), ("discharge", 200, 399)]
        cycles = [
            {"kind": kind, "start_frame": a, "stop_frame": b, "start": self.time[a],
             "stop": self.time[b]} for kind, a, b in kinds
        ]  # fmt: skip
        half = np.interp(np.arange(self.frames), [0, 200, 399], [0, 1, 0])
        arrays = {
            "time": self.time, "frame": np.arange(self.frames, dtype=float),
            "voltage": (3 + half).astype(np.float32), "current": half.astype(np.float32),
            "capacity": (2e-3 * half).astype(np.float32),
        }  # fmt: skip
        return encode("cell", {"half_cycles": cycles}, arrays)


@pytest.fixture
def charged():
    return Charged()


@pytest.fixture
def page(charged, look):
    with FakeServer(charged.answer, charged.greeting) as server:
        page = look(server.url, height=2200)
        page.server = server
        ready(page)
        yield page


def test_arrows_are_the_drifts_of_the_run(page, charged, keep):
    assert shown(page)["arrows"] is None
    page.locator("#quiver").check()
    until(page, "view.arrows !== null && document.querySelector('#quiver-words').textContent")
    arrows = {one["track"]: one for one in shown(page)["arrows"]["each"]}
    table = charged.table()
    clean = [n for n in range(charged.spots) if not charged.flags[n] & 48]
    assert sorted(arrows) == clean
    for track, arrow in arrows.items():
        assert (arrow["down"], arrow["right"]) == pytest.approx(
            (table["drift_row"][track], table["drift_col"][track])
        )
        length = math.hypot(arrow["down"], arrow["right"])
        assert arrow["sure"] == (length > 3 * math.hypot(0.02, 0.02))
    factor = shown(page)["arrows"]["factor"]
    words = page.locator("#quiver-words").inner_text()
    assert words == f"× {factor:.{1 if factor < 10 else 0}f}"
    # Something is drawn where the longest of them ends.
    longest = max(arrows.values(), key=lambda one: math.hypot(one["down"], one["right"]))
    end = (longest["row"] + factor * longest["down"], longest["col"] + factor * longest["right"])
    drawn = page.evaluate(
        """([row, col]) => {
            const canvas = document.querySelector("#arrows");
            const ratio = canvas.width / canvas.clientWidth;
            const [x, y] = view.place(row, col).map((value) => Math.round(value * ratio));
            const { data } = canvas.getContext("2d").getImageData(x - 3, y - 3, 7, 7);
            return data.some((value) => value > 100);
        }""",
        end,
    )
    assert drawn
    keep(page)
    until(page, "location.search.includes('quiver')")
    page.reload()
    until(page, "view.arrows !== null")


def test_an_arrow_of_a_reflection_goes_from_its_first_spot_to_its_newest(page, charged):
    charged.reflection[1] = 0
    table = charged.table()
    table["last_time_ns"][1] = charged.time[-1] * 1e9 + 1e9
    page.server.send(encode("tracks", {"n_frames": 400, "timeline": [[0, 399],
                     [charged.time[0], charged.time[-1]]], "units": {}}, table))  # fmt: skip
    page.locator("#quiver").check()
    until(page, "view.arrows?.each.every((one) => one.track !== 0)")
    arrow = next(one for one in shown(page)["arrows"]["each"] if one["track"] == 1)
    assert arrow["down"] == pytest.approx(table["row"][1] - table["ref_row"][0])
    assert arrow["right"] == pytest.approx(table["col"][1] - table["ref_col"][0])


@pytest.mark.parametrize(("axis", "low", "high"), [("voltage", 3, 4), ("capacity", 0, 2)])
def test_curves_are_drawn_over_voltage_and_capacity(page, charged, axis, low, high, keep):
    until(page, "view.against?.pieces.length > 0")
    page.locator("#against").select_option(axis)
    until(page, f"view.against.axis === '{axis}'")
    until(page, f"Math.abs(view.against.pieces[0].x[0] - {low}) < 0.1")
    track = shown(page)["tracks"][0]
    y, sigma = charged.drift(track)
    charge, discharge = (
        one for one in shown(page)["against"]["pieces"] if one["name"] == str(track)
    )
    assert (charge["dash"], discharge["dash"]) == ([], [6, 4])
    assert [*charge["y"], *discharge["y"]] == pytest.approx(y.tolist())
    assert [*charge["sigma"], *discharge["sigma"]] == pytest.approx(sigma.tolist())
    half = np.interp(np.arange(400), [0, 200, 399], [0, 1, 0])
    assert [*charge["x"], *discharge["x"]] == pytest.approx(
        (low + (high - low) * half).tolist(), abs=1e-4
    )
    page.locator("#against-section").scroll_into_view_if_needed()
    keep(page)


@pytest.mark.parametrize("how", ["difference", "ratio"])
def test_two_are_compared_with_their_error(page, charged, how):
    until(page, "view.pair?.y.length === 400")
    one, other = (int(page.locator(f"#pair-{name}").input_value()) for name in ("one", "other"))
    assert [one, other] == shown(page)["tracks"][:2]
    page.locator("#pair-how").select_option(how)
    until(page, f"view.pair?.how === '{how}' && view.pair.y.length === 400")
    pair = shown(page)["pair"]
    (a, sa), (b, sb) = charged.drift(one), charged.drift(other)
    if how == "difference":
        wanted, sigma, told = a - b, np.hypot(sa, sb), np.ones(400, bool)
    else:
        wanted, sigma = a / b, np.hypot(sa / b, a * sb / b**2)
        told = np.abs(b) > 3 * sb
    got = np.array([math.nan if value is None else value for value in pair["y"]])
    assert np.isfinite(got).tolist() == told.tolist()
    assert got[told] == pytest.approx(wanted[told], rel=1e-4, abs=1e-5)
    assert np.array(pair["sigma"], float)[told] == pytest.approx(sigma[told], rel=1e-4)


def test_spots_of_one_reflection_are_one_in_a_pair(page, charged):
    first, second, third = shown(page)["tracks"][:3]
    charged.reflection[second] = first
    page.server.send(charged.tracks())
    until(
        page,
        f"[...document.querySelector('#pair-one').options].every((o) => o.value !== '{second}')",
    )
    page.locator("#pair-one").select_option(str(first))
    page.locator("#pair-other").select_option(str(third))
    until(page, f"view.pair.other === '{third}' && view.pair.y.length === 400")
    pair = shown(page)["pair"]
    (a, sa), (b, sb), (c, sc) = (charged.drift(n) for n in (first, second, third))
    mean = (a / sa**2 + b / sb**2) / (1 / sa**2 + 1 / sb**2)
    assert pair["y"] == pytest.approx((mean - c).tolist(), rel=1e-4, abs=1e-5)
    sigma = np.hypot((1 / sa**2 + 1 / sb**2) ** -0.5, sc)
    assert pair["sigma"] == pytest.approx(sigma.tolist(), rel=1e-4)


def test_what_is_not_in_sight_is_drawn_now_and_then_and_at_once_when_it_is(charged, look):
    with FakeServer(charged.answer, charged.greeting) as server:
        page = look(server.url)
        ready(page)
        until(page, "view.drift.drawn > 0")
        assert page.locator("#against-section").bounding_box()["y"] > 900
        # Who keeps the whole page as a picture never had it in sight.
        until(page, "view.against.pieces.length > 0 && view.pair.y.length === 400")
        page.set_viewport_size({"width": 1440, "height": 300})
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        until(page, "document.querySelector('#image').getBoundingClientRect().bottom < 0")
        page.evaluate("new Promise(requestAnimationFrame)")
        before = page.evaluate("performance.now()"), shown(page)["images"]
        for frame in range(5, 35):
            server.send(charged.image(frame, newest=True))
            until(page, f"view.image.frame === {frame}")
        page.evaluate("new Promise(requestAnimationFrame)")
        elapsed_ms, drawn = page.evaluate("performance.now()") - before[0], shown(page)["images"]
        assert drawn - before[1] <= 1 + elapsed_ms / 5000
        server.send(charged.image(35, newest=True))
        page.evaluate("scrollTo(0, 0)")
        until(page, f"view.images > {drawn}")


def test_without_a_cell_nothing_is_drawn_over_it(charged, look):
    charged.greeting = lambda: [charged.hello(), charged.health(), charged.tracks()]
    with FakeServer(charged.answer, charged.greeting) as server:
        page = look(server.url)
        ready(page)
        assert not page.locator("#against-section").is_visible()
