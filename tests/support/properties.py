"""How often a property is tried: a pure function often, a running gateway less often."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("pure", max_examples=200, deadline=None, derandomize=True, database=None)
settings.register_profile("http", max_examples=60, deadline=None, derandomize=True, database=None)
pure = settings.get_profile("pure")
over_http = settings.get_profile("http")
