"""Sizes of hypothesis runs, and draws that several files share."""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("CARSFG_EXAMPLES", "25"))  # per property; more are drawn on request
few = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)
sides = st.integers(1, 40)
