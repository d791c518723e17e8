"""The ladder of one offer: what is due when its rep does not answer, or does not follow up."""

from __future__ import annotations

from datetime import datetime

from nurture.domain.planning.calendar import Holidays
from nurture.domain.policy.business_hours import Ladder, Rung, Step, rungs
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.team import Hours
from nurture.journey.handoff.queries import OfferRow
from nurture.journey.routing.capacity import working


def until_answered(policy: Policy, holidays: Holidays, rep: str, offered_at: datetime) -> tuple[Rung, ...]:
    """Return what is due while an offer waits for its rep's answer; taking back is the last."""
    return _rungs(policy, policy.agreement.accept, holidays, rep, offered_at)


def until_followed_up(policy: Policy, holidays: Holidays, one: OfferRow) -> tuple[Rung, ...]:
    """Return what is due while an accepted lead waits to be called; nothing once it was."""
    if one.followed_up_at is not None or one.answered_at is None:
        return ()
    return _rungs(policy, policy.agreement.follow_up, holidays, one.rep, one.answered_at)


def _rungs(
    policy: Policy, ladder: Ladder, holidays: Holidays, rep_id: str, since: datetime
) -> tuple[Rung, ...]:
    rep = policy.rep(rep_id)
    hours: Hours = rep.hours if rep is not None else policy.desk.hours
    return rungs(ladder, working(hours, holidays, since), since)


def promised(ladder: tuple[Rung, ...], expires_at: datetime) -> tuple[Rung, ...]:
    """Return the ladder with the end that was promised to the rep, whatever the policy says by now."""
    kept = tuple(rung for rung in ladder if rung.step is not Step.TAKE_BACK and rung.at < expires_at)
    return (*kept, Rung(Step.TAKE_BACK, expires_at))


def told(policy: Policy, rep_id: str, rung: Rung) -> str:
    """Say what will be done, and when."""
    when = f"{rung.at:%Y-%m-%d %H:%M} UTC"
    match rung.step:
        case Step.REMIND:
            return f"{rep_id} is reminded at {when}"
        case Step.ESCALATE:
            rep = policy.rep(rep_id)
            manager = policy.team.manager_of(rep) if rep is not None else None
            return f"{manager.id if manager is not None else 'nobody'} is told at {when}"
        case Step.TAKE_BACK:
            return f"it is taken back at {when}"
