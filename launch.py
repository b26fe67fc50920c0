"""The program, run from a checkout."""

from braggstream.command_line import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
