"""What the battery cell does beside the frames: voltage, current, capacity, half-cycles."""
