"""Pass on to its rep what a lead answers that sales has already, each answer once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from nurture.domain.lead import Custodian
from nurture.domain.planning.program import Sender
from nurture.domain.policy.policy import Policy
from nurture.errors import NotFound
from nurture.journey.handoff.lead_profile import told_by
from nurture.journey.leads import changeset, reply_queries
from nurture.journey.leads.changeset import Changes, Intended, Noted
from nurture.journey.leads.reply_queries import Passing, Said
from nurture.journey.tracks.touch_email import full_name, lead_values, sender_address
from nurture.mail.rendering.compile import EmailSource
from nurture.mail.rendering.inert_text import unlinked_values
from nurture.mail.rendering.render import Address, ComposedEmail, Envelope, compose
from nurture.outbox.messages import Waiting
from nurture.runtime.context import House

TEMPLATE: Final = "reply"
"""What the outbox calls the email of such a message."""

EXPIRES_AFTER: Final = timedelta(days=30)

_KEY: Final = "reply:"
_SOURCE: Final = EmailSource(
    "the mail that passes an answer on",
    """---
subject: "{{ lead.full_name or lead.email or 'Your lead' }} answered"
preheader: Passed on to {{ rep.name }}, because the lead is with you.
layout: brief
---
Hello {{ rep.name }},

**{{ lead.full_name or lead.email }}**{% if lead.company %} of **{{ lead.company }}**{% endif %}
answered mail of ours on {{ reply.on }}. The lead is with you, so we send it nothing.

## WHAT {{ reply.who | upper }} WROTE

{% for line in reply.lines %}
> {{ line }}
{% endfor %}

{% if lead.email %}
Answer this mail to write to {{ lead.email }}.
{% endif %}

- Lead number: {{ lead.id }}; `nurture leads replies {{ lead.id }}` shows all that was written,
  `nurture explain {{ lead.id }}` the whole history
""",
)
_MACHINE: Final = ("Auto-Submitted", "auto-generated")
"""No rep's absence notice may go to the lead, whom an answer to this mail reaches."""


def plan(house: House, connection: Connection, keys: Sequence[str], now: datetime) -> None:
    """Intend a mail to its rep for each answer, kept under one of *keys*, of a lead that sales has.

    What the brief will show that has yet to go is not told twice. Where the rep is none of the policy's the
    journal says so.
    """
    if not keys:
        return
    database = house.database
    # The leads first: whoever writes a brief meanwhile is done before we look what it could know.
    changeset.hold(database, connection, reply_queries.leads_of(database, connection, keys))
    passing = reply_queries.to_pass_on(database, connection, keys)
    if not passing:
        return
    policy = house.rulebooks.current(connection).policy
    made = Changes()
    for one in passing:
        if policy.rep(one.rep) is not None:
            made.intended.append(_intended(one, now))
        made.noted.append(_line(one, policy, now))
    made.write(database, connection, now)


def is_current(one: Waiting) -> bool:
    """Whether the lead is still with the rep that a planned mail is for; if not, the next brief tells it."""
    if one.custodian == Custodian.REP:
        return one.custody_ref == one.rep
    return one.custodian == Custodian.CLOSED or one.offer_state == "offered"


@dataclass
class Forwards:
    """What the mails of one batch that pass answers on have in common."""

    house: House
    connection: Connection
    said: Mapping[int, Said]
    policy: Policy | None
    sender: Sender | None

    @classmethod
    def of(cls, house: House, connection: Connection, batch: Sequence[Waiting]) -> Forwards:
        """Read what was written."""
        if not batch:
            return cls(house, connection, {}, None, None)
        book = house.rulebooks.current(connection)
        said = reply_queries.by_id(house.database, connection, [_reply_id(one) for one in batch])
        sender = next((program.sender for program in book.programs.values()), None)
        return cls(house, connection, said, book.policy, sender)

    def write(self, one: Waiting) -> ComposedEmail:
        """Compose the mail that passes one answer on."""
        said = self.said.get(_reply_id(one))
        if said is None or self.policy is None or self.sender is None:
            raise NotFound(f"The answer of {one.send_key} is gone; it may have been erased.")
        rep = self.policy.rep(one.rep or "")
        if rep is None:
            raise NotFound(f"Rep {one.rep} is not in version {self.policy.version} of the policy.")
        values: dict[str, object] = {
            "lead": unlinked_values(lead_values(one.facts)) | {"id": one.lead_id, "email": one.address or ""},
            "rep": {"id": rep.id, "name": rep.name},
            "reply": told_by(said),
            "sender": {"name": self.sender.name},
        }
        answers = Address(full_name(one.facts), one.address) if one.address else None
        fallback = Address("", self.sender.reply_to) if self.sender.reply_to else None
        envelope = Envelope(
            ref=one.send_key,
            sender=sender_address(self.sender),
            to=Address(rep.name, rep.email),
            reply_to=answers or fallback,
            labels=("reply",),
            origin=self.house.origin,
        )
        compiled = self.house.rulebooks.internal(self.connection, self.policy.version, _SOURCE)
        email = compose(compiled, values, envelope)
        return replace(email, headers=(*email.headers, _MACHINE))


def _reply_id(one: Waiting) -> int:
    return int(one.send_key.removeprefix(_KEY))


def _intended(one: Passing, now: datetime) -> Intended:
    return Intended.to_rep(
        f"{_KEY}{one.reply_id}",
        "brief",
        TEMPLATE,
        one.rep,
        lead_id=one.lead_id,
        offer_id=one.offer_id,
        now=now,
        expires_at=now + EXPIRES_AFTER,
    )


def _line(one: Passing, policy: Policy, now: datetime) -> Noted:
    if policy.rep(one.rep) is not None:
        because = f"an answer came while the lead is with {one.rep}, who gets it by mail"
    else:
        because = (
            f"an answer came while the lead is with {one.rep}, who is no rep of the policy: tell them; "
            f"`nurture leads replies {one.lead_id}` shows it"
        )
    return Noted(one.lead_id, now, "listen", "answered", because, policy_version=policy.version, ref=one.rep)
