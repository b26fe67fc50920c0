"""Everything that computes: decoding frames, finding peaks, placing them."""
