"""Find stored versions, fetch and verify their bytes, load objects and models."""
