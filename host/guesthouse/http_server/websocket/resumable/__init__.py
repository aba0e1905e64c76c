"""Resumable channels on their sockets: what `sessions` decides, carried out."""
