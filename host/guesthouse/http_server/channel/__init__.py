"""A channel as its process and the server see it, whichever socket carries it."""
