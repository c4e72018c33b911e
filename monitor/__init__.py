"""Compares what was answered with what the model learnt from."""
