"""Make an offer: the row, what is sent of it, custody, and when its ladder begins."""

from __future__ import annotations

from typing import NamedTuple

from nurture.domain.lead import Custodian
from nurture.domain.planning.calendar import Holidays
from nurture.domain.policy.business_hours import Step
from nurture.domain.policy.team import Rep
from nurture.journey.handoff.announcements import announced
from nurture.journey.handoff.escalation import told, until_answered
from nurture.journey.leads.changeset import Offered
from nurture.journey.leads.snapshot import Claimed
from nurture.journey.leads.transitions import Mover


class Why(NamedTuple):
    """Why a lead is offered, why to this rep, how urgent it is, and the how-manieth rep this is."""

    rule: str
    because: str
    routed_because: str
    round: int = 1
    urgency: float = 0.0
    hot: bool = False


def offer_to(mover: Mover, holidays: Holidays, lead: Claimed, rep: Rep, number: int, why: Why) -> None:
    """Offer *lead* to *rep* as hand-off *number*, whose id was reserved."""
    policy, now, stay = mover.book.policy, mover.now, lead.view.enrollment
    ladder = until_answered(policy, holidays, rep.id, now)
    until = next(rung.at for rung in ladder if rung.step is Step.TAKE_BACK)
    offered = Offered(
        number,
        lead.view.lead.id,
        stay.id if stay is not None else None,
        rep.id,
        why.rule,
        why.because,
        why.routed_because,
        policy.version,
        "offered",
        now,
        until,
        why.round,
        why.urgency,
        why.hot,
    )
    mover.changes.offered.append(offered)
    mover.changes.intended += announced(offered, rep, now)
    action = f"{rep.id} answers; else {told(policy, rep.id, ladder[0])}"
    moved = mover.keep(lead, Custodian.OFFER, str(number), action, ladder[0].at)
    mover.note(lead, "offered", f"{why.because}; {why.routed_because}", moved, ref=str(number))
