"""The page of a run with several series, whose frames it counts one behind the other."""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.browser.conftest import at_peak, ready, shown, until
from tests.browser.fake import FakeRun, FakeServer

NAMES = ["cell17_cycle_0041_charge", "cell17_cycle_0041_discharge", "series_3", "series_4"]
PAUSE_S = 1000.0
"""Between series, each of 100 frames that take 200 s."""
LAST = 399


@pytest.fixture
def run() -> FakeRun:
    return FakeRun(series=NAMES, pause_s=PAUSE_S)


@pytest.fixture
def started(look, run: FakeRun) -> Iterator[tuple[Any, FakeServer]]:
    """A page of a run that is in its second series."""
    run.n_known = 150
    with FakeServer(run.answer, run.greeting) as server:
        page = look(server.url + "?tracks=1.2&x=frame")
        ready(page, 2)
        yield page, server


def shows(page, place: int, number: int) -> None:
    """Wait until a page shows a frame of a series."""
    until(page, f"view.image?.series === '{NAMES[place]}' && view.image.frame === {number}")


def asks(page, server: FakeServer, **show: Any) -> None:
    """Wait until what a page asked for last is a frame."""
    deadline = time.monotonic() + 20
    while server.wanted("show")[-1] != {"type": "show", **show}:
        assert time.monotonic() < deadline, server.wanted("show")
        page.wait_for_timeout(15)


def draws(page, x: str) -> None:
    """Choose an axis and wait until the plot has it."""
    before = shown(page)["drift"]["drawn"]
    page.locator("#x").select_option(x)
    until(page, f"view.drift.x === '{x}' && view.drift.drawn > {before}")


def moment(page) -> str:
    return page.inner_text("#moment").replace("\u2060", "")


def test_numbers_of_the_run_are_series_and_numbers_there(page):
    located, numbers, unknown = page.evaluate(
        """async () => {
            const { Series } = await import("./panels/series.js");
            const series = new Series();
            const nothing = [series.locate(7), series.number("a", 0), series.words(7)];
            series.greet({ series: ["a", "b", "c", "d"], starts: [0, 5, 6, 1006] });
            const numbers = [-1, 0, 4, 5, 6, 1005, 1006, 1e6];
            const located = numbers.map((number) => series.locate(number));
            return [
                located,
                located.map(({ series: name, frame }) => series.number(name, frame)),
                [...nothing, series.number("e", 0), series.number(null, 0)],
            ];
        }"""
    )
    assert [(one["series"], one["frame"]) for one in located] == [
        ("a", -1), ("a", 0), ("a", 4), ("b", 0), ("c", 0), ("c", 999), ("d", 0), ("d", 998_994),
    ]  # fmt: skip
    assert numbers == [-1, 0, 4, 5, 6, 1005, 1006, 1e6]
    assert unknown == [{"series": None, "frame": 7}, None, "", None, None]


def test_every_series_is_reached_by_slider_and_keys(page, server):
    slider = page.locator("#scroll")
    assert slider.get_attribute("max") == str(LAST)
    for number in (250, 0, 117, 399, 100):
        slider.fill(str(number))
        shows(page, number // 100, number % 100)
        asks(page, server, frame=number % 100, series=NAMES[number // 100])
        assert slider.input_value() == str(number)
    # Over the border between two series, there and back.
    page.keyboard.press(",")
    shows(page, 0, 99)
    page.keyboard.press(".")
    shows(page, 1, 0)
    page.locator("#scroll").fill("0")
    page.keyboard.press(",")  # there is nothing before
    page.keyboard.press(".")
    shows(page, 0, 1)


def test_words_say_frame_and_series(page, run, server):
    slider = page.locator("#scroll")
    slider.fill("117")
    shows(page, 1, 17)
    assert "frame 117 of 400 · 17 in cell17_c…scharge · " in moment(page)
    assert page.locator("#moment").get_attribute("title") == NAMES[1]
    assert slider.evaluate("one => one.ariaValueText").startswith("frame 117 of 400 · 17 in cell17")
    row, col = run.positions(117)[3]
    page.mouse.move(*at_peak(page, row, col))
    until(page, "view.patch !== null")
    assert (server.wanted("patch")[-1]["frame"], server.wanted("patch")[-1]["series"]) == (
        17,
        NAMES[1],
    )
    said = page.locator("#peak-words", has_text="frame 117, 17 in cell17_c")
    said.filter(has_text="+ placed").wait_for()
    draws(page, "frame")
    assert "frame 399 · 99 in series_4 · " in shown(page)["readout"]
    with page.expect_download() as waiting:
        page.locator("#image-png").click()
    assert waiting.value.suggested_filename == f"cycle-17_{NAMES[1]}_frame_17.png"


def test_drift_is_along_the_run_and_a_click_shows_its_frame(page, run):
    draws(page, "frame")
    for line in shown(page)["drift"]["lines"]:
        assert line["x"] == list(range(run.frames))
    for x in ("time", "frame"):
        draws(page, x)
        first, last = shown(page)["drift"]["range"]
        places = np.arange(400.0) if x == "frame" else run.time
        box = page.locator("#plot .u-over").bounding_box()
        for number in (330, 20, 160):
            share = (places[number] - first) / (last - first)
            page.mouse.click(box["x"] + share * box["width"], box["y"] + 60)
            until(page, f"view.series === '{NAMES[number // 100]}'")
            until(page, "view.image.series === view.series && view.image.frame === view.frame")
            found = 100 * (number // 100) + shown(page)["frame"]
            # Pixels are some frames wide.
            assert abs(places[found] - places[number]) <= 2 * (last - first) / box["width"]
            # The mark stands where the click was.
            mark = page.locator("#plot .marker").bounding_box()["x"] + 1
            assert mark == pytest.approx(box["x"] + share * box["width"], abs=3)


def test_a_moment_between_two_series_is_no_frame_far_away(page, run):
    found = page.evaluate(
        """async ([frames, times, wanted]) => {
            const { Moments } = await import("./link/moments.js");
            const moments = new Moments();
            const nothing = moments.frameAt(5);
            moments.update([frames, times]);
            return [nothing, ...wanted.map((time) => moments.frameAt(time))];
        }""",
        [[0, 99, 100, 199], [0.0, 99.0, 1000.0, 1198.0], [-5, 0, 30.2, 99, 400, 700, 1100, 2000]],
    )
    assert found == [None, 0, 0, 30, 99, 99, 100, 150, 199]


def test_a_run_that_goes_on_in_its_second_series_is_looked_back_on(started, run):
    page, server = started
    until(page, "document.querySelector('#scroll').max === '149'")
    shows(page, 1, 49)
    page.keyboard.press("Space")
    until(page, f"view.frame === 49 && view.series === '{NAMES[1]}'")
    page.locator("#scroll").fill("30")
    shows(page, 0, 30)
    run.n_known = 180
    server.send(run.health(n_frames=180), run.image())
    until(page, "document.querySelector('#scroll').max === '179'")
    assert (shown(page)["image"]["series"], shown(page)["image"]["frame"]) == (NAMES[0], 30)
    assert page.locator("#scroll").input_value() == "30"
    page.get_by_role("button", name="Live").click()
    shows(page, 1, 79)
    asks(page, server, frame=None, series=None)
    # The third begins while it is watched.
    run.n_known = 201
    server.send(run.hello(), run.image())
    shows(page, 2, 0)
    until(page, "document.querySelector('#scroll').value === '200'")
    assert "frame 200 of 201 · 0 in series_3 · " in moment(page)


def test_what_an_earlier_series_lost_moves_the_later_ones(started, run):
    page, server = started
    page.locator("#scroll").fill("120")
    shows(page, 1, 20)
    mark = "document.querySelector('#plot .marker').getBoundingClientRect().x"
    before = page.evaluate(mark)
    # Ten frames more are told to be missing at the end of the first.
    server.send(run.hello(starts=[0, 110], n_frames=160))
    until(page, "document.querySelector('#scroll').value === '130'")
    assert page.locator("#scroll").get_attribute("max") == "159"
    assert (shown(page)["series"], shown(page)["frame"]) == (NAMES[1], 20)
    assert "frame 130 of 160 · 20 in" in moment(page)
    until(page, f"{mark} > {before} + 20")
    page.locator("#scroll").fill("105")  # one of those
    page.get_by_role("alert").get_by_text(f"there is no frame 105 of {NAMES[0]}").wait_for()


def test_address_with_frame_and_series(look, run):
    with FakeServer(run.answer, run.greeting) as server:
        page = look(f"{server.url}?frame=30&series={NAMES[1]}&tracks=1")
        shows(page, 1, 30)
        until(page, "document.querySelector('#scroll').value === '130'")
        page.keyboard.press(".")
        shows(page, 1, 31)
        until(page, f"location.search.includes('frame=31&series={NAMES[1]}')")
        again = look(page.url)
        shows(again, 1, 31)


def test_address_with_a_frame_alone_stays_in_the_series_it_was_shown_of(look, run):
    run.n_known = 250
    with FakeServer(run.answer, run.greeting) as server:
        page = look(server.url + "?frame=30&tracks=1")
        shows(page, 2, 30)
        until(page, "view.series === 'series_3'")
        run.n_known = 350
        server.send(run.hello(), run.image(330))  # it is what the server now takes for frame 30
        until(page, "document.querySelector('#scroll').max === '349'")
        page.wait_for_timeout(80)
        assert shown(page)["image"]["series"] == "series_3"


def test_csv_over_frames_tells_series_and_number(look, run, tmp_path):
    run.series[1] = 'the "second", of four'
    with FakeServer(run.answer, run.greeting) as server:
        page = look(server.url + "?tracks=1&x=frame")
        ready(page, 1)
        until(page, "view.table.length > 0")
        with page.expect_download() as waiting:
            page.locator("#csv").click()
        waiting.value.save_as(tmp_path / "saved.csv")
    with (tmp_path / "saved.csv").open() as file:
        head, *rows = csv.reader(file)
    assert head[:5] == ["track", "run_frame", "series", "frame", "radial_px"]
    assert [(int(row[1]), row[2], int(row[3])) for row in rows] == [
        (number, run.series[number // 100], number % 100) for number in range(run.frames)
    ]


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_long_names_fit_a_phone(look, run, keep, scheme):
    with FakeServer(run.answer, run.greeting) as server:
        page = look(server.url + "?x=frame", width=390, height=844, color_scheme=scheme)
        ready(page)
        page.locator("#scroll").fill("117")
        shows(page, 1, 17)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        words = page.locator("#moment").bounding_box()
        button = page.locator("#image-png").bounding_box()
        assert words["x"] + words["width"] <= button["x"]
        assert re.search(r"17 in cell17_c…scharge", moment(page))
        keep(page, full_page=True)
