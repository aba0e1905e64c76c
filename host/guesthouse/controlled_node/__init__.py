"""A node for tests, whose clock stands still and is moved by them. `guesthouse run` has nothing of it."""
