"""A backend in a process of its own, and how long a call may take."""
