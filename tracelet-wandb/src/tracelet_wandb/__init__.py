"""Weights & Biases for Tracelet: planned, with no plugin yet."""
