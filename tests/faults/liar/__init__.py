"""A worker between a node and a real worker, which lies when it is told to."""
