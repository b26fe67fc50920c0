"""The page, told by a fake server what a run would say."""

from __future__ import annotations

import csv
import re
import struct
import time
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from streamer.dashboard.messages import encode
from streamer.results.thinning import Curve
from tests.browser.conftest import at_peak, ready, shown, until
from tests.browser.fake import START_S, FakeRun, FakeServer


def text(page, name: str) -> str:
    return page.locator(f"#{name}").inner_text()


def tracks_in_table(page) -> list[int]:
    return shown(page)["table"]


def test_each_type_of_message_is_drawn(page, server, run, keep):
    state = shown(page)
    assert state["connected"]
    assert (text(page, "state-words"), text(page, "lost-words")) == ("live", "nothing lost")
    assert "cycle-17" in text(page, "run-words")
    assert [text(page, name) for name in ("in", "out", "seen", "latency", "backlog")] == [
        "100", "100", "7", "41", "7",
    ]  # fmt: skip
    assert text(page, "disagreement") == "0.021"
    assert text(page, "elapsed") == "12 min 34 s"
    assert state["image"]["frame"] == run.frames - 1
    assert state["peaks"] == run.spots
    assert state["cell"]["voltage"] == pytest.approx(run.voltage.tolist())
    assert [cycle["words"] for cycle in state["cell"]["halfCycles"]] == [
        "rest", "charge 1", "rest", "discharge 1", "rest",
    ]  # fmt: skip
    assert len(state["table"]) == run.spots
    assert page.locator("#plot canvas").count() == 1
    server.send(encode("problem", {"text": "no space left"}))
    page.get_by_role("alert").get_by_text("no space left").wait_for()
    page.get_by_role("button", name="Dismiss").click()
    assert page.locator("#problem").is_hidden()
    report = page.evaluate("stats")
    assert report["received"] >= 7
    assert report["drawn"] >= 1
    assert report["latency_ms"]["p95"] >= report["latency_ms"]["p50"] > 0
    keep(page)


@pytest.mark.parametrize(
    ("step", "factor", "words"),
    [(0.25, 1, ["0.25", "0.50"]), (0.5, 1, ["0.5", "1.0"]), (20, 1, ["20", "40"]),
     (0.025, 1, ["0.025", "0.050"]), (2.5e-7, 1e6, ["0.25", "0.50"])],
)  # fmt: skip
def test_ticks_are_written_as_what_they_are(page, step, factor, words):
    ticks = f"m.decimals(null, [{step}, {2 * step}], 1, 50, {step}, {factor})"
    assert page.evaluate(f"import('/plot/ticks.js').then((m) => {ticks})") == words


def test_what_has_to_be_looked_after_at_once_is_red(page, server, run):
    words = "detector gone since 14:05:05, trying again"
    server.send(run.health(lost=words, alarm=False))
    page.locator("#lost[data-level=warn]", has_text=words).wait_for()
    server.send(run.health(lost=words, alarm=True))
    page.locator("#lost[data-level=bad]", has_text=words).wait_for()


def test_what_is_not_on_disk_yet_is_said_to_be_provisional(page, server, run):
    assert text(page, "badge") == "newest"
    server.send(run.image(settled=False, provisional=True))
    page.locator("#badge", has_text="provisional").wait_for()
    assert text(page, "peak-count") == f"{run.spots} peaks"
    server.send(run.image(settled=True, provisional=False))
    until(page, "document.querySelector('#badge').textContent === 'newest'")


def test_pixels_have_the_colours_of_their_counts(page, run):
    # A peak is brighter than its surroundings, and rows go downwards.
    page.locator("#colours").select_option("grey")
    page.locator("#peaks").uncheck()
    until(page, "view.colours === 'grey'")
    strongest = int(np.argmax(np.where(run.flags == 0, run.height, 0)))
    row, col = run.positions(run.frames - 1)[strongest]
    levels = page.evaluate(
        """async ([places]) => {
            await new Promise(requestAnimationFrame);
            const canvas = document.querySelector("#pixels");
            const context = canvas.getContext("2d");
            const ratio = canvas.width / canvas.clientWidth;
            const { data, width } = context.getImageData(0, 0, canvas.width, canvas.height);
            return places.map(([row, col]) => {
                const [x, y] = view.place(row, col).map((value) => Math.floor(value * ratio));
                return [...data.slice(4 * (y * width + x), 4 * (y * width + x) + 3)];
            });
        }""",
        [[[row, col], [run.size - 1 - row, col], [run.size / 2, 5]]],
    )
    peak, mirrored, masked = levels
    assert peak[0] > 180
    assert mirrored[0] < 150
    assert peak[0] == peak[1] == peak[2]
    assert masked[0] < masked[2]  # no grey


def test_the_six_longest_tracks_are_proposed_and_no_hot_pixels(page, run):
    table = run.table()
    assert (run.flags & 16).any()
    longest = np.lexsort((np.arange(run.spots), -table["n_frames"], table["flags"] & 16))[:6]
    assert shown(page)["tracks"] == longest.tolist()


def test_drift_is_what_was_sent(page, run):
    state = shown(page)["drift"]
    assert (state["quantity"], state["unit"], state["x"]) == ("radial", "px", "time")
    for line in state["lines"]:
        y, sigma = run.drift(line["track"])
        assert line["x"] == run.time.tolist()
        assert np.array_equal(np.float32(line["y"]), y)
        assert np.array_equal(np.float32(line["sigma"]), sigma)


def is_shown(page, lines) -> bool:
    """Tell whether the plot's numbers are those of lines."""
    found = {line["track"]: line for line in shown(page)["drift"]["lines"]}
    return found.keys() == lines.curves.keys() and all(
        found[track]["x"] == curve.x.tolist()
        and np.array_equal(np.float32(found[track]["y"]), curve.y)
        and np.array_equal(np.float32(found[track]["sigma"]), curve.sigma)
        for track, curve in lines.curves.items()
    )


def test_lines_that_are_told_in_parts_are_whole(look):
    run = FakeRun(spots=4, frames=4000)
    run.n_known = 40
    with FakeServer(run.answer, run.greeting) as server:
        page = look(server.url + "?tracks=0.1.2.3&x=frame")
        ready(page, 4)
        watch = server.wanted("watch")[-1]
        rng = np.random.default_rng(9)
        for turn in range(60):
            run.n_known += int(rng.integers(0, 90))
            first = int(rng.integers(0, run.n_known)) if turn % 7 == 6 else 0
            window = watch | {"from": first}
            if turn % 5 == 4:  # the end of what is known changes as well
                run.noise[:, run.n_known - 1] = rng.normal(size=run.spots)
            # All at once: the page need not draw each, but must not miss any.
            server.send(run.news(window))
        number = run.writer.number
        until(page, f"view.drift.number === {number} && view.drift.base === {number - 1}")
        assert is_shown(page, run.lines(window))
        assert server.wanted("watch")[-1] == watch
        assert page.evaluate("stats.bad") == 0


def test_page_that_misses_something_asks_for_all(page, server, run):
    watch = server.wanted("watch")[-1]
    run.n_known -= 50
    server.send(run.drifts(watch))
    run.n_known += 10
    run.news(watch)  # lost
    run.n_known += 10
    late = [run.news(watch), run.news(watch)]
    number = run.writer.number
    server.send(*late)
    until(page, f"view.drift.number === {number + 1}")
    assert server.wanted("watch")[-1] == watch | {"request": watch["request"] + 1}
    assert is_shown(page, run.lines(watch))
    # Nor does it go on from points that it has not got.
    run.n_known += 10
    base = run.writer.number
    about = run.lines(server.wanted("watch")[-1]).header
    about = about | {"number": 0, "base": base, "lines": [[0, 300, 300, 0]]}
    none = Curve(np.empty(0), np.empty(0, np.float32), np.empty(0, np.float32))
    server.send(encode("drift", about, {"x": none.x, "y": none.y, "sigma": none.sigma}))
    until(page, f"view.drift.number === {base + 1}")
    assert server.wanted("watch")[-1]["request"] == watch["request"] + 2
    assert is_shown(page, run.lines(watch))
    assert page.evaluate("stats.bad") == 0


def test_cursor_reads_value_error_and_cell(page, run):
    box = page.locator("#plot .u-over").bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 60)
    until(page, "view.drift.cursor !== null")
    state = shown(page)
    cursor = state["drift"]["cursor"]
    frame = round((cursor - START_S) / run.period_s)
    for value in state["drift"]["values"]:
        y, sigma = run.drift(value["track"])
        assert value["x"] == run.time[frame]
        assert np.float32(value["y"]) == y[frame]
        shown_text = page.locator(f'#readout li[data-track="{value["track"]}"]').inner_text()
        number, error = shown_text.replace("−", "-").split()[1::2][:2]
        assert float(number) == pytest.approx(y[frame], abs=10 ** -len(number.split(".")[1]))
        assert float(error) == pytest.approx(sigma[frame], rel=0.06)
    said = page.locator("#readout p").inner_text()
    assert f"{run.voltage[frame]:.3f} V" in said
    assert "charge 1" in said


def test_each_quantity_and_both_axes_can_be_chosen(page, server):
    for quantity in ("row", "strain", "d"):
        page.locator("#quantity").select_option(quantity)
        until(page, f"view.drift.quantity === '{quantity}'")
    page.locator("#x").select_option("frame")
    until(page, "view.drift.x === 'frame' && view.drift.lines[0].x[3] === 3")
    assert server.wanted("watch")[-1]["quantity"] == "d"
    assert "Å" in shown(page)["readout"]


def strokes(page) -> list[str]:
    """Return the colours in which the plot's lines are named, one by one."""
    return page.evaluate(
        """() => [...document.querySelectorAll("#readout li i")].map(
            (line) => getComputedStyle(line).borderTopColor)"""
    )


def are_drawn(page) -> bool:
    """Tell whether the plot has pixels in the colour of each of its lines."""
    counts = page.evaluate(
        """(colours) => {
            const canvas = document.querySelector("#plot canvas");
            const { width, height } = canvas;
            const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
            return colours.map((colour) => {
                const [r, g, b] = colour.match(/[0-9]+/g).map(Number);
                let n = 0;
                for (let i = 0; i < data.length; i += 4)
                    n += data[i] === r && data[i + 1] === g && data[i + 2] === b;
                return n;
            });
        }""",
        strokes(page),
    )
    return min(counts) > 100


def test_the_whole_peak_is_drawn_where_it_is_chosen(page, run, keep, tmp_path):
    page.locator("#quantity").select_option(label="intensity")
    until(page, "view.drift.quantity === 'intensity'")
    state = shown(page)
    assert state["drift"]["unit"] == "counts"
    assert is_shown(
        page,
        run.lines(
            {
                "quantity": "intensity",
                "x": "time",
                "from": None,
                "to": None,
                "tracks": state["tracks"],
                "request": 0,
            }
        ),
    )
    until(page, "document.querySelector('#readout').innerText.includes('counts')")
    assert are_drawn(page)
    keep(page)
    with page.expect_download() as waiting:
        page.locator("#csv").click()
    waiting.value.save_as(tmp_path / "saved.csv")
    head = (tmp_path / "saved.csv").read_text().splitlines()[0]
    assert "intensity_counts,intensity_sigma_counts" in head


def test_what_all_spots_did_together_is_drawn_with_no_track_chosen(page, server, run, keep):
    page.get_by_role("button", name="Clear").click()
    page.locator("#quantity").select_option(label="all spots: shift")
    until(page, "view.drift.quantity === 'motion_shift' && view.drift.lines.length === 2")
    assert server.wanted("watch")[-1]["tracks"] == []
    along = [line["y"] for line in shown(page)["drift"]["lines"]]
    assert np.array_equal(np.float32(along[1]), run.drift(1)[0])
    until(page, "document.querySelectorAll('#readout li').length === 2")
    said = page.locator("#readout li").all_inner_texts()
    assert [one.split()[0] for one in said] == ["rows", "columns"]
    assert len(set(strokes(page))) == 2
    assert are_drawn(page)
    keep(page)
    # Back at the drifts no line of it is left.
    page.locator("#quantity").select_option("row")
    until(page, "view.drift.quantity === 'row' && view.drift.lines.length === 0")


def test_what_a_run_has_not_is_not_offered_but_a_link_may_be_early(look):
    run = FakeRun()
    known, run.quantities = run.quantities, ["radial", "row", "col"]
    with FakeServer(run.answer, run.greeting) as server:
        page = look(server.url)
        ready(page)
        assert len(page.locator("#quantity option").all()) == 3
        page = look(server.url + "?quantity=intensity")
        ready(page)
        assert server.wanted("watch")[-1]["quantity"] == "intensity"
        run.quantities = known
        server.send(run.hello())
        until(page, f"document.querySelectorAll('#quantity option').length === {len(known)}")
        assert page.locator("#quantity").input_value() == "intensity"


def test_a_spot_and_what_it_splits_into_are_chosen_together_in_one_colour(look, keep):
    run = FakeRun()
    run.reflection[[7, 9]] = 2
    with FakeServer(run.answer, run.greeting) as server:
        page = look(server.url + "?tracks=4.7")
        ready(page, 4)
        assert shown(page)["tracks"] == [4, 2, 7, 9]
        first, *spots = strokes(page)
        assert len({first, *spots}) == 2
        # One of them takes out all.
        page.locator('tbody tr[data-track="9"]').click()
        ready(page, 1)
        page.locator('tbody tr[data-track="2"]').click()
        ready(page, 4)
        assert server.wanted("watch")[-1]["tracks"] == [4, 2, 7, 9]
        # What splits off later is drawn from then on.
        run.reflection[11] = 4
        server.send(run.tracks())
        ready(page, 5)
        assert shown(page)["tracks"] == [4, 11, 2, 7, 9]
        colours = strokes(page)
        assert colours[0] == colours[1] == first
        assert set(colours[2:]) == set(spots)
        keep(page)


def test_table_sorts_by_each_column(page, run):
    for key, first in [("track", 1), ("drift", -1), ("significance", -1), ("d", -1)]:
        values = run.table()[key]
        values = np.abs(values) if key == "drift" else values
        for sign in (first, -first):
            page.locator(f'th[data-key="{key}"] button').click()
            until(page, f"view.sort === '{'-' if sign < 0 else ''}{key}'")
            way = "descending" if sign < 0 else "ascending"
            page.locator(f'th[data-key="{key}"][aria-sort="{way}"]').wait_for()
            last = (run.flags & 48 > 0) & (key not in ("track", "flags"))  # what is no peak
            order = sorted(
                range(run.spots), key=lambda i, s=sign, v=values, f=last: (f[i], s * v[i], i)
            )
            assert tracks_in_table(page) == order
    page.locator("#long").check()
    until(page, f"view.table.length < {run.spots}")
    frames = run.table()["n_frames"]
    assert all(frames[track] >= 0.5 * frames.max() for track in tracks_in_table(page))


def test_tracks_are_chosen_by_click_in_table_and_image(page, server, run):
    chosen = shown(page)["tracks"]
    page.locator(f'tbody tr[data-track="{chosen[0]}"]').click()
    ready(page, 5)
    other = next(track for track in range(run.spots) if track not in chosen)
    row, col = run.positions(run.frames - 1)[other]
    page.mouse.click(*at_peak(page, row, col))
    until(page, f"view.tracks.includes({other}) && view.drift.lines.length === 6")
    assert server.wanted("watch")[-1]["tracks"] == [*chosen[1:], other]
    page.get_by_role("button", name="Clear").click()
    ready(page, 0)


def test_peak_that_is_pointed_at_tells_its_numbers_and_shows_its_patch(page, server, run):
    row, col = run.positions(run.frames - 1)[3]
    page.mouse.move(*at_peak(page, row, col))
    until(page, "view.patch !== null")
    asked = server.wanted("patch")[-1]
    assert (asked["row"], asked["col"]) == pytest.approx((row, col), abs=1e-4)
    assert (asked["frame"], asked["series"]) == (run.frames - 1, "series_1")
    state = shown(page)
    assert state["peak"]["track"] == 3
    assert len(state["patch"]["counts"]) == 121
    until(page, "document.querySelector('#peak').innerText.includes('fit, row')")
    said = page.locator("#peak").inner_text()
    assert "track 3" in said
    assert f"{row:.1f}"[:-1] in said


def test_image_zooms_moves_and_is_reset(page):
    box = page.locator("#image").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    under = "view.place(40, 60)"
    place = page.evaluate(under)
    page.mouse.move(box["x"] + place[0], box["y"] + place[1])
    page.mouse.wheel(0, -400)
    until(page, "view.zoom > 2")
    assert page.evaluate(under) == pytest.approx(place, abs=2)  # pointers stand on whole pixels
    before = page.evaluate("view.row")
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0], middle[1] + 40)
    page.mouse.up()
    until(page, f"view.row < {before}")
    page.mouse.dblclick(*middle)
    until(page, "view.zoom === 1 && view.row === null")


def test_plot_zooms_and_shows_the_frame_that_is_clicked(page, server, run):
    box = page.locator("#plot .u-over").bounding_box()
    y = box["y"] + 80
    page.mouse.move(box["x"] + 0.2 * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], y, steps=4)
    page.mouse.up()
    until(page, "view.from !== null && view.drift.range[0] === view.from")
    state = shown(page)
    assert state["drift"]["range"] == [state["from"], state["to"]]
    whole = run.time[-1] - run.time[0]
    assert state["to"] - state["from"] == pytest.approx(0.3 * whole, rel=0.1)
    page.mouse.click(box["x"] + 0.5 * box["width"], y)
    until(page, "view.frame !== null && view.image.frame === view.frame")
    middle = START_S + run.period_s * shown(page)["frame"]
    assert middle == pytest.approx((state["from"] + state["to"]) / 2, abs=0.01 * whole)
    assert page.locator("#badge").inner_text() == "paused"
    page.mouse.dblclick(box["x"] + 0.5 * box["width"], y)
    until(page, "view.from === null")
    page.get_by_role("button", name="Live").click()
    until(page, f"view.frame === null && view.image.frame === {run.frames - 1}")


def test_paused_page_keeps_its_frame_and_live_follows(page, server, run):
    page.keyboard.press("Space")
    until(page, f"view.frame === {run.frames - 1}")
    page.keyboard.press(",")
    until(page, f"view.image.frame === {run.frames - 2}")
    server.send(run.image())
    page.wait_for_timeout(80)
    assert shown(page)["image"]["frame"] == run.frames - 2
    page.locator("#scroll").fill("17")
    until(page, "view.image.frame === 17")
    assert server.wanted("show")[-1] == {"type": "show", "frame": 17, "series": "series_1"}
    page.keyboard.press("l")
    until(page, f"view.image.frame === {run.frames - 1}")


def test_live_window_follows(look):
    run = FakeRun()
    run.n_known = 200
    with FakeServer(run.answer, run.greeting) as server:
        page = look(server.url + "?span=60&tracks=1.2")
        ready(page, 2)
        until(page, "view.drift.range[1] - view.drift.range[0] < 62")
        run.n_known = 250
        watch = server.wanted("watch")[-1]
        server.send(run.drifts(watch | {"to": None}), run.image(), run.tracks())
        until(page, f"Math.abs(view.drift.range[1] - {run.time[249]}) < 1")
        # Finer points are asked for as the window moves on.
        until(page, "view.drift.lines[0].x.length < 60")
        assert server.wanted("watch")[-1]["from"] == pytest.approx(run.time[249] - 75, abs=16)


def test_address_restores_the_view(page, look, run):
    page.locator("#quantity").select_option("col")
    page.locator("#x").select_option("frame")
    page.locator("#colours").select_option("magma")
    page.locator('tbody tr[data-track="0"]').click()
    page.locator("#scroll").fill("33")
    page.locator("#low").fill("0.2")
    page.locator("#theme").click()
    page.locator("#zooms button").first.click()
    page.locator('th[data-key="drift"] button').click()
    until(page, "location.search.includes('sort=-drift')")
    names = ("tracks", "quantity", "x", "frame", "colours", "low", "zoom", "row", "theme", "sort")
    left = shown(page)
    again = look(page.url)
    ready(again, len(left["tracks"]))
    found = shown(again)
    assert {name: found[name] for name in names} == {name: left[name] for name in names}
    assert found["theme"] == "light"
    assert found["low"] > 0
    until(again, "view.image.frame === 33 && view.drift.quantity === 'col'")
    assert again.locator("#quantity").input_value() == "col"


def test_nonsense_in_the_address_is_left_out(server, look):
    page = look(server.url + "?tracks=a.3&quantity=mood&x=y&zoom=-4&frame=NaN&colours=no&sort=z&q")
    ready(page, 1)
    state = shown(page)
    assert (state["tracks"], state["zoom"], state["frame"], state["x"]) == ([3], 1, None, "time")
    assert (state["quantity"], state["colours"]) == ("radial", "viridis")


def test_csv_holds_what_is_plotted(page, run, tmp_path):
    for x, head in [("time", ["time_utc", "time_unix_s"]), ("frame", ["frame"])]:
        page.locator("#x").select_option(x)
        until(page, f"view.drift.x === '{x}'")
        with page.expect_download() as waiting:
            page.locator("#csv").click()
        assert waiting.value.suggested_filename == "cycle-17_radial.csv"
        waiting.value.save_as(tmp_path / "saved.csv")
        with (tmp_path / "saved.csv").open() as file:
            rows = list(csv.reader(file))
        assert rows[0] == [
            "track", *head, "radial_px", "radial_sigma_px", "cell_voltage_v", "cell_current_a",
            "half_cycle",
        ]  # fmt: skip
        chosen = shown(page)["tracks"]
        assert len(rows) == 1 + len(chosen) * run.frames
        for track in chosen:
            y, sigma = run.drift(track)
            mine = [row for row in rows[1:] if row[0] == str(track)]
            values = np.array([row[-5:-1] for row in mine], np.float32)
            assert np.array_equal(values[:, 0], y)
            assert np.array_equal(values[:, 1], sigma)
            assert np.array_equal(values[:, 2], run.voltage)
            xs = run.time if x == "time" else np.arange(run.frames)
            assert [float(row[len(head)]) for row in mine] == xs.tolist()
        assert {row[-1] for row in rows[1:]} == {"rest", "charge 1", "discharge 1"}
        if x == "time":
            assert datetime.fromisoformat(rows[5][1]).timestamp() == float(rows[5][2])


def saved(page, button: str, name: str, folder: Path) -> bytes:
    with page.expect_download() as waiting:
        page.locator(f"#{button}").click()
    assert waiting.value.suggested_filename == name
    waiting.value.save_as(folder / name)
    return (folder / name).read_bytes()


def test_plot_and_image_are_saved_as_png(page, tmp_path):
    for button, name in [("drift-png", "cycle-17_radial"), ("image-png", "cycle-17_frame_399")]:
        content = saved(page, button, f"{name}.png", tmp_path)
        assert content.startswith(b"\x89PNG")
        assert min(struct.unpack(">II", content[16:24])) > 1100
        assert len(content) > 5000


def test_plot_and_image_are_saved_as_svg_with_words_and_lines(page, run, tmp_path):
    until(page, "view.drift.lines.length === 6")
    plot = ElementTree.fromstring(saved(page, "drift-svg", "cycle-17_radial.svg", tmp_path))
    words = {one.text for one in plot.iter("{http://www.w3.org/2000/svg}text")}
    assert {"cycle-17", "radial drift / px"} <= words
    assert {str(track) for track in shown(page)["tracks"]} <= words
    colours = {one.get("stroke") for one in plot.iter("{http://www.w3.org/2000/svg}polyline")}
    assert len(colours) >= 6
    image = ElementTree.fromstring(saved(page, "image-svg", "cycle-17_frame_399.svg", tmp_path))
    words = [one.text for one in image.iter("{http://www.w3.org/2000/svg}text")]
    assert words[0] == "cycle-17 · frame 399 of series_1"
    moment = datetime.fromtimestamp(run.time[399], UTC).strftime("%Y-%m-%d %H:%M:%S")
    assert words[1].startswith(f"{moment}.000 UTC")
    assert "counts" in words
    assert len([*image.iter("{http://www.w3.org/2000/svg}circle")]) == run.spots
    assert len([*image.iter("{http://www.w3.org/2000/svg}image")]) == 1


def test_keyboard_alone_is_enough(page, server, run):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator("#image").focus()
    for key in ("+", "+", "ArrowLeft", "n", "n"):
        page.keyboard.press(key)
    until(page, "view.zoom > 2 && view.peak !== null")
    second = int(np.argsort(-run.height)[1])
    assert shown(page)["peak"]["track"] == second
    was = second in shown(page)["tracks"]
    page.keyboard.press("Enter")
    until(page, f"view.tracks.includes({second}) === {str(not was).lower()}")
    page.keyboard.press("0")
    until(page, "view.zoom === 1")
    page.locator("#plot").focus()
    page.keyboard.press("ArrowLeft")
    until(page, "view.drift.cursor !== null")
    page.keyboard.press("+")
    until(page, "view.from !== null")
    page.keyboard.press("Enter")
    until(page, "view.frame !== null")
    # From the plot by Tab alone into the table, whose rows are one stop.
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('tbody tr')"):
            break
    before = shown(page)["tracks"]
    page.keyboard.press("ArrowDown")
    row = int(page.evaluate("document.activeElement.dataset.track"))
    assert row == tracks_in_table(page)[1]
    page.keyboard.press("Space")
    until(page, f"view.tracks.includes({row}) === {str(row not in before).lower()}")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_every_control_has_a_name(page):
    nameless = page.evaluate(
        """[...document.querySelectorAll("button, select, input")].filter((one) =>
            !one.textContent.trim() && !one.ariaLabel && !one.labels?.length
        ).map((one) => one.outerHTML)"""
    )
    assert nameless == []


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_page_fits_a_phone(server, look, keep, scheme):
    page = look(server.url, width=390, height=844, color_scheme=scheme, has_touch=True)
    ready(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    left = page.evaluate(
        """[...document.querySelectorAll("section:not([hidden])")].map(
            (one) => one.getBoundingClientRect().left)"""
    )
    assert len(set(left)) == 1
    keep(page, full_page=True)


def test_dark_and_light_follow_the_system_until_chosen(server, look):
    def back(page) -> int:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return int(colour.split("(")[1].split(",")[0])

    page = look(server.url, color_scheme="light")
    ready(page)
    assert back(page) > 200
    page.emulate_media(color_scheme="dark")
    until(page, "document.documentElement.dataset.theme === 'dark'")
    assert back(page) < 40
    page.keyboard.press("t")
    until(page, "view.theme === 'light'")
    assert back(page) > 200


def test_health_is_said_in_words(page, server, run):
    missing = {"lost": "3 missing (s: 4 to 6)", "frames": {"done": 9, "missing": 3}}
    for changes, state, lost, level in [
        ({"frames_in_hz": 0.0, "frames_out_hz": 0.0}, "waiting for frames", "", "good"),
        ({"stale_s": 42.0}, "run silent for 42 s", "", "good"),
        ({"lost": "2 sent again"}, "live", "2 sent again", "warn"),
        (missing, "live", "3 missing (s: 4 to 6)", "bad"),
        ({"live": False, "phase": "done"}, "ended", "", "good"),
        ({"live": False, "phase": "stopped by the user"}, "ended: stopped by the user", "", "good"),
    ]:
        server.send(run.health(**changes))
        page.locator("#state-words", has_text=re.compile(f"^{re.escape(state)}$")).wait_for()
        words = re.escape(lost or "nothing lost")
        page.locator("#lost-words", has_text=re.compile(f"^{words}$")).wait_for()
        assert page.locator("#lost").get_attribute("data-level") == level


def test_page_comes_back_when_the_server_does(look, run, keep):
    with FakeServer(run.answer, run.greeting) as server:
        page = look(server.url + "?tracks=2.4")
        ready(page, 2)
    page.locator("#state-words", has_text="connection lost").wait_for()
    state = shown(page)
    assert len(state["drift"]["lines"]) == 2  # what was shown stays
    assert state["image"] is not None
    keep(page)
    page.locator("#quantity").select_option("row")
    with FakeServer(run.answer, run.greeting, server.port) as again:
        until(page, "view.connected && view.drift.quantity === 'row'")
        assert again.wanted("watch")[-1]["tracks"] == [2, 4]
        page.locator("#state-words", has_text="live").wait_for()


def test_bad_messages_do_not_kill_the_page(page, server, run):
    good = run.image()
    cut = good[: len(good) // 2]
    for bad in (
        b"",
        b"\x01",
        b"\xff\xff\xff\xff{}",
        cut,
        encode("mood", {}),
        "text",
        b"\4\0\0\0null",
    ):
        server.send(bad)
        page.wait_for_timeout(40)
    until(page, "stats.bad >= 4")
    images = shown(page)["images"]
    server.send(run.image(), run.health(backlog=99))
    until(page, f"view.images > {images}")
    page.locator("#backlog", has_text="99").wait_for()


def test_page_that_nobody_sees_asks_for_nothing(page, server):
    def pretend(hidden: str) -> None:
        page.evaluate(
            f"""Object.defineProperty(document, "hidden", {{value: {hidden}, configurable: true}});
            document.dispatchEvent(new Event("visibilitychange"))"""
        )

    def asked() -> list[bool]:
        return [request["hold"] for request in server.wanted("hold")]

    before = len(asked())
    pretend("true")
    pretend("false")
    deadline = time.monotonic() + 20
    while len(asked()) < before + 2:
        assert time.monotonic() < deadline
        page.wait_for_timeout(15)
    assert asked()[before:] == [True, False]


def test_frame_without_pixels_says_why(page, server, run):
    server.send(
        encode(
            "image",
            {"series": "series_1", "frame": 5, "time_ns": 1, "shape": [256, 256], "binning": 1,
             "low": 0.0, "high": 1.0, "newest": False, "has_pixels": False, "why": "not recorded"},
            {"pixels": np.zeros((0, 0), np.uint8)},
        )
    )  # fmt: skip
    page.get_by_text("not recorded").wait_for()


def test_run_without_cell_geometry_and_frames_is_shown(look, keep):
    run = FakeRun()

    def greeting() -> list[bytes]:
        return [
            run.hello(has_cell=False, quantities=["distance", "row"], shape=None, n_frames=0),
            encode("health", {"live": True, "phase": "starting", "frames_in_hz": None,
                              "frames": {}, "lost": "", "stale_s": 0.1}),
            encode("tracks", {"n_frames": 0, "timeline": [[], []], "units": {}},
                   {"track": np.zeros(0)}),
        ]  # fmt: skip

    with FakeServer(lambda _: [], greeting) as server:
        page = look(server.url)
        page.locator("#state-words", has_text="waiting for frames").wait_for()
        assert page.locator("#quantity").input_value() == "distance"
        assert "No track chosen" in shown(page)["readout"]
        keep(page)


def test_hundreds_of_tracks_and_ten_thousand_frames_stay_quick(look):
    run = FakeRun(spots=400, frames=2000)
    run.frames = 10_000
    with FakeServer(run.answer, run.greeting) as server:
        page = look(server.url)
        ready(page)
        assert page.locator("tbody tr").count() < 60
        took = page.evaluate(
            """async () => {
                const host = document.querySelector("#tracks");
                const start = performance.now();
                for (let i = 0; i < 40; i += 1) {
                    host.scrollTop += 250;
                    await new Promise(requestAnimationFrame);
                }
                return (performance.now() - start) / 40;
            }"""
        )
        assert took < 60
        assert int(page.locator("tbody tr[data-place]").last.get_attribute("data-place")) > 300


def test_modules_are_small():
    folder = Path(__file__).parents[2] / "streamer" / "dashboard" / "static"
    lengths = {path.name: len(path.read_text().splitlines()) for path in folder.rglob("*.js")}
    assert len(lengths) > 10
    assert max(lengths.values()) <= 400
