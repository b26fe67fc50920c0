"""Sources of frames: one module for each protocol or file format."""
