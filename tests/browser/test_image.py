"""The image in full resolution: a real run of a large detector, held against its frames."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from streamer.config import load_config
from streamer.dashboard.hub import Hub
from streamer.dashboard.server import application
from streamer.dashboard.view import RunView
from streamer.frames.geometry import Geometry
from tests.browser.conftest import at_peak, shown, until
from tests.served import Served
from tests.unit.runs import make_run

ROWS, COLS = 2167, 2070
PLACE = Geometry.from_beam(
    (1050.25, 1002.5), distance_m=0.2, pixel_m=(75e-6, 75e-6), wavelength_a=0.62,
    rotations=(0.05, -0.03, 0.02), source="made up",
)  # fmt: skip
HOT, GAP, OWN, BRIGHT = (1300, 900), (1310, 905), (1295, 890), (1305, 910)
SVG = "{http://www.w3.org/2000/svg}"
FRAME = "?frame=3&series=first"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run, with the recording and the mask beside it."""
    folder = tmp_path_factory.mktemp("large")
    shape = (30, ROWS, COLS)
    stack = np.lib.format.open_memmap(folder / "first.npy", "w+", np.uint16, shape)
    rng = np.random.default_rng(4)
    for frame in (3, 4):
        stack[frame] = rng.poisson(20 + frame, (ROWS, COLS))
        for place, counts in ((HOT, 61_234), (GAP, 65_535), (BRIGHT, 2_511)):
            stack[(frame, *place)] = counts
    stack.flush()
    mask = np.zeros((ROWS, COLS), bool)
    mask[OWN] = True
    np.save(folder / "mask.npy", mask)
    run = make_run(folder / "run", source=str(folder / "first.npy"), place=PLACE)
    settings = ["detect.saturation=60000", f"detect.mask={folder / 'mask.npy'}",
                "lattice.a=4.05", "lattice.centring=F"]  # fmt: skip
    (run.path / "config.yaml").write_text(load_config(None, settings).to_yaml())
    return folder


@pytest.fixture
def address(large: Path) -> Iterator[str]:
    with Served(application(Hub(RunView(large / "run")))) as served:
        yield served.url


@pytest.fixture
def frame(large: Path) -> np.ndarray:
    return np.load(large / "first.npy", mmap_mode="r")[3]


def point(page: Any, row: int, col: int) -> dict[str, Any]:
    """Put the pointer on a pixel and return what the page then knows of it."""
    page.mouse.move(*at_peak(page, row, col))
    known = f"view.cursor.counts !== null && String(view.cursor.pixel) === '{row},{col}'"
    until(page, known)
    assert page.locator("#under").inner_text() == page.evaluate("view.cursor.words")
    return shown(page)["cursor"]


def test_zoomed_to_single_pixels_the_counts_are_those_of_the_frame(address, look, frame, keep):
    page = look(address + FRAME + f"&zoom=64&row={HOT[0]}&col={HOT[1]}&colours=grey&peaks=0")
    until(page, "view.images > 0 && view.region?.shown && view.region.binning === 1")
    region = shown(page)["region"]
    (top, left), (height, width) = region["origin"], region["size"]
    assert height > 15
    assert width > 15
    rows, cols = range(top, top + height), range(left, left + width)
    told = page.evaluate(
        "([rows, cols]) => rows.map((row) => cols.map((col) => view.read([row, col]).counts))",
        [[*rows], [*cols]],
    )
    np.testing.assert_array_equal(told, frame[top : top + height, left : left + width])
    # What is drawn are these pixels: a bright one, and its neighbour on each side.
    levels = page.evaluate(
        """async (places) => {
            await new Promise(requestAnimationFrame);
            const canvas = document.querySelector("#pixels");
            const ratio = canvas.width / canvas.clientWidth;
            const context = canvas.getContext("2d");
            const { data, width } = context.getImageData(0, 0, canvas.width, canvas.height);
            return places.map(([row, col]) => {
                const [x, y] = view.place(row, col).map((value) => Math.floor(value * ratio));
                return [...data.slice(4 * (y * width + x), 4 * (y * width + x) + 3)];
            });
        }""",
        [[HOT[0], HOT[1]], [HOT[0], HOT[1] + 1], [HOT[0] - 1, HOT[1]], list(GAP)],
    )
    hot, right, above, gap = levels
    assert hot == [255, 255, 255]
    assert max(right[0], above[0]) < 250
    assert gap[0] < gap[2]  # masked: no grey
    keep(page)


@pytest.mark.parametrize("zoom", [1, 40])
def test_the_cursor_tells_exact_counts_at_any_zoom(address, look, frame, zoom):
    page = look(address + FRAME + f"&zoom={zoom}&row={HOT[0]}&col={HOT[1]}")
    until(page, "view.images > 0 && view.beamAt !== null")
    if zoom > 1:
        until(page, "view.region?.shown")
    for place, words in (
        (HOT, "61,234 counts, saturated"),
        (GAP, "no counts (the detector sent 65,535)"),
        (OWN, f"{frame[OWN]} counts, masked by detect.mask"),
        (BRIGHT, "2,511 counts"),
    ):
        if zoom == 1:  # the pointer stands on whole pixels of the screen: keys reach the others
            page.mouse.move(0, 0)
            page.evaluate(f"view.point([{place[0]}, {place[1]}])")
            until(page, "view.cursor.counts !== null")
            told = shown(page)["cursor"]
        else:
            told = point(page, *place)
        assert told["counts"] == frame[place]
        assert told["words"].startswith(f"row {place[0]}, col {place[1]}: {words} · d ")
        at = PLACE.locate(*place)
        assert told["d"] == pytest.approx(float(at.d), rel=1e-9)
        assert told["two_theta"] == pytest.approx(float(at.two_theta), rel=1e-9)
        assert told["chi"] == pytest.approx(float(at.chi), rel=1e-9)


def test_keys_alone_move_a_cursor_from_pixel_to_pixel(address, look, frame):
    page = look(address + FRAME + f"&zoom=32&row={HOT[0]}&col={HOT[1]}")
    until(page, "view.images > 0 && view.region?.shown")
    page.locator("#image").focus()
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    until(page, f"String(view.cursor.pixel) === '{HOT[0] + 1},{HOT[1] + 1}'")
    assert shown(page)["cursor"]["counts"] == frame[HOT[0] + 1, HOT[1] + 1]
    for _ in range(60):
        page.keyboard.press("Shift+ArrowUp")  # out of what is seen: the view follows
    until(page, f"view.cursor.pixel[0] === {HOT[0] - 59} && view.row < {HOT[0] - 20}")
    until(page, f"view.cursor.counts === {frame[HOT[0] - 59, HOT[1] + 1]}")


def test_between_the_whole_and_single_pixels_each_is_the_highest_of_its_pixels(
    address, look, frame
):
    page = look(address + FRAME + f"&zoom=2&row={HOT[0]}&col={HOT[1]}")
    until(page, "view.images > 0 && view.region?.shown")
    region = shown(page)["region"]
    assert 1 < region["binning"] < shown(page)["image"]["binning"]
    page.locator("#image").focus()
    page.keyboard.press("0")
    until(page, "view.zoom === 1")
    assert shown(page)["image"]["binning"] == 5


def test_another_frame_comes_with_its_pixels(address, look, large):
    page = look(address + FRAME + f"&zoom=64&row={HOT[0]}&col={HOT[1]}")
    until(page, "view.images > 0 && view.region?.shown")
    page.keyboard.press(".")
    until(page, "view.image.frame === 4")
    # It is not shown before they are there.
    assert shown(page)["region"]["shown"]
    other = np.load(large / "first.npy", mmap_mode="r")[4]
    row, col = HOT[0] + 3, HOT[1] + 2
    assert page.evaluate(f"view.read([{row}, {col}]).counts") == other[row, col]


def test_rings_and_the_beam_are_where_the_geometry_has_them(address, look, keep):
    page = look(address + FRAME + "&peaks=0")
    until(page, "view.images > 0 && view.beamAt !== null")
    assert shown(page)["beamAt"] == pytest.approx(list(PLACE.beam))
    page.get_by_label("Rings at spacings").fill("2.34, 1.5")
    page.get_by_label("Rings at spacings").press("Enter")
    page.get_by_label("lattice").check()
    until(page, "view.rings.length > 2")
    rings = shown(page)["rings"]
    assert [ring["d"] for ring in rings[:2]] == [2.34, 1.5]
    assert rings[2]["words"] == "1 1 1"
    for ring in rings[:6]:
        places = np.array([place for line in ring["lines"] for place in line])
        assert len(places) > 700
        assert PLACE.locate(*places.T).d == pytest.approx(ring["d"], rel=1e-9)
    yellow = page.evaluate(
        """() => {
            const canvas = document.querySelector("#overlay");
            const context = canvas.getContext("2d");
            const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
            let n = 0;
            for (let i = 0; i < data.length; i += 4)
                n += data[i] > 200 && data[i + 1] > 180 && data[i + 2] < 140;
            return n;
        }"""
    )
    assert yellow > 500
    keep(page)
    page.get_by_label("Rings at spacings").fill("2.34 abc")
    page.get_by_label("Rings at spacings").press("Enter")
    until(page, "document.querySelector('#rings').ariaInvalid === 'true'")
    assert "numbers in Å" in page.locator("#rings-words").inner_text()


def test_the_colour_bar_has_numbers(address, look):
    page = look(address + FRAME)
    until(page, "view.images > 0")
    until(page, "document.querySelectorAll('#bar-numbers span').length > 2")
    numbers = [float(text.replace(",", "")) for text in
               page.locator("#bar-numbers span").all_inner_texts()]  # fmt: skip
    assert numbers == sorted(numbers)
    image = shown(page)["image"]
    assert numbers[0] == pytest.approx(image["low"], abs=0.6)
    assert numbers[-1] == pytest.approx(image["high"], abs=0.6)
    said = page.get_by_role("img", name="Colours from").get_attribute("aria-label")
    assert "counts, logarithmic" in said


def test_a_figure_has_each_pixel_of_the_detector(address, look, frame, tmp_path):
    page = look(address + FRAME + "&colours=grey&peaks=0&beam=0&lattice=1")
    until(page, "view.images > 0 && view.rings.length > 2")
    with page.expect_download() as waiting:
        page.locator("#image-svg").click()
    waiting.value.save_as(tmp_path / "frame.svg")
    assert waiting.value.suggested_filename == "run_first_frame_3.svg"
    figure = ElementTree.parse(tmp_path / "frame.svg")
    words = [one.text for one in figure.iter(f"{SVG}text")]
    assert "minval auto, minscore auto" in words[1]
    assert "1 1 1" in words
    picture = next(figure.iter(f"{SVG}image")).get("href")
    pixels = Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2])))
    assert pixels.size == (COLS, ROWS)
    grey = np.asarray(pixels.convert("RGB"))[:, :, 0].astype(int)
    for one, other in ((HOT, BRIGHT), (BRIGHT, (1200, 1000))):
        assert grey[one] >= grey[other]
    # Brighter pixels are those with more counts, all over the frame.
    part = (slice(500, 520), slice(600, 640))
    order = np.argsort(frame[part], axis=None)
    assert (np.diff(grey[part].ravel()[order]) >= 0).all()
    # The page as PNG has room for title, axes and colour bar around as many pixels.
    with page.expect_download() as waiting:
        page.locator("#image-png").click()
    waiting.value.save_as(tmp_path / "frame.png")
    with Image.open(tmp_path / "frame.png") as png:
        width, height = png.size
    assert width > COLS
    assert height > ROWS
    # Zoomed in it is what is seen.
    page.goto(address + FRAME + f"&zoom=32&row={HOT[0]}&col={HOT[1]}&peaks=0")
    until(page, "view.images > 0 && view.region?.shown")
    with page.expect_download() as waiting:
        page.locator("#image-svg").click()
    waiting.value.save_as(tmp_path / "part.svg")
    picture = next(ElementTree.parse(tmp_path / "part.svg").iter(f"{SVG}image")).get("href")
    pixels = Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2])))
    assert 50 < pixels.size[0] < 90


def test_the_first_picture_takes_few_bytes(address, look):
    page = look(address + FRAME)
    until(page, "view.images > 0")
    inspector = page.context.new_cdp_session(page)
    inspector.send("Network.enable")
    inspector.send("Network.setCacheDisabled", {"cacheDisabled": True})
    sizes: list[float] = []
    inspector.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    inspector.on(
        "Network.webSocketFrameReceived",
        lambda event: sizes.append(0.75 * len(event["response"]["payloadData"])),
    )
    page.reload()
    until(page, "window.view?.images > 0")
    # Without packing, the files of the page alone take as much, and the picture 180 kB.
    assert 50_000 < sum(sizes) < 320_000
