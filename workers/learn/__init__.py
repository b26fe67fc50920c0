"""Training and retraining of networks."""
