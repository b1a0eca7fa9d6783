"""Settings for every test: hypothesis profiles, and the repository root on the path so that `tests.fakes` imports."""

import asyncio
import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# `ci` bounds the time of the whole suite; `nightly` looks for what `ci` is too short to find.
settings.register_profile("ci", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("nightly", max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# On Python 3.11 pytest-asyncio looks for the current loop before its first test, which would create one that nobody
# closes; the warning about it would then fail whichever test runs at that moment.
asyncio.set_event_loop(None)
