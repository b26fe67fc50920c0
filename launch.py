"""The command line of braggstream."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape

from streamer.config import Config, DashboardConfig, PositionsConfig, load_config
from streamer.errors import RunError, UserError
from streamer.run.topology import NodeSpec

__all__ = ["app", "main"]

app = typer.Typer(
    name="braggstream",
    help="Detector frames in, sub-pixel Bragg-peak positions out, live.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE.yaml", help="Configuration of the run.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY.PATH=VALUE", help="Change one key; may be repeated."),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Run folder, made by the run.")]
DashboardPort = Annotated[
    int | None,
    typer.Option(
        "--dashboard",
        metavar="PORT",
        min=0,
        max=65535,
        help="Port of the live page, or the next free one; 0 for none.",
    ),
]


@app.command()
def demo(
    config: ConfigFile = None,
    set_: Overrides = None,
    out: Out = Path("demo"),
    dashboard: DashboardPort = None,
) -> None:
    """Watch a simulated charge cycle: live attach, positions, tracks, error against the truth."""
    from streamer.report import demo as show

    settings = load_config(config, set_)
    console = Console()
    show.prepare_folder(out)
    truth, cell = out / "truth.parquet", out / "cell.csv"
    files = ["--truth", str(truth), "--cell", str(cell)]
    words = ["simulate", *files, *_words(config, set_)]
    settings = settings.model_copy(
        update={
            "cell": settings.cell.model_copy(update={"file": str(cell)}),
            "source": settings.source.model_copy(update={"record": out / "stream_master.h5"}),
        }
    )
    with show.simulated_detector(_command(words), out / "simulator.log") as uri:
        console.print(f"simulated detector at {uri}", highlight=False)
        expected = settings.simulate.frames
        _run(settings, uri, out / "run", console, expected=expected, dashboard=dashboard)
    show.report(settings, out / "run", truth, console, figures=out)


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
    dashboard: DashboardPort = None,
    config: ConfigFile = None,
    set_: Overrides = None,
) -> None:
    """Process a recorded run."""
    from streamer.sources import open_source

    overrides = list(set_ or [])
    if speed != "max":
        overrides.append(f"source.speed={_positive(speed)}")
    if frames is not None:
        overrides.append(f"source.frames={json.dumps(frames)}")  # 10:20 is a number in YAML
    if loop is not None:
        overrides.append(f"source.loop={loop}")
    if follow:
        overrides.append("source.follow=true")
    settings = load_config(config, overrides)
    source = open_source(path, settings.source)
    expected = source.n_frames
    source.close()
    _run(settings, path, out, Console(), expected=expected, dashboard=dashboard)


@app.command()
def attach(
    uri: Annotated[str, typer.Argument(help="Live stream, such as dectris://host:31001.")],
    out: Out,
    record: Annotated[
        Path | None,
        typer.Option(metavar="FILE.h5", help="Also keep the stream as it comes, for replay."),
    ] = None,
    dashboard: DashboardPort = None,
    config: ConfigFile = None,
    set_: Overrides = None,
) -> None:
    """Process a live detector stream until its series ends or Ctrl-C is pressed."""
    from streamer.ingest.recorder import check_path
    from streamer.sources import check_reachable

    settings = load_config(config, set_)
    if record is not None:
        source = settings.source.model_copy(update={"record": record})
        settings = settings.model_copy(update={"source": source})
    if settings.source.record is not None:
        check_path(settings.source.record)
    check_reachable(uri, settings.source)
    _run(settings, uri, out, Console(), dashboard=dashboard)


@app.command()
def record(
    uri: Annotated[str, typer.Argument(help="Live stream, such as dectris://host:31001.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.h5", help="File to write.")],
    config: ConfigFile = None,
    set_: Overrides = None,
) -> None:
    """Keep a live stream as it comes, without processing it, until it ends or Ctrl-C is pressed."""
    from streamer.ingest.recorder import check_path
    from streamer.run.record import record_source
    from streamer.sources import check_reachable

    settings = load_config(config, set_)
    check_path(out)
    check_reachable(uri, settings.source)
    record_source(uri, settings.source, out, Console())


@app.command()
def check(
    uri: Annotated[str, typer.Argument(help="Live stream or recording.")],
    seconds: Annotated[float, typer.Option(help="How long to listen at most.")] = 5.0,
    config: ConfigFile = None,
    set_: Overrides = None,
) -> None:
    """Say what a source gives, and what to do if it is not what it should be."""
    from streamer.sources.check import check_source

    settings = load_config(config, set_)
    if not check_source(uri, settings.source, Console(), seconds):
        raise typer.Exit(1)


@app.command()
def simulate(
    out: Annotated[
        Path | None,
        typer.Option(metavar="x_master.h5", help="Write a recording instead of a stream."),
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(metavar="FILE.parquet", help="Where to write the truth.")
    ] = None,
    cell: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Where the cycler writes, as frames are sent."),
    ] = None,
    bind: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where clients connect; port * = any.")
    ] = "127.0.0.1:*",
    rate: Annotated[str | None, typer.Option(metavar="HZ|max", help="Frames a second.")] = None,
    config: ConfigFile = None,
    set_: Overrides = None,
) -> None:
    """Be a detector: a charge cycle with known truth, as stream v2 or as an Eiger-style file."""
    from streamer.run.signals import stop_event
    from streamer.simulator.cycler import Cycler, cell_path_for
    from streamer.simulator.eiger_files import write_recording
    from streamer.simulator.scene import Scene
    from streamer.simulator.sender import Detector
    from streamer.simulator.truth import truth_path_for, write_truth

    overrides = list(set_ or [])
    if rate is not None:
        overrides.append(f"simulate.rate_hz={0.0 if rate == 'max' else _positive(rate)}")
    scene = Scene(load_config(config, overrides).simulate)
    console = Console()
    if out is not None:
        begin = time.time()
        with console.status(f"writing {scene.n_frames:,} frames"):
            write_recording(scene, out)
            truth = truth or truth_path_for(out)
            write_truth(truth, scene.truth(), scene.metadata())
            cell = cell or cell_path_for(out)
            with Cycler(scene, cell) as recorded:
                for index in range(scene.n_frames):
                    recorded.note(index, begin + index * scene.frame_time)
        console.print(
            f"recording {out}\ntruth     {truth}\ncell      {cell}",
            highlight=False,
            soft_wrap=True,
        )
        return
    with (
        stop_event() as stop,
        nullcontext() if cell is None else Cycler(scene, cell) as cycler,
        Detector(scene, truth, cycler, f"tcp://{bind}") as detector,
    ):
        endpoint = detector.endpoint.removeprefix("tcp://")
        console.print(f"detector at dectris://{endpoint}", highlight=False, soft_wrap=True)
        sys.stdout.flush()
        sent = detector.run(stop)
    console.print(
        f"sent {sent.sent:,} frames in {sent.seconds:.1f} s, dropped {sent.dropped:,}",
        highlight=False,
    )


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
    overrides = list(set_ or [])
    if architecture is not None:
        overrides.append(f"train.architecture={architecture}")
    if patches is not None:
        overrides.append(f"train.patches={patches}")
    if from_ is not None:
        from workers.learn.retraining import recording_of, retrain

        recording, of_run = recording_of(from_)
        retrain(load_config(config or of_run, overrides), recording, out, Console())
        return
    settings = load_config(config, overrides)
    from workers.learn.training import train as train_network

    train_network(settings.train, out, Console())


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
        typer.Option(
            metavar="MINVAL:MINSCORE",
            help="Thresholds; may be repeated. Default: those configured, and twice those.",
        ),
    ] = None,
    config: ConfigFile = None,
    set_: Overrides = None,
) -> None:
    """Compare the position methods: precision and cost on simulated peaks and on a recording."""
    settings = load_config(config, set_)
    from workers.compare.comparison import compare_methods

    compare_methods(
        settings, out, recording, Console(), peaks=peaks, frames=frames, pairs=pair or ()
    )


@app.command()
def status(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Run folder.")],
) -> None:
    """Say how a run stands, or how it ended."""
    from streamer.run.status import print_status

    print_status(folder, Console())


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Run folder.")],
    frames: Annotated[
        str | None, typer.Option(metavar="N,N,...", help="Frames to show; default: evenly spread.")
    ] = None,
    tracks: Annotated[int, typer.Option(min=1, max=8, help="Main tracks to draw.")] = 8,
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
    from streamer.report.movie import check_movie, write_movie
    from streamer.results.folder import RunFolder
    from streamer.results.pixels import Recorded

    run = RunFolder.open(folder)
    if movie is not None:
        check_movie(movie)
    try:
        chosen = [int(one) for one in frames.split(",")] if frames is not None else None
    except ValueError:
        raise UserError(f"--frames {frames}: write numbers with commas, such as 10,200") from None
    console = Console()
    settings = _settings_of(folder)
    with console.status("drawing the report"):
        page = _report(folder, out or folder / "report", chosen, tracks)
    console.print(f"report {page}", highlight=False, soft_wrap=True)
    if movie is not None:
        source = Recorded(run.read_summary()["source"], settings.source)
        count = write_movie(run, source, movie, console, movie_frames)
        console.print(f"movie  {movie} of {count:,} frames", highlight=False, soft_wrap=True)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Run folder.")],
    format_: Annotated[
        str, typer.Option("--format", metavar="nexus|csv|flt|parquet", help="What to write.")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Where to; default: export/ in the folder.")
    ] = None,
) -> None:
    """Write a run in a format of other programs: NeXus, CSV, ImageD11's .flt, Parquet."""
    from streamer.export.formats import export_run

    console = Console()
    with console.status(f"writing {format_}"):
        written = export_run(folder, format_, out)
    console.print(f"{format_} {written}", highlight=False, soft_wrap=True)


@app.command("dashboard")
def show_dashboard(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Run folder.")],
    port: Annotated[
        int | None, typer.Option(metavar="PORT", min=1, max=65535, help="Or the next free one.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to serve it on.")] = None,
    listener: Annotated[int | None, typer.Option(hidden=True)] = None,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Show a run, going on or ended, as a web page until Ctrl-C."""
    import socket

    from streamer.dashboard.server import serve
    from streamer.dashboard.view import RunView
    from streamer.run.sidecar import address_of, listen, step_back

    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    view = RunView(folder, load_mask=_load_mask)
    if listener is not None:
        step_back()  # the run comes first
        opened = socket.socket(fileno=listener)
    else:
        wanted = view.config.dashboard
        default = DashboardConfig().port
        opened = listen(host or wanted.host, port or wanted.port or default)
        Console().print(f"dashboard {address_of(opened)}", highlight=False, soft_wrap=True)
    with opened:
        serve(view, opened, fit=_patch_fit(view.config.positions), parent=parent)


@app.command()
def node(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.json", help="As the launcher writes it.")],
) -> None:
    """Be one node of a run (started by the other commands)."""
    from workers.nodes import run_node

    run_node(msgspec.json.decode(spec.read_bytes(), type=NodeSpec))


def _run(
    settings: Config,
    source: str,
    out: Path,
    console: Console,
    *,
    expected: int | None = None,
    dashboard: int | None = None,
) -> None:
    """Process a source, with a dashboard beside it, and print the summary."""
    from streamer.run.console import print_summary, view_for
    from streamer.run.execute import execute

    if dashboard is not None:
        changed = settings.dashboard.model_copy(update={"port": dashboard})
        settings = settings.model_copy(update={"dashboard": changed})
    patch_size = _check_inputs(settings)
    with _dashboard(settings.dashboard, out, console):
        summary = execute(
            settings,
            source,
            out,
            lambda spec: _command(["node", str(spec)]),
            view_for(console),
            expected=expected,
            patch_size=patch_size,
            cuda_devices=len(list(Path("/dev").glob("nvidia[0-9]*"))),
        )
    print_summary(console, summary)
    if settings.report.auto:
        _report_at_end(out, console)
    frames = summary["frames"]
    lost = {state: frames[state] for state in ("failed", "missing") if frames[state]}
    if lost:
        words = ", ".join(f"{count:,} {state}" for state, count in lost.items())
        raise RunError(f"{words} of {frames['total']:,} frames: reasons in {out / 'frames'}")


def _report_at_end(out: Path, console: Console) -> None:
    """Write the report of a run that is over; whatever goes wrong, the run has not failed."""
    try:
        with console.status("drawing the report (Ctrl-C leaves it out)"):
            page = _report(out, out / "report", patience_s=4.0)
        console.print(f"report {page}", highlight=False, soft_wrap=True)
    except (Exception, KeyboardInterrupt) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        logging.getLogger(__name__).debug("no report", exc_info=True)
        console.print(
            f"[yellow]no report: {escape(reason)}[/yellow]; launch.py report {out} tries again",
            highlight=False,
            soft_wrap=True,
        )


def _report(
    folder: Path,
    out: Path,
    chosen: list[int] | None = None,
    tracks: int = 8,
    patience_s: float = 15.0,
) -> Path:
    from streamer.report.run import write_report
    from workers.compute import RunRefitter

    return write_report(
        folder,
        out,
        tracks=tracks,
        chosen=chosen,
        make_fitter=lambda material: RunRefitter(material.config),
        patience_s=patience_s,
    )


def _settings_of(folder: Path) -> Config:
    """Return the configuration of a run; of one of another version, the defaults."""
    try:
        return load_config(folder / "config.yaml")
    except UserError:
        return Config()


def _dashboard(
    config: DashboardConfig, out: Path, console: Console
) -> AbstractContextManager[None]:
    """Have a dashboard beside a run, if one is wanted."""
    from streamer.run.sidecar import listen, sidecar

    if not config.port or (out / "run.json").exists():  # the latter is another run's
        return nullcontext()
    words = ["dashboard", str(out), "--parent", str(os.getpid()), "--listener"]
    return sidecar(
        listen(config.host, config.port),
        out,
        lambda number: _command([*words, str(number)]),
        lambda url: console.print(f"dashboard {url}", highlight=False, soft_wrap=True),
    )


def _load_mask(path: Path) -> NDArray[np.bool_]:
    from streamer.sources.images import load_mask

    return load_mask(path)


def _patch_fit(
    positions: PositionsConfig,
) -> Callable[[NDArray[np.float32], NDArray[np.bool_]], dict[str, float] | None]:
    """Return what fits one patch, for comparison with where its peak was placed."""

    def fit(counts: NDArray[np.float32], valid: NDArray[np.bool_]) -> dict[str, float] | None:
        from workers.place.fit.methods import Noise, fit_gaussian

        fits = fit_gaussian(counts[None], valid[None], Noise(positions.gain, positions.read_noise))
        if not fits.converged[0]:
            return None
        row_sigma, col_sigma = np.sqrt(np.diag(fits.covariance[0])).tolist()
        row, col = float(fits.row[0]), float(fits.col[0])
        return {"row": row, "col": col, "row_sigma": row_sigma, "col_sigma": col_sigma}

    return fit


def _check_inputs(settings: Config) -> int:
    """Read what the nodes will read, so that a mistake shows before anything is started.

    Returns
    -------
    patch_size
        Pixels along each axis of the patches that the position method wants.
    """
    from streamer.frames.geometry import Geometry
    from streamer.sources.images import load_dark, load_mask
    from workers.place.methods import make_method, patch_size_of

    Geometry.from_config(settings.geometry)
    if settings.detect.mask is not None:
        load_mask(settings.detect.mask)
    if settings.detect.dark is not None:
        load_dark(settings.detect.dark)
    positions = settings.positions
    if positions.method == "braggnn" and positions.backend != "auto":
        from workers.place.network.backends.choice import choose_place

        choose_place(positions.backend, positions.device)
    if positions.method == "braggnn" and positions.device.startswith("cuda"):
        return make_method(positions, 1).patch_size
    return patch_size_of(positions)


def _command(words: list[str]) -> list[str]:
    """Return the command line that runs this program with other words."""
    return [sys.executable, str(Path(__file__).resolve()), *words]


def _words(config: Path | None, overrides: list[str] | None) -> list[str]:
    words = [] if config is None else ["--config", str(config)]
    for override in overrides or []:
        words += ["--set", override]
    return words


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value > 0:
        raise UserError(f"{text} is not a positive number (or 'max')")
    return value


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


if __name__ == "__main__":
    main()
