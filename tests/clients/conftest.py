"""Real nodes, as the end-to-end tests start them."""

from tests.e2e.conftest import compiled, new_home, nothing_left_over, shared, start

__all__ = ["compiled", "new_home", "nothing_left_over", "shared", "start"]
