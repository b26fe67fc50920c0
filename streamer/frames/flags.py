"""What is to be known of a peak beside its position: bits of the column ``flags``."""

from __future__ import annotations

__all__ = ["EDGE", "MASKED", "NEIGHBOUR", "POOR_FIT", "SATURATED", "UNTRUSTED"]

EDGE = 1
"""The patch leaves the frame."""
MASKED = 2
"""Masked pixels in the patch."""
NEIGHBOUR = 4
"""Another peak in the patch."""
SATURATED = 8
"""Saturated pixels in the patch."""
POOR_FIT = 16
"""The patch does not look like one peak: a hot pixel, or the brightest part is elsewhere."""
UNTRUSTED = 32
"""The position is out of the range in which it can be trusted."""
