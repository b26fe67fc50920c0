"""Live streams: one module or package for each protocol."""
