"""One run: its processes, what they do meanwhile, how it ended."""
