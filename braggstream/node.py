"""A node of a run, without what reads the words of a user."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

from streamer.errors import RunError, UserError

__all__ = ["be_node", "main"]


def be_node(spec: Path) -> None:
    """Be the node whose spec lies in a file, until the run or the launcher ends."""
    gc.disable()  # while it is built: modules are no garbage
    from streamer.run.topology import NodeSpec
    from workers.nodes import run_node

    run_node(NodeSpec.read(spec))


def main() -> None:
    """Be the node that the launcher asks for: ``node SPEC.json``."""
    try:
        be_node(Path(sys.argv[2]))
    except (UserError, RunError) as error:
        print(f"error: {error}".replace("\n", " "), file=sys.stderr)  # noqa: T201
        sys.exit(2 if isinstance(error, UserError) else 1)
    except KeyboardInterrupt:
        sys.exit(130)
