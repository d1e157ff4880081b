"""Send what waits, delete what nobody needs, and say what is wrong."""
