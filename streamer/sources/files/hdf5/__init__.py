"""HDF5 recordings: layouts, chunks, NeXus metadata."""
