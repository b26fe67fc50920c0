"""Position methods beside each other, on peaks with known truth and on recordings."""
