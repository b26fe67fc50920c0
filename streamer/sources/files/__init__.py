"""Recordings: one module for each file format."""
