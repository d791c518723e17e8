"""Define the result of evaluating a condition."""

from datetime import datetime
from typing import NamedTuple


class ConditionResult(NamedTuple):
    """Whether the condition holds, why, and the next time at which this may change by itself."""

    met: bool
    reason: str
    changes_at: datetime | None = None
