"""Backups of a home, and what is restored of them."""
