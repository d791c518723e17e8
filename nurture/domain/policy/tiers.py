"""Define tiers of speed: how soon which hand-offs are answered and followed up."""

from dataclasses import dataclass
from datetime import timedelta

from nurture.domain.policy.business_hours import SlaPolicy


@dataclass(frozen=True, slots=True)
class Tier:
    """The speed of the hand-offs of some *rules*, of some *fit* letters, or of hot ones only.

    A hand-off is of the first tier of which it meets all conditions. *owner_wait* is how long its lead waits at most
    for the capacity of the one rep that a routing rule names, None for as long as the rule says.
    """

    name: str
    sla: SlaPolicy
    rules: frozenset[str] = frozenset()
    fit: frozenset[str] = frozenset()
    hot_only: bool = False
    owner_wait: timedelta | None = None

    def takes(self, rule: str, fit: str, *, hot: bool) -> bool:
        """Return whether a hand-off by *rule* of a lead with this fit letter is of this tier."""
        return (
            (not self.rules or rule in self.rules) and (not self.fit or fit in self.fit) and (hot or not self.hot_only)
        )
