"""Channels of clients at one node to processes of another."""
