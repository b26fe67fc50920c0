"""DECTRIS streams of version 1 and 2."""
