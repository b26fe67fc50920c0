"""From a coded frame to its peaks and their patches."""
