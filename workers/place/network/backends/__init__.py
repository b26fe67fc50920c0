"""What computes a network's answers, and on which device: one module for each way.

All backends give the answers of the same float32 network to 0.005 px.
"""
