"""Content-addressed blobs, and the base classes of backends that are bags of blobs."""
