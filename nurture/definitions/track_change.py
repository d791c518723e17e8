"""What a new version of a track changes for the leads that are on it."""

from __future__ import annotations

from nurture.domain.planning.program import Program


def removed_steps(old: Program, new: Program) -> list[str]:
    """List the steps of *old* that *new* neither has nor moves: leads that stand there would be lost."""
    return [step for step in old.index if new.index_of(step) is None]
