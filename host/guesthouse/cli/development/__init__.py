"""`guesthouse run --dev`: watches, builds and reloads packages."""
