"""The last node: orders results, commits them, acknowledges, publishes."""
