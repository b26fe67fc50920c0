"""Fits of peak shapes by maximum likelihood."""
