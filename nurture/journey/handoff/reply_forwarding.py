"""Forward a lead's replies to the rep who has the lead, each reply once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self

from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian, full_name
from nurture.domain.policy.policy import Policy
from nurture.errors import NotFound
from nurture.journey.handoff.lead_profile import reply_values
from nurture.journey.handoff.rep_emails import compose_for_rep
from nurture.journey.handoff.roster import require_rep
from nurture.journey.leads import reply_queries
from nurture.journey.leads.changeset import Changes, NewMessage
from nurture.journey.leads.custody import JournalEntry, lock_leads
from nurture.journey.leads.reply_queries import ForwardableReply, ReplyRecord
from nurture.mail.rendering.render import Address
from nurture.outbox.messages import TO_REP, DueMessage
from nurture.runtime.context import AppContext
from nurture.runtime.message_kinds import ComposedMessage, MessageKind

EXPIRES_AFTER: Final = timedelta(days=30)

_TEMPLATE_NAME: Final = "the forwarded reply"
_TEMPLATE: Final = """---
subject: "{{ lead.full_name or lead.email or 'Your lead' }} replied"
preheader: Forwarded to {{ rep.name }}, because you have this lead.
layout: brief
---
Hello {{ rep.name }},

**{{ lead.full_name or lead.email }}**{% if lead.company %} of **{{ lead.company }}**{% endif %}
replied to our email on {{ reply.on }}. You have this lead, so it gets no emails from its track.

We read the reply as: {{ reply.meaning }}.

## WHAT {{ reply.author | upper }} WROTE

{% for line in reply.lines %}
> {{ line }}
{% endfor %}

{% if lead.email %}
Reply to this email to write to {{ lead.email }}.
{% endif %}

{% if lead.phone %}
- Call: {{ lead.phone }}
{% endif %}
- Lead number: {{ lead.id }}
"""


def plan_forwards(ctx: AppContext, tx: Transaction, keys: Sequence[str], now: datetime) -> None:
    """Plan a mail to the rep for each reply, stored under one of *keys*, of a lead that sales has.

    Replies that a pending brief will show are skipped. If the policy does not name the rep, the journal says so.
    """
    if not keys:
        return
    # Lock the leads first: a brief being composed meanwhile is then finished before we check what it shows.
    lock_leads(tx, reply_queries.find_leads(tx, keys))
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


def withdrawal_reason(message: DueMessage) -> str:
    """Return why a reply is not to be forwarded any more, "" if the rep still has the lead.

    If another rep gets the lead, its brief shows the reply.
    """
    if message.custodian == Custodian.REP:
        has_lead = message.custody_ref == message.rep
    else:
        has_lead = message.custodian in (Custodian.CLOSED, Custodian.RESTING) or message.offer_state == "offered"
    return "" if has_lead else "superseded"


@dataclass(frozen=True)
class ForwardedReplies:
    """The forwarded replies of a batch."""

    ctx: AppContext
    policy: Policy
    replies: Mapping[int, ReplyRecord]

    @classmethod
    def load(cls, ctx: AppContext, tx: Transaction, batch: Sequence[DueMessage], _now: datetime) -> Self:
        """Read the replies to forward."""
        replies = reply_queries.load_replies(tx, [one.reply_id for one in batch if one.reply_id is not None])
        return cls(ctx, ctx.definitions.current(tx).policy, replies)

    def compose(self, tx: Transaction, message: DueMessage) -> ComposedMessage:
        """Compose the email that forwards one reply; an answer to it goes to the lead."""
        reply = self.replies.get(message.reply_id or 0)
        if reply is None:
            raise NotFound(f"The reply of {message.send_key} does not exist any more; it may have been erased.")
        rep = require_rep(self.policy, message.rep or "")
        template = self.ctx.definitions.internal_email(tx, self.policy.version, _TEMPLATE_NAME, _TEMPLATE)
        lead_address = Address(full_name(message.fields), message.address) if message.address else None
        values = {"reply": reply_values(reply)}
        return compose_for_rep(
            self.ctx, self.policy, message, rep, template, values, reply_to=lead_address, label="reply"
        )


FORWARDED_REPLY: Final = MessageKind("forwarded_reply", ForwardedReplies.load, withdrawal_reason)


def _new_message(forward: ForwardableReply, now: datetime) -> NewMessage:
    send_key, expires_at = f"reply:{forward.reply_id}", now + EXPIRES_AFTER
    message = NewMessage.due_now(send_key, FORWARDED_REPLY.name, TO_REP, forward.lead_id, "reply", now, expires_at)
    return message._replace(offer_id=forward.offer_id, reply_id=forward.reply_id, rep=forward.rep)


def _journal_entry(forward: ForwardableReply, policy: Policy, now: datetime) -> JournalEntry:
    if policy.rep(forward.rep) is not None:
        reason = f"a reply came while {forward.rep} has the lead; it is forwarded by mail"
    else:
        reason = (
            f"a reply came while {forward.rep}, who is not in the policy, has the lead; inform them: "
            f"`nurture leads replies {forward.lead_id}` shows it"
        )
    return JournalEntry(
        forward.lead_id, now, "signals", "reply_received", reason, policy_version=policy.version, ref=forward.rep
    )
