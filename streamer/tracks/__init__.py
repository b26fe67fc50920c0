"""Peaks that belong to one spot, and how it drifts."""
