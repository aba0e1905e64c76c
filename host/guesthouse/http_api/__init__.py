"""The node's API for services: keys, operations, and a listener that serves them over HTTP."""
