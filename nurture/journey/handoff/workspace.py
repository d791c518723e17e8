"""Load a rep's workspace (offers, accepted and former leads), and do what a rep may do there."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from nurture.db.engine import Database
from nurture.domain.lead import Custodian, PausedBy, Queue, name_in_list
from nurture.domain.planning.callback import CALLBACK_RULE
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.team import Rep
from nurture.errors import InvalidState
from nurture.journey.handoff import call_back, follow_up, queries, workspace_queries
from nurture.journey.handoff.lead_profile import describe_lapse, format_day
from nurture.journey.handoff.rep_emails import format_deadline
from nurture.journey.handoff.why_now import rule_label
from nurture.journey.handoff.workspace_queries import AcceptedLead, FormerLead, OpenOffer
from nurture.journey.leads import snapshot
from nurture.journey.leads.snapshot import SnapshotRow
from nurture.journey.tracks import manual
from nurture.runtime.context import AppContext

MAX_ROWS: Final = 200
"""Maximum rows of a workspace. The rest appears once others are done."""

MAX_OFFERS: Final = 60
MAX_ACCEPTED: Final = 80
URGENT_WITHIN: Final = timedelta(hours=2)
"""An offer is urgent if its deadline is within this time."""

_NEVER: Final = datetime.max.replace(tzinfo=UTC)

VIA_WORKSPACE: Final = "workspace"
"""The follow-up method recorded for contacts reported in the workspace."""


@dataclass(frozen=True, slots=True)
class LeadCard:
    """One lead in the workspace. *state* is "urgent", "overdue" or ""."""

    lead_id: int
    offer_id: int | None
    name: str
    company: str
    summary: str
    due: str = ""
    state: str = ""
    email: str = ""
    useful: bool | None = None
    followed_up: bool = False
    hot: bool = False
    priority: float = 0.0
    due_at: datetime | None = None
    paused_until: str = ""
    paused_by_rep: bool = False
    """Whether a rep set the pause, who may also end it."""


@dataclass(frozen=True, slots=True)
class RepWorkspace:
    """The leads of a rep's workspace, each list in order of priority."""

    rep: str
    offered: Sequence[LeadCard]
    in_hand: Sequence[LeadCard]
    on_tracks: Sequence[LeadCard]
    past_leads: Sequence[LeadCard]

    @property
    def is_full(self) -> bool:
        """Return whether there may be more rows than shown."""
        sections = (self.offered, self.in_hand, (*self.on_tracks, *self.past_leads))
        limits = (MAX_OFFERS, MAX_ACCEPTED, MAX_ROWS - MAX_OFFERS - MAX_ACCEPTED)
        return any(len(pile) >= full for pile, full in zip(sections, limits, strict=True))


class WorkspaceView(NamedTuple):
    """Which leads of a workspace to show (SHOWN), and in which order (SORTED_BY)."""

    show: str = "all"
    sort: str = "heat"

    def select(self, cards: Iterable[LeadCard]) -> list[LeadCard]:
        """Return the chosen *cards* in order; an unknown choice counts as the default."""
        chosen = filter(SHOWN.get(self.show, SHOWN["all"]), cards)
        return sorted(chosen, key=SORTED_BY.get(self.sort, SORTED_BY["heat"]))


DEFAULT_VIEW: Final = WorkspaceView()
SHOWN: Final[Mapping[str, Callable[[LeadCard], bool]]] = {
    "all": lambda _card: True,
    "hot": lambda card: card.hot,
    "overdue": lambda card: card.state == "overdue",
}
SORTED_BY: Final[Mapping[str, Callable[[LeadCard], Any]]] = {
    "heat": lambda card: (card.state != "overdue", not card.hot, -card.priority, card.due_at or _NEVER, card.lead_id),
    "due": lambda card: (card.due_at or _NEVER, card.lead_id),
    "company": lambda card: (card.company.casefold(), card.name.casefold(), card.lead_id),
}


def load_workspace(ctx: AppContext, rep_id: str, now: datetime, view: WorkspaceView = DEFAULT_VIEW) -> RepWorkspace:
    """Return the rep's workspace at *now*, in five statements."""
    with ctx.database.read() as tx:
        policy = ctx.definitions.current(tx).policy
        rep = policy.rep(rep_id) or Rep(rep_id, rep_id, "", 0)
        offers = workspace_queries.load_open_offers(tx, rep_id, MAX_OFFERS)
        accepted = workspace_queries.load_accepted_leads(tx, rep_id, MAX_ACCEPTED)
        former = workspace_queries.load_former_leads(tx, rep_id, MAX_ROWS - MAX_OFFERS - MAX_ACCEPTED)
    former_cards = [_former_card(one, policy, now) for one in former]
    tracked = {one.lead_id for one in former if one.kind == Custodian.TRACK}
    return RepWorkspace(
        rep.name,
        view.select(_offer_card(one, rep, policy, now) for one in offers),
        view.select(_accepted_card(one, rep, now) for one in accepted),
        [one for one in former_cards if one.lead_id in tracked],
        [one for one in former_cards if one.lead_id not in tracked],
    )


def _offer_card(offer: OpenOffer, rep: Rep, policy: Policy, now: datetime) -> LeadCard:
    remaining = offer.expires_at - now
    state = "overdue" if remaining <= timedelta() else "urgent" if remaining <= URGENT_WITHIN else ""
    due = format_deadline(offer.expires_at, rep)
    label = rule_label(policy, offer.rule)
    return LeadCard(
        offer.lead_id,
        offer.offer_id,
        *_name_and_company(offer.fields),
        f"{label[0].upper()}{label[1:]}" if label else offer.handoff_reason,
        due,
        state,
        hot=offer.hot,
        priority=offer.priority,
        due_at=offer.expires_at,
    )


def _accepted_card(accepted: AcceptedLead, rep: Rep, now: datetime) -> LeadCard:
    is_overdue = accepted.asked_at is not None or (accepted.due_at is not None and accepted.due_at <= now)
    step = accepted.next_step_on
    return LeadCard(
        accepted.lead_id,
        accepted.offer_id,
        *_name_and_company(accepted.fields),
        f"yours since {format_day(accepted.since)}" + (f"; next step on {format_day(step)}" if step else ""),
        format_deadline(accepted.due_at, rep) if accepted.due_at is not None else "",
        "overdue" if is_overdue else "",
        accepted.email or "",
        accepted.useful,
        accepted.followed_up_at is not None,
        hot=bool(accepted.hot),
        priority=accepted.priority or 0.0,
        due_at=accepted.due_at,
    )


def _former_card(former: FormerLead, policy: Policy, now: datetime) -> LeadCard:
    is_paused = former.paused_until is not None and former.paused_until > now
    return LeadCard(
        former.lead_id,
        None,
        *_name_and_company(former.fields),
        f"{_describe_end(former, policy)}; {_describe_custody(former, policy)}",
        paused_until=format_day(former.paused_until) if is_paused else "",
        paused_by_rep=former.paused_by == PausedBy.REP,
    )


def _name_and_company(fields: Mapping[str, object]) -> tuple[str, str]:
    return name_in_list(fields), str(fields.get("company") or "")


def _describe_end(former: FormerLead, policy: Policy) -> str:
    when = f" on {format_day(former.answered_at)}" if former.answered_at is not None else ""
    if former.state == "expired":
        return f"you did not answer in time{when}"
    if former.state == "accepted":
        return f"you accepted it{when}"
    if former.reason == CALLBACK_RULE:
        return f"you were asked to call later{when}"
    if former.state == "lapsed":
        return f"you accepted it{when}, and {describe_lapse(former.reason)} in time"
    reason = policy.reject_reasons.get(former.reason or "")
    return f"you gave it back{when}" + (f" ({reason.label})" if reason is not None else "")


def _describe_custody(former: FormerLead, policy: Policy) -> str:
    """Return where the lead is now, without saying what another rep did."""
    match Custodian(former.kind):
        case Custodian.TRACK:
            calls = f", to be called on {format_day(former.call_on)}" if former.call_on is not None else ""
            return f"now on the track {former.ref}{calls}"
        case Custodian.REP:
            other = policy.rep(former.ref)
            return f"now with {other.name if other is not None else former.ref}"
        case Custodian.OFFER:
            return "now offered again"
        case Custodian.QUEUE if former.ref == Queue.HAND_OFF:
            return "ready again, waiting for a rep with capacity"
        case Custodian.RESTING:
            return f"resting: {former.ref}"
        case Custodian.CLOSED:
            return f"closed as {former.ref}"
        case _:
            return "under review"


def record_contact(ctx: AppContext, lead_id: int, rep_id: str, now: datetime) -> None:
    """Record that the rep was in touch with their lead. Raises InvalidState for any other lead."""
    with ctx.database.read() as tx:
        rows = snapshot.load_rows(tx, [lead_id], lock=False)
    if not rows or (rows[0].kind, rows[0].ref) != (Custodian.REP, rep_id):
        raise InvalidState(f"Lead {lead_id} is not with {rep_id}.")
    follow_up.record_follow_up(ctx, lead_id, VIA_WORKSPACE, now)


def record_vote(ctx: AppContext, offer_id: int, rep_id: str, now: datetime, *, useful: bool) -> None:
    """Record whether an accepted lead was useful; the last vote counts. Raises InvalidState."""
    with ctx.database.write() as tx:
        one = queries.load_offers(tx, [offer_id]).get(offer_id)
        if one is None or (one.rep, one.state) != (rep_id, "accepted"):
            raise InvalidState(f"Hand-off {offer_id} was not accepted by {rep_id}.")
        workspace_queries.record_vote(tx, offer_id, rep_id, now, useful=useful)


def pause_lead(ctx: AppContext, lead_id: int, rep_id: str, until: datetime, now: datetime) -> datetime:
    """Pause email to the lead until *until*, or longer if others asked for that; return the end of the pause."""
    _require_former_lead(ctx.database, lead_id, rep_id)
    return manual.pause(ctx, lead_id, until, now, by=f"by rep {rep_id}", paused_by=PausedBy.REP) or until


def resume(ctx: AppContext, lead_id: int, rep_id: str, now: datetime) -> None:
    """End a pause set by a rep. Raises InvalidState if the lead or an operator set it."""
    _require_former_lead(ctx.database, lead_id, rep_id)
    manual.pause(ctx, lead_id, None, now, by=f"by rep {rep_id}", paused_by=PausedBy.REP)


def expedite(ctx: AppContext, lead_id: int, rep_id: str, now: datetime) -> bool:
    """Send the next email of the lead's track as soon as its window and caps allow."""
    _require_former_lead(ctx.database, lead_id, rep_id)
    return manual.expedite(ctx, lead_id, now, by=f"by rep {rep_id}")


def claim_lead(ctx: AppContext, lead_id: int, rep_id: str, now: datetime) -> int:
    """Offer the lead to the rep now; return the offer's id."""
    _require_former_lead(ctx.database, lead_id, rep_id)
    return call_back.claim_lead(ctx, lead_id, rep_id, now)


def _require_former_lead(database: Database, lead_id: int, rep_id: str) -> SnapshotRow:
    """Return the lead. Raises InvalidState if it is on no track, or was never offered to the rep."""
    with database.read() as tx:
        if not workspace_queries.was_ever_offered(tx, rep_id, lead_id):
            raise InvalidState(f"Lead {lead_id} was never offered to {rep_id}.")
        rows = snapshot.load_rows(tx, [lead_id], lock=False)
    if not rows or rows[0].kind != Custodian.TRACK:
        raise InvalidState(f"Lead {lead_id} is no longer on a track.")
    return rows[0]
