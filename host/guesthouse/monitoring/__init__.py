"""What a node says of itself to monitoring: health, readiness and metrics, on a listener of its own."""
