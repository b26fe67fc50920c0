"""One run from a command: what is checked before it, what stands beside it, what follows it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape

from streamer.config import Config
from streamer.errors import RunError, UserError
from streamer.frames.geometry import Geometry
from streamer.ingest.recorder import check_path
from streamer.run.companion import companion
from streamer.run.console import print_summary, view_for
from streamer.run.engine import check_placement
from streamer.run.execute import execute
from streamer.run.inputs import as_kept
from streamer.run.private import private_files
from streamer.run.resume import Earlier, refuse_unfinished, take_up
from streamer.run.sidecar import listen, sidecar, token_of
from streamer.run.topology import cuda_devices
from streamer.sources import check_reachable, open_source
from streamer.sources.images import load_dark, load_mask
from streamer.transport.exposure import refuse_exposed
from streamer.transport.readers import PublishKeys
from streamer.transport.token import CONTROL_FILE, own_token

__all__ = ["Compute", "Session"]

logger = logging.getLogger(__name__)


class Compute(Protocol):
    """Those who compute, as far as a run has to know of them before it starts any."""

    def patch_size(self, config: Config) -> int:
        """Check finder and position method; return the pixels along each axis of a patch.

        Raises
        ------
        UserError
            There is no such finder or method, or it cannot be used here: its parameters, its
            checkpoint, its device or its backend.
        """
        ...


@dataclass(frozen=True, slots=True)
class Session:
    """Runs sources, with all that a command has around a run."""

    compute: Compute
    command: Callable[[list[str]], list[str]]
    """Returns the command line that runs this program with other words."""
    report: Callable[[Path], Path]
    """Writes the report of the run in a folder and returns where it is."""
    console: Console

    def replay(self, config: Config, path: str, out: Path, *, resume: bool = False) -> None:
        """Process a recording, or go on with it; see `run`."""
        earlier = self._earlier(config, path, out) if resume else None
        if resume and earlier is None:
            return
        config = earlier.config if earlier is not None else config
        source = open_source(path, config.source)
        expected = source.n_frames
        source.close()
        self.run(config, path, out, expected=expected, earlier=earlier)

    def attach(self, config: Config, uri: str, out: Path, *, resume: bool = False) -> None:
        """Process a live stream, or go on with it; see `run`."""
        earlier = self._earlier(config, uri, out) if resume else None
        if resume and earlier is None:
            return
        config = earlier.config if earlier is not None else config
        if config.source.record is not None and earlier is None:
            check_path(config.source.record)
        check_reachable(uri, config.source)
        self.run(config, uri, out, earlier=earlier)

    def run(
        self,
        config: Config,
        source: str,
        out: Path,
        *,
        expected: int | None = None,
        earlier: Earlier | None = None,
        at_work: Callable[[], None] | None = None,
    ) -> None:
        """Process a source, with a dashboard beside it; print the summary and write the report.

        Parameters
        ----------
        source
            URI or path, found to be there.
        out
            Run folder, made by the run.
        expected
            Number of frames, if known.
        earlier
            What is known of the run if it is gone on with.
        at_work
            See `execute`.

        Raises
        ------
        UserError
            Something that the user gave does not fit; nothing was left behind.
        RunError
            The run failed, or frames of it have no result.
        """
        if earlier is None:
            refuse_unfinished(out, source)
        patch_size = self._checked(config if earlier is None else as_kept(config, out))
        is_ours = earlier is not None
        with self.page(config, out, is_ours=is_ours), self._pvs(config, out, is_ours=is_ours):
            summary = execute(
                config,
                source,
                out,
                lambda spec: self.command(["node", str(spec)]),
                view_for(self.console),
                expected=expected,
                patch_size=patch_size,
                cuda_devices=cuda_devices(),
                earlier=earlier,
                tell=partial(self.console.print, highlight=False, soft_wrap=True, markup=False),
                at_work=at_work,
            )
        try:
            print_summary(self.console, summary)
        except BrokenPipeError:
            raise
        except OSError as error:  # it is all in run.json
            logger.warning("the summary cannot be printed: %s", error.strerror)
        if config.report.auto and summary["frames"]["total"]:
            with private_files(config):
                self._report(out)
        _raise_for_lost(summary["frames"], out)

    def page(
        self,
        config: Config,
        out: Path,
        *,
        is_ours: bool = False,
        lasting: bool = False,
        announced: Callable[[str], None] = lambda url: None,
    ) -> AbstractContextManager[None]:
        """Have a dashboard beside a run, if one is wanted and the folder is not another run's.

        Parameters
        ----------
        out
            Run folder.
        is_ours
            What is in the folder belongs to the run.
        lasting
            See `sidecar`.
        announced
            Called with the address when it was printed.
        """
        page = config.dashboard
        if not page.port or ((out / "run.json").exists() and not is_ours):
            return nullcontext()
        words = ["dashboard", str(out), "--parent", str(os.getpid())]
        words += ["--lasting"] if lasting else []
        listener = listen(page.host, page.port)

        def announce(url: str) -> None:
            token = token_of(listener, config, out)
            where = url if token is None else f"{url}?token={token}"
            self.console.print(f"dashboard {where}", highlight=False, soft_wrap=True)
            if config.dashboard.control:
                key = own_token(out / CONTROL_FILE)
                text = f"thresholds can be changed at {where}#control={key}"
                self.console.print(text, highlight=False, soft_wrap=True)
            announced(where)

        def command(number: int) -> list[str]:
            return self.command([*words, "--listener", str(number)])

        return sidecar(listener, out, command, announce, lasting=lasting)

    def _checked(self, config: Config) -> int:
        """Read what the nodes will read, so that a mistake shows before anything is started.

        Returns
        -------
        patch_size
            See `Compute.patch_size`.
        """
        check_placement(config)
        self._check_published(config)
        Geometry.from_config(config.geometry)
        if config.detect.mask is not None:
            load_mask(config.detect.mask)
        if config.detect.dark is not None:
            load_dark(config.detect.dark)
        return self.compute.patch_size(config)

    def _check_published(self, config: Config) -> None:
        if config.publish.pva.prefix and find_spec("p4p") is None:
            raise UserError(
                "publish.pva needs the package p4p: pip install 'braggstream[pva]', or leave "
                "publish.pva.prefix empty"
            )
        if config.publish.keys is not None:
            PublishKeys(config.publish.keys)
        elif not config.insecure and not config.spans_hosts:
            for address in filter(None, (config.publish.peaks, config.publish.frames)):
                refuse_exposed(address)

    def _earlier(self, config: Config, source: str, out: Path) -> Earlier | None:
        """Return what is known of a run that is to go on; None, and say so, if it has ended."""
        earlier = take_up(out, source, config)
        if earlier is None:
            self.console.print(
                f"nothing to resume: the run in {out} is done", highlight=False, soft_wrap=True
            )
        return earlier

    def _pvs(self, config: Config, out: Path, *, is_ours: bool) -> AbstractContextManager[None]:
        """Have the run's process variables served, if they are wanted; see `page`."""
        if not config.publish.pva.prefix or ((out / "run.json").exists() and not is_ours):
            return nullcontext()
        return companion("pvs", out, self.command(["pvs", str(out), "--parent", str(os.getpid())]))

    def _report(self, out: Path) -> None:
        """Have the report written; whatever goes wrong, the run has not failed."""
        try:
            with self.console.status("drawing the report (Ctrl-C leaves it out)"):
                page = self.report(out)
            self.console.print(f"report {page}", highlight=False, soft_wrap=True)
        except (Exception, KeyboardInterrupt) as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            logger.debug("no report", exc_info=True)
            self.console.print(
                f"[yellow]no report: {escape(reason)}[/yellow]; launch.py report {out} tries again",
                highlight=False,
                soft_wrap=True,
            )


def _raise_for_lost(frames: dict[str, Any], out: Path) -> None:
    lost = {state: frames[state] for state in ("failed", "missing") if frames[state]}
    if lost:
        words = ", ".join(f"{count:,} {state}" for state, count in lost.items())
        raise RunError(f"{words} of {frames['total']:,} frames: reasons in {out / 'frames'}")
