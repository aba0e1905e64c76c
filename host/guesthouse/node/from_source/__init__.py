"""Apps that run from their sources, under `guesthouse run --dev`."""
