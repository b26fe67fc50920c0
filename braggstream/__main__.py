"""The program: ``python -m braggstream``, and how it starts itself again."""

import sys
from pathlib import Path

if not __package__:  # started by its path, so that what is found is what lies beside it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

if sys.argv[1:2] == ["node"] and len(sys.argv) == 3:
    from braggstream.node import main  # each of a run's nodes starts so: with nothing else
else:
    from braggstream.command_line import main

if __name__ == "__main__":
    main()
