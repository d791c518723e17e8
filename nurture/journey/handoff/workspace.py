"""A rep's desk: what waits for an answer, what is in hand, what became of the rest; and what a rep may do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from nurture.domain.lead import Custodian, Queue
from nurture.domain.planning.callback import CALL_BACK
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.team import Rep
from nurture.errors import Refused
from nurture.journey.handoff import call_back, follow_up, queries, workspace_queries
from nurture.journey.handoff.brief_emails import by_when
from nurture.journey.handoff.lead_profile import day
from nurture.journey.handoff.workspace_queries import Former, Kept, OpenOffer
from nurture.journey.leads import snapshot
from nurture.journey.leads.snapshot import DueRow
from nurture.journey.tracks import manual
from nurture.journey.tracks.touch_email import full_name
from nurture.runtime.context import House

MOST_ROWS: Final = 200
"""Rows of a desk in all. What does not fit shows when the rest is done."""

MOST_OFFERS: Final = 60
MOST_KEPT: Final = 80
SOON: Final = timedelta(hours=2)
"""An offer whose deadline is nearer than that is urgent."""

BY_DESK: Final = "told on their page"
"""How we know that a rep was in touch."""

BY_REP: Final = "by rep "


@dataclass(frozen=True, slots=True)
class Shown:
    """One lead on the desk, in plain words. *state* is "urgent", "overdue" or ""."""

    lead_id: int
    offer_id: int | None
    name: str
    company: str
    what: str
    until: str = ""
    state: str = ""
    email: str = ""
    useful: bool | None = None
    reached: bool = False
    hot: bool = False
    held: str = ""
    ours: bool = False
    """Whether the pause is a rep's, who may end it."""


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything on a rep's desk, each pile in the order in which it should be looked at."""

    rep: str
    offered: Sequence[Shown]
    in_hand: Sequence[Shown]
    on_tracks: Sequence[Shown]
    elsewhere: Sequence[Shown]

    @property
    def is_full(self) -> bool:
        """Say whether there may be more than is shown."""
        piles = (self.offered, self.in_hand, (*self.on_tracks, *self.elsewhere))
        most = (MOST_OFFERS, MOST_KEPT, MOST_ROWS - MOST_OFFERS - MOST_KEPT)
        return any(len(pile) >= full for pile, full in zip(piles, most, strict=True))


def show(house: House, rep_id: str, now: datetime) -> Desk:
    """Return what lies on the rep's desk at *now*; five statements, however much it is."""
    with house.database.read() as connection:
        policy = house.rulebooks.current(connection).policy
        rep = policy.rep(rep_id) or Rep(rep_id, rep_id, "", 0)
        asked = workspace_queries.open_offers(connection, rep_id, MOST_OFFERS)
        kept = workspace_queries.kept(connection, rep_id, MOST_KEPT)
        former = workspace_queries.former(connection, rep_id, MOST_ROWS - MOST_OFFERS - MOST_KEPT)
    mine = [_former(one, policy, now) for one in former]
    tracked = {one.lead_id for one in former if one.kind == Custodian.TRACK}
    return Desk(
        rep.name,
        [_offered(one, rep, now) for one in asked],
        sorted((_kept(one, rep, now) for one in kept), key=lambda one: one.reached),
        [one for one in mine if one.lead_id in tracked],
        [one for one in mine if one.lead_id not in tracked],
    )


def _offered(one: OpenOffer, rep: Rep, now: datetime) -> Shown:
    left = one.expires_at - now
    state = "overdue" if left <= timedelta() else "urgent" if left <= SOON else ""
    until = by_when(one.expires_at, rep)
    return Shown(one.lead_id, one.offer_id, *_named(one.facts), one.because, until, state, hot=one.hot)


def _kept(one: Kept, rep: Rep, now: datetime) -> Shown:
    late = one.due_at is not None and one.due_at <= now
    return Shown(
        one.lead_id,
        one.offer_id,
        *_named(one.facts),
        f"yours since {day(one.since)}",
        by_when(one.due_at, rep) if one.due_at is not None else "",
        "overdue" if late else "",
        one.email or "",
        one.useful,
        one.followed_up_at is not None,
    )


def _former(one: Former, policy: Policy, now: datetime) -> Shown:
    held = one.paused_until is not None and one.paused_until > now
    return Shown(
        one.lead_id,
        None,
        *_named(one.facts),
        f"{_ended(one, policy)}; {_now(one, policy)}",
        held=day(one.paused_until) if held else "",
        ours=manual.is_pause_of(one.paused_by, BY_REP),
    )


def _named(facts: Mapping[str, object]) -> tuple[str, str]:
    return full_name(facts) or "A lead without a name", str(facts.get("company") or "")


def _ended(one: Former, policy: Policy) -> str:
    when = f" on {day(one.answered_at)}" if one.answered_at is not None else ""
    if one.state == "expired":
        return f"you did not answer in time{when}"
    if one.state == "accepted":
        return f"you accepted it{when}"
    if one.reason == CALL_BACK:
        return f"you were asked to call later{when}"
    reason = policy.reject_reasons.get(one.reason or "")
    return f"you gave it back{when}" + (f" ({reason.label})" if reason is not None else "")


def _now(one: Former, policy: Policy) -> str:
    """Say where the lead is now, without a word of another rep's doing."""
    match Custodian(one.kind):
        case Custodian.TRACK:
            calls = f", to be called on {day(one.call_on)}" if one.call_on is not None else ""
            return f"now on the track {one.ref}{calls}"
        case Custodian.REP:
            other = policy.rep(one.ref)
            return f"now with {other.name if other is not None else one.ref}"
        case Custodian.OFFER:
            return "now offered again"
        case Custodian.QUEUE if one.ref == Queue.HAND_OFF:
            return "ready again, and waits for a rep with room"
        case Custodian.CLOSED:
            return f"closed as {one.ref}"
        case _:
            return "somebody looks at it"


def reached(house: House, lead_id: int, rep_id: str, now: datetime) -> None:
    """Note that the rep was in touch with a lead of theirs. Raises Refused for a lead of somebody else."""
    with house.database.read() as connection:
        rows = snapshot.these(house.database, connection, [lead_id], lock=False)
    if not rows or (rows[0].kind, rows[0].ref) != (Custodian.REP, rep_id):
        raise Refused(f"Lead {lead_id} is not in {rep_id}'s hands.")
    follow_up.followed_up(house, lead_id, BY_DESK, now)


def vote(house: House, offer_id: int, rep_id: str, now: datetime, *, useful: bool) -> None:
    """Note whether a lead that the rep accepted was useful; the last word counts. Raises Refused."""
    with house.database.write() as connection:
        one = queries.find(house.database, connection, [offer_id]).get(offer_id)
        if one is None or (one.rep, one.state) != (rep_id, "accepted"):
            raise Refused(f"Hand-off {offer_id} was not accepted by {rep_id}.")
        workspace_queries.cast(house.database, connection, offer_id, rep_id, now, useful=useful)


def hold(house: House, lead_id: int, rep_id: str, until: datetime, now: datetime) -> datetime:
    """Send the lead nothing until *until*, or longer if others asked for that; return until when."""
    _former_lead(house, lead_id, rep_id)
    return manual.pause(house, lead_id, until, now, by=f"{BY_REP}{rep_id}", only=BY_REP) or until


def go_on(house: House, lead_id: int, rep_id: str, now: datetime) -> None:
    """End a pause that a rep asked for. Refused for one that the lead or an operator asked for."""
    _former_lead(house, lead_id, rep_id)
    manual.pause(house, lead_id, None, now, by=f"{BY_REP}{rep_id}", only=BY_REP)


def hurry(house: House, lead_id: int, rep_id: str, now: datetime) -> bool:
    """Let the next email of the lead's track come as soon as its window and caps allow."""
    _former_lead(house, lead_id, rep_id)
    return manual.hurry(house, lead_id, now, by=f"{BY_REP}{rep_id}")


def pull(house: House, lead_id: int, rep_id: str, now: datetime) -> int:
    """Offer the lead to the rep now; return the offer's id."""
    _former_lead(house, lead_id, rep_id)
    return call_back.pull(house, lead_id, rep_id, now)


def _former_lead(house: House, lead_id: int, rep_id: str) -> DueRow:
    """Return the lead as it stands. Raises Refused if it is on no track, or never was the rep's."""
    with house.database.read() as connection:
        if not workspace_queries.had(connection, rep_id, lead_id):
            raise Refused(f"Lead {lead_id} never was {rep_id}'s.")
        rows = snapshot.these(house.database, connection, [lead_id], lock=False)
    if not rows or rows[0].kind != Custodian.TRACK:
        raise Refused(f"Lead {lead_id} is on no track any more.")
    return rows[0]
