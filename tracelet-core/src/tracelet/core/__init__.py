"""The rooms of the core; each imports only the ones below it."""
