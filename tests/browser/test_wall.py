"""The page on a wall: it fills the screen, whatever that is."""

from __future__ import annotations

import pytest

from tests.browser.conftest import ready, shown

PARTS = ("health", "image-section", "drift-section", "tracks-section")


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (3840, 2160), (1366, 768)])
def test_a_wall_is_filled_and_nothing_on_it_is_cut_off(server, run, look, keep, width, height):
    page = look(f"{server.url}?wall", width=width, height=height)
    ready(page)
    boxes = {name: page.locator(f"#{name}").bounding_box() for name in PARTS}
    edge = 14 * max(1, width / 1920)
    assert max(box["x"] + box["width"] for box in boxes.values()) >= width - edge
    for name in ("image-section", "tracks-section"):
        bottom = boxes[name]["y"] + boxes[name]["height"]
        assert height - edge <= bottom <= height
    size = "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    assert page.evaluate(size) == [width, height]
    # The picture of a square detector takes most of the height.
    x, y = page.evaluate(f"view.place({run.size - 1}, {run.size - 1})")
    left, top = page.evaluate("view.place(0, 0)")
    assert min(x - left, y - top) > 0.6 * height
    for name in ("plot", "tracks"):
        assert page.locator(f"#{name}").bounding_box()["height"] > 0.15 * height
    words = page.locator("#figures dd output").first
    assert words.bounding_box()["height"] > height / 40
    assert not page.locator("#pause").is_visible()
    assert len(shown(page)["drift"]["lines"]) == 6
    keep(page)
