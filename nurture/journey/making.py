"""Make an offer: the row, what is sent of it, custody, and when its ladder begins."""

from __future__ import annotations

from typing import NamedTuple

from nurture.domain.lead import Custodian
from nurture.domain.sla import Step
from nurture.domain.team import Rep
from nurture.store.changes import Offered
from nurture.store.views import Claimed, Holidays

from .announcing import announced
from .ladders import told, until_answered
from .moves import Mover


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
