"""What holds for all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# How fast an example is says how busy the machine is, and is nothing that a test is about.
settings.register_profile("guesthouse", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("guesthouse")
