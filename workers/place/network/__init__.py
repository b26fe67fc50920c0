"""Positions by BraggNN: architecture, checkpoints, inputs."""
