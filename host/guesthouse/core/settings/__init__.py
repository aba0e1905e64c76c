"""Values of settings."""
