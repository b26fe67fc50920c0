"""Dense lines, which the page draws pixel by pixel, beside the paths that a browser draws."""

from __future__ import annotations

import numpy as np
import pytest

BOX = {"left": 20, "top": 10, "width": 300, "height": 150}
HEIGHT, WIDTH = 170, 340
COLOUR = (0xC0, 0x70, 0x20)
FIRST, LAST = 100, 1100
"""Of 1,200 points: what the box shows."""

DRAW = """async ([box, width, height]) => {
    const { Raster } = await import("./plot/raster.js");
    const { isDense, linear, shapes } = await import("./plot/lines.js");
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const n = 1200;
    const line = { x: new Float64Array(n), y: new Float32Array(n), sigma: new Float32Array(n) };
    for (let i = 0; i < n; i += 1) {
        line.x[i] = i;
        line.y[i] = Math.sin(i / 300) + 0.002 * Math.sin(i * i);
        line.sigma[i] = i < 900 ? 0.3 : NaN;
    }
    line.y.fill(NaN, 400, 480);
    line.y.fill(NaN, 481, 560);
    const scale = linear(box, { min: 100, max: 1100 }, { min: -0.4, max: 1.4 });
    if (!isDense(line, scale)) throw new Error("not dense");
    const drawn = (draw) => {
        context.clearRect(0, 0, width, height);
        context.save();
        context.beginPath();
        context.rect(box.left, box.top, box.width, box.height);
        context.clip();
        context.strokeStyle = context.fillStyle = "#c07020";
        context.lineWidth = 4;
        context.lineJoin = "bevel";
        draw();
        context.restore();
        return [...new Uint32Array(context.getImageData(0, 0, width, height).data.buffer)];
    };
    const raster = new Raster();
    const mine = (draw) => drawn(() => {
        raster.clear(box);
        draw(raster.trace(line, scale));
        raster.show(context);
    });
    return {
        line: mine((runs) => raster.line(runs, "#c07020", 4)),
        dashes: mine((runs) => raster.line(runs, "#c07020", 4, [7, 4])),
        band: mine((runs) => raster.band(runs, "#c07020", 0.2, 1)),
        both: mine((runs) => {
            raster.line(runs, "#0000ff", 4);
            raster.band(runs, "#c07020", 0.2, 1);
        }),
        strokePath: drawn(() => context.stroke(shapes(line, scale).stroke)),
        bandPath: drawn(() => {
            context.globalAlpha = 0.2;
            context.fill(shapes(line, scale).band);
        }),
    };
}"""


@pytest.fixture(scope="module")
def pictures(browser):
    """Each picture as (rows, columns, red green blue alpha)."""
    from tests.browser.fake import FakeRun, FakeServer

    run = FakeRun()
    with FakeServer(run.answer, run.greeting) as server:
        page = browser.new_page()
        page.goto(server.url)
        found = page.evaluate(DRAW, [BOX, WIDTH, HEIGHT])
        page.close()
    return {
        name: np.array(words, "<u4").view(np.uint8).reshape(HEIGHT, WIDTH, 4).astype(int)
        for name, words in found.items()
    }


def columns(*points: float) -> list[int]:
    """Return in which columns points stand."""
    scale = BOX["width"] / (LAST - FIRST)
    return [round(BOX["left"] + (point - FIRST) * scale) for point in points]


@pytest.mark.parametrize(
    ("name", "path", "alpha"), [("line", "strokePath", 1), ("band", "bandPath", 0.2)]
)
def test_a_line_covers_what_its_path_does(pictures, name, path, alpha):
    known = slice(0, columns(890)[0])  # where sigma is
    mine, theirs = (pictures[which][:, known, 3] > 127 * alpha for which in (name, path))
    assert np.sum(mine & theirs) > 0.9 * np.sum(theirs)
    assert np.sum(mine) < 1.35 * np.sum(theirs)  # of each column the highest and the lowest
    # Nowhere by more than the width of the line.
    wide = np.array([np.roll(theirs, (i, j), (0, 1)) for i in range(-2, 3) for j in range(-2, 3)])
    mine[:, columns(480)[0] - 2 : columns(480)[0] + 2] = False  # a point alone has no path
    assert not np.any(mine & ~wide.any(axis=0))
    assert pictures[name][..., 3].max() == pytest.approx(255 * alpha, abs=1)
    coloured = pictures[name][pictures[name][..., 3] > 40][:, :3]
    assert np.abs(coloured - COLOUR).max() <= 3


def test_gaps_and_points_alone(pictures):
    for name in ("line", "band"):
        seen = pictures[name][..., 3].any(axis=0)
        left, alone, right = columns(399, 480, 560)
        assert seen[left - 5 : left].all()
        assert not seen[left + 2 : alone - 2].any()
        assert seen[alone - 1 : alone + 1].all()
        assert not seen[alone + 2 : right - 2].any()
        assert seen[right + 2 : right + 9].all()
    height = np.count_nonzero(pictures["band"][..., 3], axis=0)
    known, unknown = columns(890, 910)
    assert height[known - 9 : known].min() > 30
    assert (
        height[unknown : unknown + 9].max() < 9
    )  # no sigma: none but that of the points themselves
    seen = pictures["line"][..., 3]
    assert not seen[:, : BOX["left"]].any()
    assert not seen[:, BOX["left"] + BOX["width"] :].any()
    bottom = BOX["top"] + BOX["height"]
    assert seen[bottom - 1].any()  # cut off, not left out
    assert not seen[bottom:].any()


def test_dashes(pictures):
    seen = pictures["dashes"][..., 3].any(axis=0)[BOX["left"] : columns(399)[0] - 5]
    # Dashes end in the middle of columns.
    assert np.mean(seen) == pytest.approx(6 / 11, abs=0.1)
    turns = np.flatnonzero(np.diff(seen.astype(int)))
    assert set(np.diff(turns)) <= {5, 6}
    whole = pictures["line"][..., 3] > 0
    assert not np.any((pictures["dashes"][..., 3] > 0) & ~whole)


def test_a_line_is_drawn_over_its_band(pictures):
    line = pictures["line"][..., 3] == 255
    assert np.all(pictures["both"][line][:, :3] == (0, 0, 255))
    alone = (pictures["line"][..., 3] == 0) & (pictures["band"][..., 3] > 40)
    assert np.array_equal(pictures["both"][alone], pictures["band"][alone])
