"""PyTorch Lightning for Tracelet: planned, with no plugin yet."""
