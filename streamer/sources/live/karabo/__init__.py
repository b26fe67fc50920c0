"""Streams of a Karabo bridge."""
