"""The commands that a node accepts on its control socket."""
