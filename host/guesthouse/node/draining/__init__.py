"""Draining a node: of its clients, while it runs, and of what was begun, before it ends."""
