"""The program, run from a checkout."""

from braggstream.__main__ import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
