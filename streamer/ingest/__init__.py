"""The first node: takes frames from a source and keeps each until its result is on disk."""
