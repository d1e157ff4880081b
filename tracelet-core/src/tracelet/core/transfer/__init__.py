"""Copy what is stored to another backend, and import what was logged without Tracelet."""
