"""A panel that somebody adds, from the run folder to the page."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from streamer.dashboard.hub import Hub
from streamer.dashboard.messages import encode
from streamer.dashboard.panels import PANELS, Panel
from streamer.dashboard.server import STATIC, application
from streamer.dashboard.view import RunView
from tests.browser.conftest import until
from tests.served import Served
from tests.unit.runs import make_run

SPOTS = Panel(
    "spots",
    lambda run: len(run.archive.peaks),
    lambda run: encode(
        "spots", {"count": len(run.archive.peaks)}, {"row": run.archive.peaks["row"]}
    ),
)
SPOTS_JS = """
import { section } from "../dom.js";

export class Spots {
  constructor({ view }) {
    this.words = section("spots", "Spots").section.appendChild(document.createElement("p"));
    this.view = view;
    this.follows = ["theme"];
    this.drawn = 0;
    this.receivers = {
      spots: (header, arrays) => {
        this.text = `${header.count} spots, ${arrays.row.length} rows`;
        this.dirty = true;
      },
    };
  }

  draw() {
    if (!this.dirty || !this.text) return;
    this.dirty = false;
    this.drawn += 1;
    this.words.textContent = this.text;
  }

  report() {
    return { spots: this.text, spotsDrawn: this.drawn };
  }
}
"""


@pytest.fixture
def static(tmp_path: Path) -> Path:
    """The page with one module more, and its name in the list."""
    folder = tmp_path / "static"
    shutil.copytree(STATIC, folder)
    (folder / "panels" / "spots.js").write_text(SPOTS_JS)
    listed = (folder / "panels.js").read_text()
    more = listed.replace("export const PANELS = [", "export const PANELS = [Spots, ")
    assert more != listed
    (folder / "panels.js").write_text('import { Spots } from "./panels/spots.js";\n' + more)
    return folder


def test_a_panel_is_a_module_and_an_entry_on_either_side(tmp_path, static, look, keep):
    view = RunView(make_run(tmp_path / "run").path)
    hub = Hub(view, panels=(*PANELS, SPOTS))
    with Served(application(hub, static=static)) as served:
        page = look(served.url)
        until(page, "view.spots && view.table.length > 0 && view.images > 0")
        count = len(view.archive.peaks)
        assert count > 0
        assert page.locator("#spots-section p").inner_text() == f"{count} spots, {count} rows"
        box, plot = (page.locator(f"#{name}-section").bounding_box() for name in ("spots", "image"))
        assert box["y"] > plot["y"]
        assert box["width"] > plot["width"]
        drawn = page.evaluate("view.spotsDrawn")
        page.locator("#theme").click()
        until(page, f"view.spotsDrawn > {drawn}")
        keep(page, full_page=True)
