"""What every test runs under: hypothesis draws the same examples each time, and no test is failed by a slow machine."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
# to look for more, by hand: make test ARGS="--hypothesis-profile=explore tests/protocol"
settings.register_profile("explore", settings.get_profile("ci"), derandomize=False, max_examples=5000)
settings.load_profile("ci")
