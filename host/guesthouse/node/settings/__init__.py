"""What settings can be, and where they come from."""
