"""Figures and comparisons made from a run folder."""
