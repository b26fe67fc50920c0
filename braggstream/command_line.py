"""The command line of braggstream."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from braggstream.composition import session, settings_of
from braggstream.options import (
    ConfigFile,
    DashboardPort,
    Folder,
    Out,
    Overrides,
    Resume,
    Stream,
)
from streamer.errors import RunError, UserError

__all__ = ["app", "main"]

app = typer.Typer(
    name="braggstream",
    help="Detector frames in, sub-pixel Bragg-peak positions out, live.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"braggstream {version('braggstream')}")
        raise typer.Exit


@app.callback()
def _program(
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_say_version, is_eager=True, help="Say the version and exit."
        ),
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    config: ConfigFile = None,
    set_: Overrides = None,
    out: Out = Path("demo"),
    rate: Annotated[
        str | None, typer.Option(metavar="HZ|max", help="Frames a second; default: 12, to watch.")
    ] = None,
    dashboard: DashboardPort = None,
) -> None:
    """Watch a simulated charge cycle: live attach, positions, tracks, error against the truth.

    In a terminal the page stays until Ctrl-C.
    """
    from streamer.config import pace_of
    from streamer.report.demo import show_demo

    rate_hz = None if rate is None else pace_of(rate, fastest=0.0)
    options = {"dashboard.port": dashboard, "simulate.rate_hz": rate_hz}
    show_demo(session(), out, config, set_ or [], options)


@app.command()
def replay(
    path: Annotated[
        str, typer.Argument(help="Recording: HDF5, TIFF, CBF, EDF, GE, .npy, ..., folder, glob.")
    ],
    out: Out,
    speed: Annotated[
        str, typer.Option(help="'max', or a multiple of real time such as 1.0.")
    ] = "max",
    frames: Annotated[
        str | None, typer.Option(metavar="START:STOP:STEP", help="Frames to take; 100:400:2.")
    ] = None,
    loop: Annotated[
        int | None, typer.Option(metavar="N", help="Play it N times; 0 plays it until Ctrl-C.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Play a file that is being written as it grows.")
    ] = False,
    resume: Resume = False,
    dashboard: DashboardPort = None,
    config: ConfigFile = None,
    set_: Overrides = None,
) -> None:
    """Process a recorded run."""
    from streamer.config import pace_of

    options = {
        "source.speed": pace_of(speed, fastest=None),
        "source.frames": frames,
        "source.loop": loop,
        "source.follow": follow or None,
        "dashboard.port": dashboard,
    }
    session().replay(settings_of(config, set_, options), path, out, resume=resume)


@app.command()
def attach(
    uri: Stream,
    out: Out,
    record: Annotated[
        Path | None,
        typer.Option(metavar="FILE.h5", help="Also keep the stream as it comes, for replay."),
    ] = None,
    resume: Resume = False,
    dashboard: DashboardPort = None,
    config: ConfigFile = None,
    set_: Overrides = None,
) -> None:
    """Process a live detector stream until its series ends or Ctrl-C is pressed."""
    settings = settings_of(config, set_, {"source.record": record, "dashboard.port": dashboard})
    session().attach(settings, uri, out, resume=resume)


@app.command()
def record(
    uri: Stream,
    out: Annotated[Path, typer.Option("--out", metavar="FILE.h5", help="File to write.")],
    config: ConfigFile = None,
    set_: Overrides = None,
) -> None:
    """Keep a live stream as it comes, without processing it, until it ends or Ctrl-C is pressed."""
    from streamer.run.record import record_source

    record_source(uri, settings_of(config, set_), out, Console())


@app.command()
def check(
    uri: Annotated[str, typer.Argument(help="Live stream or recording.")],
    seconds: Annotated[float, typer.Option(help="How long to listen at most.")] = 5.0,
    config: ConfigFile = None,
    set_: Overrides = None,
) -> None:
    """Say what a source gives, and what to do if it is not what it should be."""
    from streamer.cell.check import check_cell
    from streamer.sources.check import check_source

    settings, console = settings_of(config, set_), Console()
    is_well = check_source(uri, settings.source, console, seconds)
    if settings.cell.file is not None:
        is_well &= check_cell(settings.cell, console)
    if not is_well:
        raise typer.Exit(1)


@app.command()
def tune(
    recording: Annotated[str, typer.Argument(help="Recording, as for replay.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE.png", help="Picture to write.")
    ] = Path("thresholds.png"),
    frames: Annotated[int, typer.Option(min=1, help="Most frames to look at.")] = 8,
    config: ConfigFile = None,
    set_: Overrides = None,
) -> None:
    """Show peaks against both thresholds, and say which two numbers to use."""
    from workers.detect.tune import tune as tune_thresholds

    tune_thresholds(settings_of(config, set_), recording, out, frames, Console())


@app.command()
def simulate(
    out: Annotated[
        Path | None, typer.Option(metavar="x_master.h5", help="Write a file instead of a stream.")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(metavar="FILE.parquet", help="Where to write the truth.")
    ] = None,
    cell: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Where the cycler writes meanwhile.")
    ] = None,
    bind: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where clients connect; port * = any.")
    ] = "127.0.0.1:*",
    rate: Annotated[str | None, typer.Option(metavar="HZ|max", help="Frames a second.")] = None,
    trigger: Annotated[
        bool, typer.Option("--trigger", help="Wait for Enter before the first frame.")
    ] = False,
    config: ConfigFile = None,
    set_: Overrides = None,
) -> None:
    """Be a detector: a charge cycle with known truth, as stream v2 or as an Eiger-style file."""
    from streamer.config import pace_of
    from streamer.run.signals import stop_event
    from streamer.simulator.session import simulate as run_detector
    from streamer.simulator.trigger import LineTrigger

    rate_hz = None if rate is None else pace_of(rate, fastest=0.0)
    settings = settings_of(config, set_, {"simulate.rate_hz": rate_hz})
    run_detector(
        settings.simulate, Console(), stop_event, address=f"tcp://{bind}",
        exposed=settings.insecure, out=out, truth=truth, cell=cell,
        trigger=LineTrigger(sys.stdin.fileno()) if trigger else None,
    )  # fmt: skip


@app.command()
def train(
    out: Annotated[Path, typer.Option(metavar="WEIGHTS.pt", help="Weights to write.")],
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="RECORDING|DIR",
            help="Learn from a recording, or from what a run in DIR read, with its settings.",
        ),
    ] = None,
    architecture: Annotated[str | None, typer.Option(help="published or compact.")] = None,
    patches: Annotated[int | None, typer.Option(help="Patches to learn from.")] = None,
    config: ConfigFile = None,
    set_: Overrides = None,
) -> None:
    """Train a network on simulated patches, or retrain one on your own peaks.

    It is then used with positions.checkpoint.
    """
    from workers.learn.session import learn

    options = {"train.architecture": architecture, "train.patches": patches}
    learn(from_, out, Console(), config, set_ or [], options)


@app.command()
def evaluate(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for figures and evaluation.json.")
    ],
    recording: Annotated[
        str | None,
        typer.Argument(help="Recording, as for replay; without one the simulated charge cycle."),
    ] = None,
    peaks: Annotated[int, typer.Option(help="Simulated peaks of each case.")] = 4000,
    frames: Annotated[int, typer.Option(help="Most frames to take, evenly spread.")] = 120,
    pair: Annotated[
        list[str] | None,
        typer.Option(metavar="MINVAL:MINSCORE", help="Thresholds, repeatable, not those set."),
    ] = None,
    config: ConfigFile = None,
    set_: Overrides = None,
) -> None:
    """Compare the position methods: precision and cost on simulated peaks and on a recording."""
    from workers.compare.comparison import compare_methods

    settings, console = settings_of(config, set_), Console()
    compare_methods(settings, out, recording, console, peaks=peaks, frames=frames, pairs=pair or ())


@app.command()
def status(
    folder: Folder,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say how a run stands, or how it ended."""
    from streamer.run.status import print_status, status_json

    if not json:
        print_status(folder, Console())
        return
    text, is_well = status_json(folder)
    typer.echo(text)
    if not is_well:
        raise typer.Exit(1)


@app.command()
def report(
    folder: Folder,
    frames: Annotated[
        str | None, typer.Option(metavar="N,N,...", help="Frames to show; default: evenly spread.")
    ] = None,
    tracks: Annotated[int, typer.Option(min=1, max=8, help="Main reflections to draw.")] = 8,
    movie: Annotated[
        Path | None, typer.Option(metavar="FILE.mp4|.gif", help="Make a movie of the run too.")
    ] = None,
    movie_frames: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Most frames of the movie.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to; default: report/ in the folder.")
    ] = None,
) -> None:
    """Write a page with the figures of a run, going on or ended: drift, frames, errors, ledger."""
    from streamer.report.session import report_run
    from workers.compute import run_refitter

    report_run(
        folder, Console(), run_refitter,
        out=out, frames=frames, tracks=tracks, movie=movie, movie_frames=movie_frames,
    )  # fmt: skip


@app.command()
def export(
    folder: Folder,
    format_: Annotated[
        str | None, typer.Option("--format", metavar="nexus|csv|flt|parquet", help="What to write.")
    ] = None,
    tiled: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Register its tables with this Tiled server instead."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Where to; default: export/ in the folder.")
    ] = None,
) -> None:
    """Write a run in a format of other programs: NeXus, CSV, ImageD11's .flt, Parquet, Tiled."""
    from streamer.export.session import hand_over

    hand_over(folder, Console(), format_, tiled, out)


@app.command("dashboard")
def show_dashboard(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Run folder, or folder of runs.")],
    port: Annotated[
        int | None, typer.Option(metavar="PORT", min=1, max=65535, help="Or the next free one.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to serve it on.")] = None,
    listener: Annotated[int | None, typer.Option(hidden=True)] = None,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
    lasting: Annotated[bool, typer.Option("--lasting", hidden=True)] = False,
) -> None:
    """Show a run, going on or ended, as a web page until Ctrl-C; or all runs of a folder."""
    from streamer.dashboard.session import show_run
    from workers.compute import patch_fit, peak_preview

    show_run(
        folder, Console(), patch_fit, peak_preview,
        host=host, port=port, listener=listener, parent=parent, lasting=lasting,
    )  # fmt: skip


@app.command()
def pvs(
    folder: Folder,
    prefix: Annotated[
        str | None, typer.Option(metavar="NAME:", help="What their names begin with.")
    ] = None,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Serve results of a run that goes on as process variables of EPICS (PVAccess)."""
    if find_spec("p4p") is None:
        raise UserError("pvs needs the package p4p: pip install 'braggstream[pva]'")
    from streamer.pvs.session import serve_pvs

    serve_pvs(folder, Console(), prefix=prefix, parent=parent)


@app.command()
def keys(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the keys.")],
    name: Annotated[str, typer.Option(metavar="NAME", help="Whom the key is for.")] = "reader",
) -> None:
    """Make a key for somebody who is to read what runs publish: peaks feed and frames relay."""
    from streamer.run.readers import admit_reader

    admit_reader(folder, name, Console())


@app.command()
def node(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.json", help="As the launcher writes it.")],
) -> None:
    """Be one node of a run (started by the other commands)."""
    from braggstream.node import be_node

    be_node(spec)


def main() -> None:
    """Run the command line; a user's mistake is one line and exit status 2."""
    try:
        status = app(standalone_mode=False)
    except UserError as error:
        status = _say(str(error), 2)
    except typer.TyperException as error:  # wrong words on the command line
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        status = _say(f"{message or 'no command given'} (--help says more)", 2)
    except RunError as error:
        status = _say(str(error), 1)
    except (typer.Abort, KeyboardInterrupt):
        status = _say("interrupted", 130)
    except BrokenPipeError:
        # Who read our output is gone; so that the interpreter's last flush has somewhere to go:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    sys.exit(status or 0)


def _say(message: str, status: int) -> int:
    print(f"error: {message}".replace("\n", " "), file=sys.stderr)  # noqa: T201
    return status
