"""What each node of the topology is made of."""

from __future__ import annotations

import gc
import importlib
import logging
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from streamer.config import Config, PositionsConfig, load_config
from streamer.imports import hidden
from streamer.run.inputs import CHECKPOINT, kept_file, kept_image
from streamer.run.topology import NodeSpec
from streamer.transport.context import RunContext, run_context
from streamer.transport.directory import Directory
from streamer.transport.exposure import served_at
from streamer.transport.lease import Lease
from streamer.transport.limits import allow_connections
from streamer.transport.metrics import Metrics
from streamer.transport.node import Node
from streamer.transport.readers import PublishKeys, publish_keys
from streamer.transport.token import needs_token, own_token, token_path
from workers.place.network.sight import cuda_in_sight

__all__ = ["run_node"]

logger = logging.getLogger(__name__)

_PUBLISHED = ("peaks", "frames")


def run_node(spec: NodeSpec) -> None:
    """Be a node of a run until the run or the launcher ends.

    Raises
    ------
    UserError
        What the configuration names cannot be used.
    """
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    settings = load_config(Path(spec.out) / "config.yaml")
    metrics, host = Metrics(), served_at(settings.metrics.host, spec.host)
    at = {name: served_at(getattr(settings.publish, name), spec.host) for name in _PUBLISHED}
    publish = settings.publish.model_copy(update=at)
    settings = settings.model_copy(update={"publish": publish})
    needs = needs_token(host, settings)
    token = own_token(token_path(settings, Path(spec.out))) if needs else None
    allow_connections()
    with _context(spec, settings) as context:
        build = _role(spec, settings, context, metrics)
        runner = Node(
            spec.name,
            context,
            lambda: _settled(build if spec.role == "ingest" else _noticed(build, runner.say)),
            metrics,
            status_address=spec.endpoints["status"],
            metrics_port=metrics.serve(host, spec.metrics_port, token),
            parent=spec.launcher or None,
            incarnation=spec.incarnation,
            host=spec.host,
            lease=Lease(Path(spec.lease)) if spec.lease else None,
        )
        runner.run()


def _settled(build: Callable[[], Any]) -> Any:
    """Build the role of a node, and look for garbage only in what is made after that.

    To go through all modules stops a node for tens of milliseconds, again and again.
    """
    role = build()
    gc.freeze()
    gc.enable()
    return role


def _leave_algebra_out() -> None:
    """Have numba know no linear algebra in this process: our kernels have none.

    It imports all of SciPy's to see whether it is there, before it loads the first kernel.
    """
    with hidden("scipy.linalg"):
        importlib.import_module("numba.np.arraymath")


def _noticed(build: Callable[[], Any], say: Callable[[str], None]) -> Callable[[], Any]:
    """Return what builds the role of a node that computes, and says so where that takes long."""

    def build_noticed() -> Any:
        from workers.kernels import noticed

        _leave_algebra_out()
        with noticed(say):
            return build()

    return build_noticed


def _context(spec: NodeSpec, settings: Config) -> AbstractContextManager[RunContext]:
    """Return the context of a node, which knows readers where it is one that publishes."""
    directory = None
    if spec.directory:
        directory = Directory(Path(spec.directory), spec.host or "127.0.0.1")
    folder = publish_keys(settings, Path(spec.out)) if spec.role in ("ingest", "sink") else None
    if folder is None:
        return run_context(spec.keys, insecure=settings.insecure, directory=directory)
    keys = PublishKeys(folder)
    return run_context(
        spec.keys, published=keys.pair, is_reader=keys.is_reader, directory=directory
    )


def _role(
    spec: NodeSpec,
    settings: Config,
    context: RunContext,
    metrics: Metrics,
) -> Callable[[], Any]:
    """Return what builds the role of a node; only it imports what that role needs."""
    ends, out = spec.endpoints, Path(spec.out)

    def ingest() -> Any:
        from streamer.ingest.node import Ingest
        from streamer.ingest.recorder import Recorder
        from streamer.ingest.relay import Relay
        from streamer.ingest.state import StateFile
        from streamer.ingest.taps import Tap, TeeSource
        from streamer.sources import open_source
        from streamer.sources.base import Source
        from streamer.sources.exhausted import Exhausted
        from workers.detect.choice import FINDERS

        detect = settings.detect
        left = StateFile(out).take() if spec.incarnation else None
        source: Source
        if left is not None and left.exhausted:
            source = Exhausted(spec.source)
        else:
            source = open_source(spec.source, settings.source)
        taps: list[Tap] = []
        info = {}
        if settings.source.record is not None and not isinstance(source, Exhausted):
            taps.append(Recorder(settings.source.record))
        if settings.publish.frames:
            taps.append(relay := Relay(context, settings.publish.frames))
            info["relay"] = relay.address
        return Ingest(
            context,
            settings,
            TeeSource(source, taps),
            metrics,
            info=info,
            frames_address=ends["frames"],
            acks_address=ends["acks"],
            out=out,
            incarnation=spec.incarnation,
            detectors=spec.detectors,
            slow=FINDERS.configure(detect.finder, detect.finders).slow,
        )

    def detector() -> Any:
        from streamer.sources.images import load_dark, load_mask
        from workers.compile_lock import compile_once
        from workers.detect.choice import finder_of
        from workers.detect.node import DetectorWorker
        from workers.kernels import compile_finder

        detect = settings.detect
        finder, reader = finder_of(detect), None
        if detect.device == "cuda":
            from workers.detect.device.making import make_device_reader

            reader = make_device_reader(spec.index)
        # What is compiled on first use is compiled before frames come, not while they wait.
        compile_once(lambda: compile_finder(detect, spec.patch_size))
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
            mask=kept_image(out, "mask", detect.mask, load_mask) if detect.mask else None,
            dark=kept_image(out, "dark", detect.dark, load_dark) if detect.dark else None,
            reader=reader,
        )

    def gpu() -> Any:
        from workers.compile_lock import compile_once
        from workers.kernels import compile_fit
        from workers.place.base import PATCH_SIZE
        from workers.place.fit.methods import GaussianFit, Noise, PseudoVoigtFit
        from workers.place.live_check import LiveCheck
        from workers.place.methods import METHODS, make_method
        from workers.place.node import GpuWorker

        positions = settings.positions
        is_network = METHODS.configure(positions.method, positions.methods).is_network
        if is_network:
            positions = _on_own_device(positions, spec.index if spec.slot is None else spec.slot)
        if positions.checkpoint is not None:
            checkpoint = kept_file(out, CHECKPOINT, positions.checkpoint)
            positions = positions.model_copy(update={"checkpoint": checkpoint})
        method = make_method(positions, 1)
        size = method.patch_size
        patch = np.ones((1, size, size), np.float32)
        compile_once(lambda: method.place(patch, patch > 0))
        second = check = None
        info: dict[str, str] = {}
        share = positions.check_share
        if is_network and (positions.refit or share):
            if size < PATCH_SIZE:
                info["fits"] = f"off: patches of {size} x {size} pixels are too small for fits"
                logger.warning(
                    "positions.refit and positions.check_share are off: in patches of %d x %d "
                    "pixels fits do not know how good they are, from %d on they do",
                    size,
                    size,
                    PATCH_SIZE,
                )
            else:
                noise = Noise(positions.gain, positions.read_noise)
                # Beside another spot the tails decide, which a Gaussian has not.
                second = PseudoVoigtFit(noise, size) if positions.refit else None
                check = LiveCheck(GaussianFit(noise, size), share, metrics) if share else None
                compile_once(compile_fit)
        return GpuWorker(
            context,
            settings,
            metrics,
            method,
            second=second,
            check=check,
            info=info,
            name=spec.name,
            patches_addresses=[ends[f"patches-{i}"] for i in range(spec.detectors)],
            positions_address=ends[f"positions-{spec.index}"],
            acks_address=ends["acks"],
        )

    def sink() -> Any:
        from streamer.results.arrow import leave_pandas_out
        from streamer.results.folder import RunFolder
        from streamer.sink.node import Sink
        from streamer.tracks.kernels import compile_tracks
        from workers.compile_lock import compile_once

        leave_pandas_out()
        compile_once(compile_tracks)
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
    if positions.device != "auto" or positions.backend == "openvino" or not cuda_in_sight():
        return positions
    import torch

    count = torch.cuda.device_count()
    device = f"cuda:{index % count}" if count else "cpu"
    return positions.model_copy(update={"device": device})
