"""A network from a command: trained from nothing, or retrained on a recording's peaks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from streamer.config import load_config

__all__ = ["learn"]


def learn(
    origin: str | None,
    out: Path,
    console: Console,
    file: Path | None,
    overrides: list[str],
    options: Mapping[str, object],
) -> None:
    """Write the weights of a network.

    Parameters
    ----------
    origin
        Recording or run folder whose peaks are learnt from; None learns from simulated ones.
    out
        File of the weights.
    console
        Where progress is shown.
    file, overrides, options
        Configuration as for `load_config`; without a file, that of the run which `origin` names.

    Raises
    ------
    UserError
        Something that the user gave does not fit.
    """
    # torch takes seconds to import: a mistake in the configuration is told before.
    if origin is None:
        config = load_config(file, overrides, options)
        from workers.learn.training import train

        train(config.train, out, console)
    else:
        from workers.learn.retraining import recording_of, retrain

        recording, of_run = recording_of(origin)
        retrain(load_config(file or of_run, overrides, options), recording, out, console)
