"""ClearML for Tracelet: planned, with no plugin yet."""
