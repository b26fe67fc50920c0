"""The whole product in one go: a simulated detector, a live run, its error against the truth."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from streamer.config import Config, load_config
from streamer.errors import UserError
from streamer.report.reflections import farthest_reflections
from streamer.report.track_truth import judge
from streamer.report.truth import Comparison, compare
from streamer.report.truth_figure import draw_drift
from streamer.results.folder import RunFolder
from streamer.run.private import private_files
from streamer.run.session import Session
from streamer.run.signals import stop_event
from streamer.simulator.truth import read_truth

__all__ = ["show_demo"]

_MARK = "made-by-demo"
_DRAWN = 6
"""Reflections in the figure of the drift."""
_RATE_HZ = 12.0
"""Frames a second that a person can follow, where the configuration says nothing."""


def show_demo(
    session: Session,
    out: Path,
    file: Path | None,
    overrides: list[str],
    options: Mapping[str, object],
) -> None:
    """Run a simulated charge cycle and show how far its positions are from the truth.

    Its page is there until Ctrl-C where somebody sits at a terminal.

    Parameters
    ----------
    session
        What runs it.
    out
        Folder of the demo; that of an earlier one is made anew.
    file, overrides, options
        Configuration as for `load_config`; the first two are the simulated detector's too.

    Raises
    ------
    UserError
        Something that the user gave does not fit, or something else is in the folder.
    RunError
        The run failed.
    """
    config = load_config(file, overrides, options)
    with private_files(config):
        _run_demo(session, out, config, file, overrides)


def _run_demo(
    session: Session, out: Path, config: Config, file: Path | None, overrides: list[str]
) -> None:
    _prepare_folder(out)
    truth, cell = out / "truth.parquet", out / "cell.csv"
    words = ["simulate", "--trigger", "--truth", str(truth), "--cell", str(cell)]
    words += [] if file is None else ["--config", str(file)]
    words += [word for override in overrides for word in ("--set", override)]
    simulate = config.simulate
    if "rate_hz" not in simulate.model_fields_set:
        simulate = simulate.model_copy(update={"rate_hz": _RATE_HZ})
    words += ["--rate", str(simulate.rate_hz or "max")]
    page = config.dashboard
    config = config.model_copy(
        update={
            "dashboard": page.model_copy(update={"port": 0}),  # which here outlasts the run
            "simulate": simulate,
            "cell": config.cell.model_copy(update={"file": str(cell)}),
            "source": config.source.model_copy(update={"record": out / "stream_master.h5"}),
        }
    )
    run = out / "run"
    is_attended = session.console.is_terminal and sys.stdin.isatty()
    with session.page(
        config.model_copy(update={"dashboard": page}),
        run,
        lasting=True,
        announced=_open if is_attended else lambda url: None,
    ):
        with _simulated_detector(session.command(words), out / "simulator.log") as detector:
            session.console.print(f"simulated detector at {detector.uri}", highlight=False)
            session.run(
                config,
                detector.uri,
                run,
                expected=simulate.frames,
                at_work=detector.trigger,
            )
        _compare(config, run, truth, session.console, out)
        if page.port and is_attended:
            with stop_event() as stop:
                session.console.print("the page stays until Ctrl-C")
                stop.wait()


def _open(url: str) -> None:
    """Show a page, where there is a screen to show it on."""
    if sys.platform == "darwin" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY"))):
        with suppress(webbrowser.Error):  # the address has been printed
            webbrowser.open(url)


def _prepare_folder(out: Path) -> None:
    """Make the demo's folder anew; what an earlier demo left there is removed.

    Raises
    ------
    UserError
        Something else is there.
    """
    if out.exists():
        if not (out / _MARK).exists() and (not out.is_dir() or any(out.iterdir())):
            raise UserError(f"{out} is not an earlier demo: choose another --out")
        shutil.rmtree(out)
    try:
        out.mkdir(parents=True)
        (out / _MARK).touch()
    except OSError as error:
        raise UserError(f"cannot make {out}: {error.strerror}") from None


@dataclass(frozen=True, slots=True)
class _ArmedDetector:
    """A simulated detector, a process of its own, that sends no frame before it is told to."""

    uri: str
    process: subprocess.Popen[bytes]

    def trigger(self) -> None:
        """Have it begin."""
        if self.process.stdin is not None:
            with suppress(OSError):  # it is gone, and what the run then says is to the point
                self.process.stdin.write(b"\n")
                self.process.stdin.flush()


@contextmanager
def _simulated_detector(command: list[str], log: Path) -> Iterator[_ArmedDetector]:
    """Arm a simulated detector; it is gone when the context is left."""
    pipe = subprocess.PIPE
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=errors, start_new_session=True
        ) as process,
    ):
        try:
            line = process.stdout.readline() if process.stdout else b""
            uri = line.decode(errors="replace").strip().rpartition(" ")[2]
            if not uri.startswith("dectris://"):
                process.wait()
                said = log.read_text(encoding="utf-8", errors="replace").strip()
                raise UserError(said.rpartition("\n")[2].removeprefix("error: "))
            yield _ArmedDetector(uri, process)
        finally:
            process.terminate()


def _compare(
    config: Config, folder: Path, truth_file: Path, console: Console, figures: Path
) -> None:
    """Compare a run with the truth, draw its figures and say where they are."""
    run = RunFolder.open(folder)
    peaks = run.read("peaks")
    truth, metadata = read_truth(truth_file)
    comparison = compare(truth, peaks)
    _print_comparison(console, comparison)
    geometry = run.read_geometry()
    for line in judge(truth, peaks, config.tracks, geometry).in_words():
        console.print(line, highlight=False, soft_wrap=True)
    beam = (metadata["beam_row"], metadata["beam_col"])
    drift = figures / "drift.png"
    reflections = farthest_reflections(run.read_tracks(), geometry, _DRAWN)
    draw_drift(drift, peaks, reflections, truth, comparison, beam)
    console.print(f"drift, with the truth  {drift}", highlight=False)
    console.print(f"run folder             {folder}", highlight=False)


def _print_comparison(console: Console, comparison: Comparison) -> None:
    table = Table(title="Error against the truth, px", title_justify="left")
    for column in ("spots", "matched", "p50", "p95"):
        table.add_column(column, justify="left" if column == "spots" else "right")
    for name, clear in (("alone in their patch", True), ("all", False)):
        count = int(comparison.clear.sum()) if clear else len(comparison.error)
        table.add_row(
            name,
            f"{count:,}",
            f"{comparison.percentile(50, clear=clear):.3f}",
            f"{comparison.percentile(95, clear=clear):.3f}",
        )
    console.print(table)
    share = comparison.found / comparison.visible if comparison.visible else float("nan")
    console.print(
        f"found {comparison.found:,} of {comparison.visible:,} visible spots ({share:.1%}), "
        f"{comparison.false:,} peaks where no spot is, {comparison.flagged:,} hot pixels, flagged",
        highlight=False,
        soft_wrap=True,
    )
