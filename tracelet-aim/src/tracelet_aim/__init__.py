"""Aim for Tracelet: planned, with no plugin yet."""
