"""What a plugin can be, how it is found, and how its code is called."""
