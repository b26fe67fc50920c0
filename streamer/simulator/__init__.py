"""A detector that does not exist: a charge cycle with known truth, sent as a real stream."""
