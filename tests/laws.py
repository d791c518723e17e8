"""How many examples a law is tried on: few in the suite, more where `LAW_EXAMPLES` says so."""

from __future__ import annotations

import os

from hypothesis import settings


def law_settings(examples: int) -> settings:
    """Return the settings of a law with *examples* examples, or as many as the environment asks for."""
    return settings(max_examples=int(os.environ.get("LAW_EXAMPLES") or examples), deadline=None)
