"""A mask that is drawn on the page, and what a run makes of its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer.config import load_config
from streamer.results.folder import RunFolder
from streamer.simulator.eiger_files import write_recording
from streamer.simulator.scene import Scene
from streamer.sources.images import load_mask
from tests.browser.conftest import at_peak, until
from tests.browser.test_image import FRAME, GAP, OWN, address, large  # noqa: F401 - fixtures
from tests.browser.test_live import QUICK, call
from tests.settings import sets

ROWS = np.arange(256)[:, None]
COLS = ROWS.T


def draw(page: Any, tool: str, *places: tuple[float, float]) -> None:
    """Draw with the mouse, from place to place."""
    page.locator("#tool").select_option(tool)
    page.evaluate("document.querySelector('#image').scrollIntoView()")
    if tool == "polygon":
        for place in (*places, places[0]):
            page.mouse.click(*at_peak(page, *place))
        return
    page.mouse.move(*at_peak(page, *places[0]))
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*at_peak(page, *place))
    page.mouse.up()


def typed(page: Any, tool: str, numbers: str) -> None:
    """Draw with the keyboard alone."""
    page.locator("#tool").select_option(tool)
    page.locator("#shape").fill(numbers)
    page.locator("#shape").press("Enter")


def saved(page: Any, folder: Path) -> np.ndarray:
    with page.expect_download() as waiting:
        page.locator("#mask-save").click()
    assert waiting.value.suggested_filename == "mask.npy"
    waiting.value.save_as(folder / "mask.npy")
    return load_mask(folder / "mask.npy")


def test_shapes_that_are_typed_mask_the_pixels_whose_centres_they_hold(page, tmp_path):
    page.locator("#drawing summary").click()
    typed(page, "rectangle", "10 20 3 5")
    typed(page, "disc", "100, 60.5, 7.2")
    typed(page, "polygon", "149.6 40.3, 150.5 90.2, 200.3 70.4")
    typed(page, "pixel", "255 0")
    page.locator("#erase").check()
    typed(page, "pixel", "11 22")
    expected = (ROWS >= 10) & (ROWS < 13) & (COLS >= 20) & (COLS < 25)
    expected |= (ROWS - 100) ** 2 + (COLS - 60.5) ** 2 <= 7.2**2
    inside = np.zeros((256, 256), bool)
    corners = np.array([[149.6, 40.3], [150.5, 90.2], [200.3, 70.4]])
    for (r1, c1), (r2, c2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        crosses = (r1 <= ROWS) != (r2 <= ROWS)
        inside ^= crosses & (c1 + (ROWS - r1) / (r2 - r1) * (c2 - c1) <= COLS)
    expected |= inside
    expected[255, 0], expected[11, 22] = True, False
    mask = saved(page, tmp_path)
    assert mask.shape == (256, 256)
    np.testing.assert_array_equal(mask, expected)
    words = page.locator("#mask-words").inner_text()
    assert words.startswith(f"{mask.sum():,} pixels masked.")
    assert "--set detect.mask=mask.npy" in words
    # What is no shape is said, and masks nothing.
    typed(page, "disc", "100 60")
    assert "row column radius" in page.locator("#shape-words").inner_text()
    np.testing.assert_array_equal(saved(page, tmp_path), mask)
    page.locator("#mask-undo").click()
    assert saved(page, tmp_path)[11, 22]
    page.locator("#mask-clear").click()
    until(page, "view.masked === 0")
    assert page.locator("#mask-save").is_disabled()


def test_shapes_are_drawn_with_the_mouse(page, tmp_path, keep):
    page.locator("#drawing summary").click()
    draw(page, "rectangle", (40, 30), (60, 90))
    draw(page, "disc", (150, 150), (150, 170))
    draw(page, "polygon", (200, 40), (240, 40), (240, 100), (200, 100))
    draw(page, "pixel", (100, 200))
    mask = saved(page, tmp_path)
    # The mouse stands on whole pixels of the screen, which are not those of the detector.
    assert 20 * 58 < mask[35:65, 25:95].sum() < 23 * 64
    assert mask[120:180, 120:180].sum() == pytest.approx(np.pi * 20**2, rel=0.15)
    assert mask[190:, :130].sum() == pytest.approx(40 * 60, rel=0.1)
    assert mask[95:105, 195:205].any()
    keep(page)
    # Nothing moved, and with the pointer given back it does.
    assert page.evaluate("view.zoom") == 1
    page.locator("#tool").select_option("move")
    page.locator("#image").hover()  # waits until it stands still
    page.mouse.wheel(0, -400)
    until(page, "view.zoom > 1.5")
    # Escape drops what was begun.
    page.locator("#tool").select_option("polygon")
    page.evaluate("document.querySelector('#image').scrollIntoView()")
    page.mouse.click(*at_peak(page, 120, 120))
    page.mouse.click(*at_peak(page, 120, 140))
    page.locator("#image").focus()
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    np.testing.assert_array_equal(saved(page, tmp_path), mask)


def test_the_mask_of_the_run_is_taken_in(address, large, look, tmp_path):  # noqa: F811
    page = look(address + FRAME)
    until(page, "view.images > 0")
    page.locator("#drawing summary").click()
    page.locator("#mask-run").click()
    until(page, "view.masked > 0")
    typed(page, "pixel", "5 6")
    mask = saved(page, tmp_path)
    assert np.argwhere(mask).tolist() == sorted([list(GAP), list(OWN), [5, 6]])


@pytest.mark.timeout(240)  # two runs, one after the other
def test_a_run_takes_the_mask_and_finds_no_peak_in_it(page, tmp_path):
    page.locator("#drawing summary").click()
    typed(page, "rectangle", "0 0 256 128")
    saved(page, tmp_path)
    scene = Scene(load_config(None, ["simulate.rows=256", "simulate.cols=256", "simulate.spots=12",
                                     "simulate.frames=10"]).simulate)  # fmt: skip
    write_recording(scene, tmp_path / "cycle_master.h5")
    peaks = {}
    for name, more in (("without", []), ("with", [f"detect.mask={tmp_path / 'mask.npy'}"])):
        words = ["--out", str(tmp_path / name), "--dashboard", "0", *sets(*QUICK, *more)]
        call("replay", str(tmp_path / "cycle_master.h5"), *words)
        peaks[name] = RunFolder(tmp_path / name).read("peaks").to_pandas()
    left = {name: (found.peak_col < 128).sum() for name, found in peaks.items()}
    assert left["without"] > 10
    assert left["with"] == 0
    assert (peaks["with"].peak_col >= 128).sum() > 10
