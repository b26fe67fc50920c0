"""The run folder: its tables, and how they are read back."""
