"""Write the mails of the ladder: a reminder to a rep, a word to their manager."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from nurture.definitions.policy.sla import ESCALATE, REMIND
from nurture.domain.lead import Custodian
from nurture.domain.planning.program import Sender
from nurture.domain.policy.business_hours import Level, Step
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.team import Rep
from nurture.errors import NotFound
from nurture.journey.handoff import queries
from nurture.journey.handoff.brief_emails import by_when
from nurture.journey.handoff.escalation import promised, until_answered, until_followed_up
from nurture.journey.handoff.queries import OfferRow
from nurture.journey.tracks.touch_email import FIELDS, lead_values, sender_address
from nurture.mail.rendering.inert_text import unlinked, unlinked_values
from nurture.mail.rendering.render import Address, ComposedEmail, Envelope, compose
from nurture.outbox.messages import Waiting
from nurture.runtime import public_links
from nurture.runtime.context import House
from nurture.runtime.public_links import Link, Wanted

KIND: Final = "sla"
"""The kind of these messages in the outbox."""


KNOWN: Final = frozenset(
    {f"lead.{name}" for name in FIELDS}
    | {"lead.id", "lead.email", "rep.id", "rep.name", "sender.name", "manager.name"}
    | {"offer.id", "offer.because", "offer.accept_url", "offer.reject_url"}
    | {"sla.accepted", "sla.since", "sla.next"}
)
"""Every name that a reminder to a rep, or a word to their manager, may use."""


def is_current(one: Waiting) -> bool:
    """Whether a rep still has not done what the mail is about."""
    if _level(one) >= Level.FOLLOW_UP_REMINDED:
        return one.custodian == Custodian.REP and one.offer_state == "accepted"
    return one.offer_state == "offered"


def _level(one: Waiting) -> int:
    return int(one.send_key.rpartition(":")[2])


@dataclass
class Nudges:
    """What the mails of one batch have in common, read in a constant number of statements."""

    house: House
    connection: Connection
    offers: Mapping[int, OfferRow]
    policy: Policy
    sender: Sender | None

    @classmethod
    def of(cls, house: House, connection: Connection, batch: Sequence[Waiting]) -> Nudges | None:
        """Read what the mails of *batch* show, None for no mail."""
        if not batch:
            return None
        book = house.rulebooks.current(connection)
        found = queries.find(house.database, connection, [one.offer_id for one in batch if one.offer_id])
        sender = next((program.sender for program in book.programs.values()), None)
        return cls(house, connection, found, book.policy, sender)

    def write(self, one: Waiting) -> tuple[ComposedEmail, list[Link]]:
        """Compose one mail, by the newest policy: it has the text, and knows the people."""
        offer, rep = self.offers.get(one.offer_id or 0), None
        if offer is not None:
            rep = self.policy.rep(offer.rep)
        if offer is None or rep is None or self.sender is None:
            raise NotFound(f"Nobody can be told by {one.send_key}: its hand-off or its rep is gone.")
        escalates = one.email == Step.ESCALATE
        manager = self.policy.team.manager_of(rep)
        to = manager if escalates else rep
        if to is None:
            raise NotFound(f"Rep {rep.id} has no manager now. Name one in sales/policy.yaml.")
        made: list[Link] = []
        urls = {"accept": "", "reject": ""}
        if self.house.base_url and not escalates:
            for name, purpose in (("accept", public_links.ACCEPT), ("reject", public_links.REJECT)):
                made.append(public_links.make(Wanted(purpose, one.lead_id, one.id, offer.id)))
                urls[name] = made[-1].url(self.house.base_url)
        values: dict[str, object] = {
            "lead": unlinked_values(lead_values(one.facts)) | {"id": one.lead_id, "email": one.address or ""},
            "rep": {"id": rep.id, "name": rep.name},
            "offer": {
                "id": offer.id,
                "because": unlinked(offer.because),
                "accept_url": urls["accept"],
                "reject_url": urls["reject"],
            },
            "sender": {"name": self.sender.name},
            "manager": {"name": manager.name if manager is not None else ""},
            "sla": self._sla(one, offer, rep),
        }
        envelope = Envelope(
            ref=one.send_key,
            sender=sender_address(self.sender),
            to=Address(to.name, to.email),
            reply_to=Address("", self.sender.reply_to) if self.sender.reply_to else None,
            labels=("handoff",),
            origin=self.house.origin,
        )
        path = ESCALATE if escalates else REMIND
        text = self.house.rulebooks.to_sales(self.connection, self.policy.version, path)
        return compose(text, values, envelope), made

    def _sla(self, one: Waiting, offer: OfferRow, rep: Rep) -> dict[str, object]:
        accepted = _level(one) >= Level.FOLLOW_UP_REMINDED
        holidays, since = self.house.holidays, offer.offered_at
        if accepted:
            ladder, since = until_followed_up(self.policy, holidays, offer), offer.answered_at or since
        else:
            ladder = until_answered(self.policy, holidays, rep.id, offer.offered_at)
            ladder = promised(ladder, offer.expires_at)
        ahead = [rung for rung in ladder if rung.at > one.send_at]
        told = [_next(rung.step, rung.at, rep, accepted=accepted) for rung in ahead[-1:]]
        return {"accepted": accepted, "since": by_when(since, rep), "next": "".join(told)}


def _next(step: Step, at: datetime, rep: Rep, *, accepted: bool) -> str:
    if step is not Step.TAKE_BACK:
        return ""
    done = "you get in touch" if accepted else "there is an answer"
    return f"Unless {done} before, it is taken back on {by_when(at, rep)}."
