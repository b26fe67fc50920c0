"""The curves when a run goes on for long: what ends, what is missing, what stays legible."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.dashboard.messages import encode
from tests.browser.conftest import ready, shown, until
from tests.browser.fake import FakeRun, FakeServer


class Night(FakeRun):
    """A run of which the longest tracks ended before its last frames."""

    def table(self):
        table = super().table()
        seen = np.full(self.spots, self.frames)
        seen[:4] = self.frames - 21  # longest, and over
        seen[4:] -= 100  # shorter, and go on
        last = np.where(np.arange(self.spots) < 4, self.frames - 22, self.frames - 1)
        excursion = np.abs(self.speed) + 1
        return table | {
            "flags": np.zeros(self.spots, np.int32), "n_frames": seen.astype(float),
            "last_frame": last.astype(float), "last_time_ns": self.time[last] * 1e9,
            "excursion": excursion, "excursion_sigma": self.sigma,
        }  # fmt: skip


@pytest.fixture
def night():
    return Night()


@pytest.fixture
def page(night, look):
    with FakeServer(night.answer, night.greeting) as server:
        page = look(server.url)
        page.server = server
        ready(page)
        yield page


def test_tracks_that_are_still_seen_come_first(page, night):
    assert sorted(shown(page)["tracks"]) == [4, 5, 6, 7, 8, 9]
    assert sorted(shown(page)["table"][-4:]) == [0, 1, 2, 3]


def test_a_track_that_has_ended_says_since_when(page, night, keep):
    row = page.locator('tr[data-track="2"]')
    row.scroll_into_view_if_needed()
    assert row.locator('[data-key="flags"]').inner_text() == "ended 42 s ago · clean"
    row.click()
    page.locator('#readout li[data-track="2"]', has_text="ended 42 s ago").wait_for()
    keep(page)
    # Of a run that is over, tracks end with it.
    page.server.send(night.hello(live=False), night.tracks())
    until(page, "!document.querySelector('#readout').textContent.includes('ended')")


def test_proposed_tracks_give_way_to_others_when_they_end(page, night):
    first = shown(page)["tracks"]
    table = night.table()
    gone, new = first[0], 10
    table["last_frame"][gone] = night.frames - 50
    table["n_frames"][new] = 290
    header = {"n_frames": night.frames, "timeline": [[0, night.frames - 1],
              [night.time[0], night.time[-1]]], "units": {}}  # fmt: skip
    page.server.send(encode("tracks", header, table))
    until(page, f"!view.tracks.includes({gone})")
    assert len(shown(page)["tracks"]) == 6


def test_the_plot_goes_over_the_whole_run_whatever_its_tracks_do(page, night):
    page.locator("#none").click()
    page.locator('tr[data-track="4"]').click()
    until(page, "view.drift.lines.length === 1")
    lines = night.lines({"tracks": [4], "quantity": "radial", "x": "time", "from": None,
                         "to": night.time[50], "request": 10**6})  # fmt: skip
    page.server.send(night.writer.write(lines))
    until(page, "view.drift.lines[0].x.length === 51")
    low, high = shown(page)["drift"]["range"]
    assert low <= night.time[0]
    assert high >= night.time[-1]


def test_the_largest_excursion_is_beside_where_a_track_is_now(page, night):
    cells = page.locator('tr[data-track="4"]').locator('[data-key="excursion"]').inner_text()
    assert float(cells.split()[0]) == pytest.approx(night.table()["excursion"][4], abs=0.06)


GAP = """async ([x, gap]) => {
    const { shapes, usualGap } = await import("/plot/lines.js");
    const scale = { x0: 0, y0: 50, across: 2, below: 1, from: 0, to: 200 };
    const line = { x, y: x.map(() => 0), sigma: x.map(() => 5), gap: gap ?? usualGap(x) };
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [400, 100];
    const context = canvas.getContext("2d");
    const { stroke, band } = shapes(line, scale);
    context.stroke(stroke);
    context.fill(band);
    const { data } = context.getImageData(0, 50, 400, 1);
    return [100, 200, 300].map((at) => data[4 * at + 3] > 0);
}"""


def test_where_frames_are_missing_there_is_no_line_and_no_band(page):
    x = [*range(60), *range(140, 200)]
    assert page.evaluate(GAP, [x, None]) == [True, False, True]
    assert page.evaluate(GAP, [x, 1e9]) == [True, True, True]
    # A few frames without the spot are no gap.
    few = [n for n in range(200) if n % 20 > 4]
    assert page.evaluate(GAP, [few, None]) == [True, True, True]


TICKS = """async ([from, to, width]) => {
    const { clock, room } = await import("/plot/ticks.js");
    const space = room(null, 0, from, to, width);
    const steps = [.01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 15, 30, 60, 300, 900, 1800, 3600, 7200];
    const step = steps.find((one) => (one * width) / (to - from) >= space) ?? 86400;
    const plot = { scales: { x: { min: from, max: to } } };
    const context = document.createElement("canvas").getContext("2d");
    context.font = "12px system-ui, sans-serif";
    const [word] = clock(plot, [from], 0, space, step);
    return [context.measureText(word).width, (step * width) / (to - from)];
}"""


@pytest.mark.parametrize("span", [0.3, 1.1, 5, 40, 300, 7000, 90_000, 200_000])
@pytest.mark.parametrize("width", [300, 900])
def test_times_do_not_run_into_each_other(page, span, width):
    word, apart = page.evaluate(TICKS, [1.75e9, 1.75e9 + span, width])
    assert word + 4 < apart


def test_sliders_of_a_small_screen_can_be_used(night, look):
    with FakeServer(night.answer, night.greeting) as server:
        page = look(server.url, width=1024, height=768)
        ready(page)
        for name in ("low", "high", "scroll"):
            assert page.locator(f"#{name}").bounding_box()["width"] > 100


# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
BLINDNESS = {
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
}  # fmt: skip
TO_XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]


def lab(colour: str, sight: np.ndarray) -> np.ndarray:
    """Return a colour as somebody sees it, in CIE L*a*b*."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(sight @ linear, 0, 1) / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("sight", BLINDNESS)
def test_lines_are_told_apart_with_any_colour_vision(page, theme, sight):
    style = f"Array.from({{ length: 8 }}, (_, slot) => m.lineStyle(slot, '{theme}').colour)"
    colours = page.evaluate(f"import('/plot/colours.js').then((m) => {style})")
    seen = [lab(colour, np.array(BLINDNESS[sight])) for colour in colours]
    apart = [np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]]
    assert min(apart) > 14
