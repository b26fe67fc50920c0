"""How many updates a second the dashboard's page draws, when 30 are sent.

An update is a frame of 512 x 512 with 500 peaks, and 20 lines of 3,000 points, scrolled by one.
Run as ``python -m tests.benchmarks.drawing``.
"""

import shutil
import time
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from tests.browser.fake import FakeRun, FakeServer

__all__ = ["main"]

SIZE, PEAKS, LINES, POINTS = 512, 500, 20, 3000
RATES_HZ = (10, 30)
SECONDS = 6.0
GOAL_HZ = 25


def updates(run: FakeRun, request: dict[str, Any], count: int) -> list[tuple[bytes, bytes]]:
    """Return what is sent, made before the clock starts."""
    made = []
    for number in range(count):
        run.n_known = POINTS + number
        made.append((run.image(), run.drifts(request | {"from": run.time[number]})))
    return made


def measure(page: Any, server: FakeServer, run: FakeRun, rate_hz: int) -> dict[str, Any]:
    """Send updates at a rate and return what the page says of them."""
    request = server.wanted("watch")[-1]
    made = updates(run, request, 40)
    before = page.evaluate("view.images")
    start = time.perf_counter()
    sent = 0
    while time.perf_counter() - start < SECONDS:
        server.send(*made[sent % len(made)])
        sent += 1
        time.sleep(max(0.0, start + sent / rate_hz - time.perf_counter()))
    took = time.perf_counter() - start
    drawn = page.evaluate("view.images") - before
    latency = page.evaluate("stats.latency_ms")
    return {"sent": sent / took, "drawn": drawn / took, "latency": latency}


def main() -> None:
    """Print the table."""
    from playwright.sync_api import sync_playwright

    console = Console()
    chromium = shutil.which("chromium")
    if chromium is None:
        console.print("drawing: needs Chromium (apt-get install chromium)")
        return
    run = FakeRun(spots=PEAKS, frames=POINTS + 50, size=SIZE)
    run.n_known = POINTS
    title = f"Updates drawn: {SIZE} x {SIZE}, {PEAKS} peaks, {LINES} lines of {POINTS:,} points"
    table = Table(title=title, box=box.SIMPLE, title_justify="left")
    for column in ("sent/s", "drawn/s", "from arrival to drawn, p50 ms", "p95 ms"):
        table.add_column(column, justify="right")
    with FakeServer(run.answer, run.greeting) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(server.url + "?tracks=" + ".".join(map(str, range(LINES))))
        while not page.evaluate(f"view.images > 0 && view.drift.lines.length === {LINES}"):
            page.wait_for_timeout(50)
        for rate_hz in RATES_HZ:
            found = measure(page, server, run, rate_hz)
            latency = found["latency"]
            table.add_row(f"{found['sent']:.1f}", f"{found['drawn']:.1f}",
                          f"{latency['p50']:.0f}", f"{latency['p95']:.0f}")  # fmt: skip
        browser.close()
    console.print(table)
    share = found["drawn"] / found["sent"]
    verdict = "ok" if found["drawn"] >= GOAL_HZ else "MISSED"
    if found["sent"] < RATES_HZ[-1] - 2:
        verdict = f"not decided, only {found['sent']:.0f} a second could be sent"
    console.print(
        f"{found['drawn']:.1f} drawn a second, {share:.0%} of those sent (goal {GOAL_HZ} of"
        f" {RATES_HZ[-1]}): {verdict}",
        highlight=False,
    )


if __name__ == "__main__":
    main()
