"""Forward a lead's replies to the rep who has the lead, each reply once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian, full_name
from nurture.domain.planning.program import Sender
from nurture.domain.policy.policy import Policy
from nurture.errors import NotFound
from nurture.journey.handoff.lead_profile import reply_values
from nurture.journey.leads import lock_queries, reply_queries
from nurture.journey.leads.changeset import Changes, NewMessage
from nurture.journey.leads.journal import JournalEntry
from nurture.journey.leads.reply_queries import ForwardableReply, ReplyText
from nurture.journey.tracks.touch_email import lead_values, sender_address
from nurture.mail.rendering.inert_text import defang_values
from nurture.mail.rendering.render import Address, ComposedEmail, Envelope, compose
from nurture.outbox.messages import DueMessage
from nurture.runtime.context import AppContext

TEMPLATE: Final = "reply"
"""The email name of such messages in the outbox."""

EXPIRES_AFTER: Final = timedelta(days=30)

_KEY: Final = "reply:"
_TEMPLATE_NAME: Final = "the forwarded reply"
_TEMPLATE: Final = """---
subject: "{{ lead.full_name or lead.email or 'Your lead' }} replied"
preheader: Forwarded to {{ rep.name }}, because you have this lead.
layout: brief
---
Hello {{ rep.name }},

**{{ lead.full_name or lead.email }}**{% if lead.company %} of **{{ lead.company }}**{% endif %}
replied to our email on {{ reply.on }}. You have this lead, so it gets no emails from its track.

## WHAT {{ reply.author | upper }} WROTE

{% for line in reply.lines %}
> {{ line }}
{% endfor %}

{% if lead.email %}
Reply to this email to write to {{ lead.email }}.
{% endif %}

- Lead number: {{ lead.id }}; `nurture leads replies {{ lead.id }}` shows all replies,
  `nurture explain {{ lead.id }}` the full history
"""
_AUTO_SUBMITTED: Final = ("Auto-Submitted", "auto-generated")
"""So that no out-of-office reply of the rep goes to the lead, to whom answers to this mail are addressed."""


def plan_forwards(ctx: AppContext, tx: Transaction, keys: Sequence[str], now: datetime) -> None:
    """Plan a mail to the rep for each reply, stored under one of *keys*, of a lead that sales has.

    Replies that a pending brief will show are skipped. If the policy does not name the rep, the journal says so.
    """
    if not keys:
        return
    # Lock the leads first: a brief being composed meanwhile is then finished before we check what it shows.
    lock_queries.lock_leads(tx, reply_queries.find_leads(tx, keys))
    forwards = reply_queries.find_forwardable(tx, keys)
    if not forwards:
        return
    policy = ctx.definitions.current(tx).policy
    changes = Changes()
    for one in forwards:
        if policy.rep(one.rep) is not None:
            changes.new_messages.append(_new_message(one, now))
        changes.journal_entries.append(_journal_entry(one, policy, now))
    changes.write(tx, now)


def is_current(message: DueMessage) -> bool:
    """Return whether the rep still has the lead of a planned mail; if not, the next brief shows the reply."""
    if message.custodian == Custodian.REP:
        return message.custody_ref == message.rep
    return message.custodian == Custodian.CLOSED or message.offer_state == "offered"


@dataclass
class ForwardedReplies:
    """The data that the forwarded replies of a batch share."""

    ctx: AppContext
    tx: Transaction
    replies: Mapping[int, ReplyText]
    policy: Policy | None
    sender: Sender | None

    @classmethod
    def load(cls, ctx: AppContext, tx: Transaction, batch: Sequence[DueMessage]) -> ForwardedReplies:
        """Read the replies to forward."""
        if not batch:
            return cls(ctx, tx, {}, None, None)
        definitions = ctx.definitions.current(tx)
        replies = reply_queries.load_replies(tx, [_reply_id(one) for one in batch])
        sender = next((program.sender for program in definitions.programs.values()), None)
        return cls(ctx, tx, replies, definitions.policy, sender)

    def compose(self, message: DueMessage) -> ComposedEmail:
        """Compose the mail that forwards one reply."""
        reply = self.replies.get(_reply_id(message))
        if reply is None or self.policy is None or self.sender is None:
            raise NotFound(f"The reply of {message.send_key} does not exist any more; it may have been erased.")
        rep = self.policy.rep(message.rep or "")
        if rep is None:
            raise NotFound(f"Rep {message.rep} is not in version {self.policy.version} of the policy.")
        values: dict[str, object] = {
            "lead": defang_values(lead_values(message.fields))
            | {"id": message.lead_id, "email": message.address or ""},
            "rep": {"id": rep.id, "name": rep.name},
            "reply": reply_values(reply),
            "sender": {"name": self.sender.name},
        }
        lead_address = Address(full_name(message.fields), message.address) if message.address else None
        fallback = Address("", self.sender.reply_to) if self.sender.reply_to else None
        envelope = Envelope(
            ref=message.send_key,
            sender=sender_address(self.sender),
            to=Address(rep.name, rep.email),
            reply_to=lead_address or fallback,
            labels=("reply",),
            installation_id=self.ctx.installation_id,
        )
        compiled = self.ctx.definitions.internal_email(self.tx, self.policy.version, _TEMPLATE_NAME, _TEMPLATE)
        email = compose(compiled, values, envelope)
        return replace(email, headers=(*email.headers, _AUTO_SUBMITTED))


def _reply_id(message: DueMessage) -> int:
    return int(message.send_key.removeprefix(_KEY))


def _new_message(forward: ForwardableReply, now: datetime) -> NewMessage:
    return NewMessage.for_rep(
        f"{_KEY}{forward.reply_id}",
        "brief",
        TEMPLATE,
        forward.rep,
        lead_id=forward.lead_id,
        offer_id=forward.offer_id,
        now=now,
        expires_at=now + EXPIRES_AFTER,
    )


def _journal_entry(forward: ForwardableReply, policy: Policy, now: datetime) -> JournalEntry:
    if policy.rep(forward.rep) is not None:
        reason = f"a reply came while {forward.rep} has the lead; it is forwarded by mail"
    else:
        reason = (
            f"a reply came while {forward.rep}, who is not in the policy, has the lead; inform them: "
            f"`nurture leads replies {forward.lead_id}` shows it"
        )
    return JournalEntry(
        forward.lead_id, now, "signals", "answered", reason, policy_version=policy.version, ref=forward.rep
    )
