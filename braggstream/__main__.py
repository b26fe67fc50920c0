"""The program: ``python -m braggstream``, and how it starts itself again."""

import signal
import sys
from pathlib import Path

if not __package__:  # started by its path, so that what is found is what lies beside it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

__all__ = ["main"]


def main() -> None:
    """Run the command line; Ctrl-C before it is there ends the program without a word."""
    is_usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_usual:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.argv[1:2] == ["node"] and len(sys.argv) == 3:
        from braggstream.node import main as run  # each of a run's nodes: with nothing else
    else:
        from braggstream.command_line import main as run
    if is_usual:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
