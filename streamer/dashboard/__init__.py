"""The live page: one more subscriber, which no run waits for."""
