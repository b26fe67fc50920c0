"""Peaks of coded frames, found on a CUDA device as far as that is worth it; experimental."""
