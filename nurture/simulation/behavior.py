"""The behavior model of practice worlds, demos and stories: leads click, reply, state dates and leave; sales answers.

Every choice is a hash of (seed, lead, occasion), so a seed always gives the same run. What people do next follows
from the database alone: a run that was killed continues with the same choices, and each of them counts once. Purchase
times follow the Cahners study of business buyers: 90 % of inquirers buy in the end, at a log-normal time with a
median of 11.08 months and a sigma of 1.065 (11 % by 3 months, 28 % by 6, 53 % by 12).
"""

import heapq
from base64 import b32encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from hashlib import sha256
from math import exp
from statistics import NormalDist
from typing import Final, NamedTuple

from nurture.domain.planning.program import Email, Program
from nurture.domain.signals import SignalKind
from nurture.errors import NotFound, suggest
from nurture.journey.engagement import replies, signals
from nurture.journey.leads.signal_queries import NewSignal
from nurture.mail.inbound.raw_mail import RawMail
from nurture.runtime import public_links
from nurture.runtime.context import AppContext
from nurture.runtime.public_links import Link, LinkSpec
from nurture.simulation import queries
from nurture.simulation.queries import Touch
from nurture.simulation.sales_behavior import AS_USUAL, SalesBehavior, SalesRates, draw

EVENTUAL_BUYERS: Final = 0.90
MEDIAN_MONTHS: Final = 11.08
SIGMA: Final = 1.065
DAYS_PER_MONTH: Final = 30.4375
NEAR_BUYING_DAYS: Final = 75

SCRIPT_DELAY: Final = timedelta(hours=1)
"""How soon a lead does what its script says about an email."""

_REACTION_SPAN: Final = timedelta(days=3)
"""All reactions to an email come within this time."""


@dataclass(frozen=True, slots=True)
class ReactionRates:
    """Probabilities of a lead's reactions to one email."""

    click: float = 0.0
    reply: float = 0.0
    state_date: float = 0.0
    unsubscribe: float = 0.0


@dataclass(frozen=True, slots=True)
class LeadRates:
    """The rates of leads that do not buy within NEAR_BUYING_DAYS, and of those that do."""

    far: ReactionRates
    near: ReactionRates


NO_REACTIONS: Final = LeadRates(ReactionRates(), ReactionRates())
USUAL_REACTIONS: Final = LeadRates(
    far=ReactionRates(click=0.06, reply=0.004, state_date=0.02, unsubscribe=0.004),
    near=ReactionRates(click=0.45, reply=0.10, state_date=0.35, unsubscribe=0.004),
)


@dataclass(frozen=True, slots=True)
class ScriptedReaction:
    """What leads (*lead_ids*; None: all) do about the email *step*: click, or reply with *text*."""

    step: str
    kind: SignalKind = SignalKind.CLICKED
    text: str = ""
    lead_ids: frozenset[int] | None = None

    def is_about(self, touch: Touch) -> bool:
        """Return whether the lead of *touch* has a script for it."""
        return self.step in (touch.step, touch.email) and (self.lead_ids is None or touch.lead_id in self.lead_ids)


def require_emails(script: Sequence[ScriptedReaction], programs: Iterable[Program]) -> None:
    """Raise NotFound if no track or broadcast has an email of a script."""
    steps = [one for program in programs for one in program.instructions if isinstance(one, Email)]
    known = {name for one in steps for name in (one.step, *one.emails)}
    for one in script:
        if one.step not in known:
            raise NotFound(f"No track or broadcast has an email {one.step}. {suggest(one.step, known)}")


class _Reaction(NamedTuple):
    """A reaction to a touch: a signal, or with *text* an email."""

    at: datetime
    touch: Touch
    kind: SignalKind
    value: str | None = None
    suffix: str = ""
    text: str = ""


@dataclass
class BehaviorModel:
    """Reacts to sent touches and broadcasts, to offers and to what waits for a decision, on the virtual clock.

    *start* is when the leads came in. *script* comes before the rates: a lead with a script for an email does nothing
    else about it. *script_since*: the script of earlier emails is done from then on.
    """

    ctx: AppContext
    seed: str
    start: datetime
    rates: LeadRates = USUAL_REACTIONS
    sales: SalesRates | None = AS_USUAL
    script: Sequence[ScriptedReaction] = ()
    script_since: datetime | None = None
    _queue: list[tuple[datetime, int, _Reaction]] = field(default_factory=list)
    _newest_accepted_at: datetime | None = None
    _advanced_to: datetime | None = None
    _touch_ids: set[int] = field(default_factory=set)
    _purchase_times: dict[int, datetime | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._sales = SalesBehavior(self.ctx, self.seed, self.sales, self.purchase_time) if self.sales else None

    def random_value(self, *occasion: object) -> float:
        """Return a number in [0, 1) that depends on the seed and the occasion only."""
        return draw(self.seed, *occasion)

    def purchase_time(self, lead_id: int) -> datetime | None:
        """Return when the lead buys, None if it never does."""
        if lead_id not in self._purchase_times:
            self._purchase_times[lead_id] = self._draw_purchase_time(lead_id)
        return self._purchase_times[lead_id]

    def _draw_purchase_time(self, lead_id: int) -> datetime | None:
        if self.random_value(lead_id, "buys") >= EVENTUAL_BUYERS:
            return None
        z = NormalDist().inv_cdf(min(max(self.random_value(lead_id, "when"), 1e-6), 1 - 1e-6))
        return self.start + timedelta(days=MEDIAN_MONTHS * exp(SIGMA * z) * DAYS_PER_MONTH)

    def advance_to(self, now: datetime) -> datetime | None:
        """Do what is due at *now*, all signals in one write; return the time of the next reaction, None if never."""
        is_news = self._advanced_to in (None, now)  # a call at a later time comes before the round of that time
        self._advanced_to = now
        if is_news:
            self._schedule_reactions(now)
        due: list[_Reaction] = []
        while self._queue and self._queue[0][0] <= now:
            due.append(heapq.heappop(self._queue)[2])
        if did := [self._to_signal(one, now) for one in due if not one.text]:
            signals.record(self.ctx, did, now)
        self._send_replies([one for one in due if one.text], now)
        answers_at = self._sales.advance_to(now, look=is_news) if self._sales is not None else None
        times = [*(at for at, _, _ in self._queue[:1]), *([answers_at] if answers_at is not None else [])]
        return min(times, default=None)

    def _schedule_reactions(self, now: datetime) -> None:
        since = self._newest_accepted_at
        if since is None:
            since = self.start if self.script else now - _REACTION_SPAN
        with self.ctx.database.read() as tx:
            touches = queries.load_touches(tx, since)
        for touch in touches:
            if touch.id not in self._touch_ids:
                self._touch_ids.add(touch.id)
                self._newest_accepted_at = max(self._newest_accepted_at or touch.accepted_at, touch.accepted_at)
                script = [one for one in self.script if one.is_about(touch)]
                for number, reaction in enumerate(self._scripted(touch, script) if script else self._reactions(touch)):
                    heapq.heappush(self._queue, (reaction.at, 10 * touch.id + number, reaction))

    def _scripted(self, touch: Touch, script: Sequence[ScriptedReaction]) -> Iterator[_Reaction]:
        at = max(touch.accepted_at + SCRIPT_DELAY, self.script_since or self.start)
        for one in script:
            yield _Reaction(at, touch, one.kind, text=one.text)

    def _reactions(self, touch: Touch) -> Iterator[_Reaction]:
        lead_id, sent = touch.lead_id, touch.accepted_at
        purchase_at = self.purchase_time(lead_id)
        close = purchase_at is not None and timedelta() <= purchase_at - sent <= timedelta(days=NEAR_BUYING_DAYS)
        rates = self.rates.near if close else self.rates.far
        read_at = sent + timedelta(minutes=5 + 2_000 * self.random_value(lead_id, touch.id, "reads") ** 2)
        if self.random_value(lead_id, touch.id, "click") < rates.click:
            yield _Reaction(read_at, touch, SignalKind.CLICKED)
            if close and self.random_value(lead_id, touch.id, "again") < 0.5:
                yield _Reaction(read_at + timedelta(minutes=3), touch, SignalKind.CLICKED, suffix="again")
        if self.random_value(lead_id, touch.id, "reply") < rates.reply:
            yield _Reaction(read_at + timedelta(minutes=20), touch, SignalKind.REPLIED)
        asks_for_date = "decide" in touch.email
        if (
            asks_for_date
            and purchase_at is not None
            and self.random_value(lead_id, touch.id, "date") < 4 * rates.state_date
        ):
            stated = purchase_at.date().isoformat()
            yield _Reaction(read_at + timedelta(minutes=10), touch, SignalKind.DECIDING, stated)
        if self.random_value(lead_id, touch.id, "unsubscribe") < rates.unsubscribe:
            yield _Reaction(read_at, touch, SignalKind.UNSUBSCRIBED)

    def _to_signal(self, reaction: _Reaction, now: datetime) -> NewSignal:
        touch, kind = reaction.touch, reaction.kind
        return NewSignal(
            lead_id=touch.lead_id,
            kind=kind.value,
            occurred_at=reaction.at,
            recorded_at=now,
            natural_key=f"simulated|{touch.id}|{kind.value}|{reaction.suffix}",
            source="simulated",
            enrollment_id=touch.enrollment_id,
            track=touch.track,
            step=touch.step,
            link="button" if kind is SignalKind.CLICKED else None,
            message_id=touch.id,
            value=reaction.value,
        )

    def _send_replies(self, due: Sequence[_Reaction], now: datetime) -> None:
        """Put the replies into the inbox, like those that a mailbox or a provider delivers; a run processes them."""
        if not due:
            return
        links = {one.touch.id: self._reply_link(one.touch) for one in due}
        with self.ctx.database.write() as tx:
            new = [one for one in links.values() if public_links.find_token(tx, one.token, public_links.REPLY) is None]
            public_links.store_links(tx, new, now)
            senders = queries.load_addresses(tx, {one.touch.lead_id for one in due})
        mails = [_build_reply(one, links[one.touch.id].token, senders[one.touch.lead_id]) for one in due]
        replies.receive(self.ctx, "simulated", mails, now)

    def _reply_link(self, touch: Touch) -> Link:
        """Return the same link each time, so that a reply that is sent again is known."""
        code = sha256(f"{self.seed}:reply:{touch.id}".encode()).digest()[:16]
        token = b32encode(code).decode().rstrip("=").lower()
        return Link(token, LinkSpec(public_links.REPLY, touch.lead_id, touch.id))


def _build_reply(reaction: _Reaction, token: str, sender: str) -> RawMail:
    mail = EmailMessage()
    mail["From"], mail["To"] = sender, f"reply+{token}@practice.example"
    mail["Subject"] = f"Re: {reaction.touch.email}"
    mail["Date"] = format_datetime(reaction.at)
    mail["Message-ID"] = f"<reply-{reaction.touch.id}@practice.example>"
    mail.set_content(reaction.text)
    return RawMail({"email": bytes(mail)})
