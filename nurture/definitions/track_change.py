"""Compare two versions of a track."""

from __future__ import annotations

from nurture.domain.planning.program import Program


def removed_steps(old: Program, new: Program) -> list[str]:
    """Return the steps of *old* that *new* neither has nor moves: leads on them would be lost."""
    return [step for step in old.index if new.index_of(step) is None]
