"""What each stage does about leads that are erased; `nurture.app` registers it."""

from collections.abc import Sequence
from typing import Final

from nurture.journey.handoff import follow_up
from nurture.runtime.context import Erasure

ERASURES: Final[Sequence[Erasure]] = (follow_up.erase_leads,)
