"""Plugins that ship with the core, registered by entry points like any other."""
