"""From a patch to the position of its peak."""
