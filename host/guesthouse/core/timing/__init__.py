"""Time: what guests see of it."""
