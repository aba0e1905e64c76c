"""Opening files by paths that others chose."""
