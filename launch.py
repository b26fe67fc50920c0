"""The command line of braggstream."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import typer
import zmq
from rich.console import Console

from streamer.config import Config, PositionsConfig, load_config
from streamer.errors import UserError
from streamer.metrics import Metrics
from streamer.run import RunError
from streamer.topology import NodeSpec

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


@app.command()
def demo(
    config: ConfigFile = None,
    set_: Overrides = None,
    out: Out = Path("demo"),
) -> None:
    """Watch a simulated charge cycle: live attach, positions, tracks, error against the truth."""
    from streamer import demo as show

    settings = load_config(config, set_)
    console = Console()
    show.prepare_folder(out)
    truth = out / "truth.parquet"
    words = ["simulate", "--truth", str(truth), *_words(config, set_)]
    with show.simulated_detector(_command(words), out / "simulator.log") as uri:
        console.print(f"simulated detector at {uri}", highlight=False)
        _run(settings, uri, out / "run", console, expected=settings.simulate.frames)
    show.report(settings, out / "run", truth, console, figures=out)


@app.command()
def replay(
    path: Annotated[str, typer.Argument(help="Recording: HDF5, .npy, .npz, TIFF, folder, glob.")],
    out: Out,
    speed: Annotated[
        str, typer.Option(help="'max', or a multiple of real time such as 1.0.")
    ] = "max",
    config: ConfigFile = None,
    set_: Overrides = None,
) -> None:
    """Process a recorded run."""
    from streamer.sources import open_source

    overrides = list(set_ or [])
    if speed != "max":
        overrides.append(f"source.speed={_positive(speed)}")
    settings = load_config(config, overrides)
    source = open_source(path, settings.source)
    expected = source.n_frames
    source.close()
    _run(settings, path, out, Console(), expected=expected)


@app.command()
def attach(
    uri: Annotated[str, typer.Argument(help="Live stream, such as dectris://host:31001.")],
    out: Out,
    config: ConfigFile = None,
    set_: Overrides = None,
) -> None:
    """Process a live detector stream until its series ends or Ctrl-C is pressed."""
    from streamer.sources import check_reachable

    settings = load_config(config, set_)
    check_reachable(uri, settings.source)
    _run(settings, uri, out, Console())


@app.command()
def simulate(
    out: Annotated[
        Path | None,
        typer.Option(metavar="x_master.h5", help="Write a recording instead of a stream."),
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(metavar="FILE.parquet", help="Where to write the truth.")
    ] = None,
    bind: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where clients connect; port * = any.")
    ] = None,
    rate: Annotated[str | None, typer.Option(metavar="HZ|max", help="Frames a second.")] = None,
    config: ConfigFile = None,
    set_: Overrides = None,
) -> None:
    """Be a detector: a charge cycle with known truth, as stream v2 or as an Eiger-style file."""
    from streamer.simulator.recorder import write_recording
    from streamer.simulator.scene import Scene
    from streamer.simulator.sender import Detector
    from streamer.simulator.truth import truth_path_for, write_truth

    overrides = list(set_ or [])
    if bind is not None:
        overrides.append(f"simulate.address=tcp://{bind}")
    if rate is not None:
        overrides.append(f"simulate.rate_hz={0.0 if rate == 'max' else _positive(rate)}")
    scene = Scene(load_config(config, overrides).simulate)
    console = Console()
    if out is not None:
        with console.status(f"writing {scene.n_frames:,} frames"):
            write_recording(scene, out)
            truth = truth or truth_path_for(out)
            write_truth(truth, scene.truth(), scene.metadata())
        console.print(f"recording {out}\ntruth     {truth}", highlight=False)
        return
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(1) if stop.is_set() else stop.set())
    with Detector(scene, truth) as detector:
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
    architecture: Annotated[str | None, typer.Option(help="published or compact.")] = None,
    patches: Annotated[int | None, typer.Option(help="Simulated patches to learn from.")] = None,
    config: ConfigFile = None,
    set_: Overrides = None,
) -> None:
    """Train a network on simulated patches; it is then used with positions.checkpoint."""
    overrides = list(set_ or [])
    if architecture is not None:
        overrides.append(f"train.architecture={architecture}")
    if patches is not None:
        overrides.append(f"train.patches={patches}")
    settings = load_config(config, overrides)
    from workers.training import train as train_network

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
    from workers.comparison import compare_methods

    compare_methods(
        settings, out, recording, Console(), peaks=peaks, frames=frames, pairs=pair or ()
    )


@app.command()
def status(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Run folder.")],
) -> None:
    """Say how a run stands, or how it ended."""
    from streamer.status import print_status

    print_status(folder, Console())


@app.command()
def node(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.json", help="As the launcher writes it.")],
) -> None:
    """Be one node of a run (started by the other commands)."""
    _run_node(msgspec.json.decode(spec.read_bytes(), type=NodeSpec))


def _run(
    settings: Config, source: str, out: Path, console: Console, *, expected: int | None = None
) -> None:
    """Process a source and print the summary."""
    from streamer.console import print_summary, view_for
    from streamer.run import execute

    patch_size = _check_inputs(settings)
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
    frames = summary["frames"]
    lost = {state: frames[state] for state in ("failed", "missing") if frames[state]}
    if lost:
        words = ", ".join(f"{count:,} {state}" for state, count in lost.items())
        raise RunError(f"{words} of {frames['total']:,} frames: reasons in {out / 'frames'}")


def _check_inputs(settings: Config) -> int:
    """Read what the nodes will read, so that a mistake shows before anything is started.

    Returns
    -------
    patch_size
        Pixels along each axis of the patches that the position method wants.
    """
    from workers.images import load_dark, load_mask

    if settings.detect.mask is not None:
        load_mask(settings.detect.mask)
    if settings.detect.dark is not None:
        load_dark(settings.detect.dark)
    if settings.positions.method == "braggnn" and (
        settings.positions.checkpoint is not None or settings.positions.device.startswith("cuda")
    ):
        from workers.positions import make_method

        return make_method(settings.positions, 1).patch_size
    return 11


def _run_node(spec: NodeSpec) -> None:
    from streamer.node import Node

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    settings = load_config(Path(spec.out) / "config.yaml")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    metrics = Metrics()
    runner = Node(
        spec.name,
        context,
        _role(spec, settings, context, metrics),
        metrics,
        status_address=spec.endpoints["status"],
        metrics_port=metrics.serve(settings.metrics.host, spec.metrics_port),
        parent=spec.launcher or None,
    )
    runner.run()


def _role(
    spec: NodeSpec,
    settings: Config,
    context: zmq.Context[zmq.Socket[bytes]],
    metrics: Metrics,
) -> Callable[[], Any]:
    """Return what builds the role of a node; only it imports what that role needs."""
    ends, out = spec.endpoints, Path(spec.out)

    def ingest() -> Any:
        from streamer.ingest import Ingest
        from streamer.sources import open_source

        return Ingest(
            context,
            settings,
            open_source(spec.source, settings.source),
            metrics,
            frames_address=ends["frames"],
            acks_address=ends["acks"],
            out=out,
            incarnation=spec.incarnation,
        )

    def detector() -> Any:
        from workers.detector import DetectorWorker, find_in_frame
        from workers.frames import Correction
        from workers.images import load_dark, load_mask
        from workers.persistence import make_finder

        detect = settings.detect
        finder = make_finder(detect.finder, detect.minval, detect.minscore)
        # What is compiled on first use is compiled before frames come, not while they wait.
        find_in_frame(np.zeros((64, 64), np.uint16), Correction(), finder, spec.patch_size)
        return DetectorWorker(
            context,
            settings,
            metrics,
            finder,
            name=spec.name,
            frames_address=ends["frames"],
            patches_address=ends[f"patches-{spec.index}"],
            acks_address=ends["acks"],
            patch_size=spec.patch_size,
            mask=load_mask(detect.mask) if detect.mask else None,
            dark=load_dark(detect.dark) if detect.dark else None,
        )

    def gpu() -> Any:
        from workers.gpu import GpuWorker
        from workers.livecheck import LiveCheck
        from workers.positions import make_method

        method = make_method(_on_own_device(settings.positions, spec.index), 1)
        size = method.patch_size
        method.place(np.ones((1, size, size), np.float32), np.ones((1, size, size), np.bool_))
        second = check = None
        if method.name == "braggnn":
            fit = make_method(settings.positions.model_copy(update={"method": "gaussian"}), 1)
            fit.place(np.ones((1, 11, 11), np.float32), np.ones((1, 11, 11), np.bool_))
            if fit.patch_size == size:
                second = fit if settings.positions.refit else None
                share = settings.positions.check_share
                check = LiveCheck(fit, share, metrics) if share else None
        return GpuWorker(
            context,
            settings,
            metrics,
            method,
            second=second,
            check=check,
            name=spec.name,
            patches_addresses=[ends[f"patches-{i}"] for i in range(spec.detectors)],
            positions_address=ends[f"positions-{spec.index}"],
            acks_address=ends["acks"],
        )

    def sink() -> Any:
        from streamer.sink import Sink
        from streamer.store import RunFolder

        positions = [ends[f"positions-{i}"] for i in range(spec.gpus)]
        return Sink(
            context,
            settings,
            RunFolder(out),
            metrics,
            addresses=[*positions, ends["frames"]],
            acks_address=ends["acks"],
        )

    return {"ingest": ingest, "detector": detector, "gpu": gpu, "sink": sink}[spec.role]


def _on_own_device(positions: PositionsConfig, index: int) -> PositionsConfig:
    """Give each GPU worker a CUDA device of its own, where there are any."""
    if positions.device != "auto" or positions.method != "braggnn":
        return positions
    import torch

    count = torch.cuda.device_count()
    device = f"cuda:{index % count}" if count else "cpu"
    return positions.model_copy(update={"device": device})


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
