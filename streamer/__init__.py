"""Everything that moves detector frames, peaks and positions between processes and to disk."""
