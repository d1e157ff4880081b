"""From a builder to a sealed artifact: choose the backends, write objects and models as files, hash."""
