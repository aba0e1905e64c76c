"""The dashboard: a page for browsers, and one WebSocket by which it asks the node."""
