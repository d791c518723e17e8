"""Ask a lead by email to confirm its consent, with a link to a page of one button."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from nurture.db.transaction import Transaction
from nurture.definitions.folder import CONFIRM
from nurture.domain.consent.statements import find_requests
from nurture.domain.lead import Custodian
from nurture.journey.leads.changeset import NewMessage
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.tracks.touch_email import address_lead, main_program, sender_address
from nurture.mail.rendering.render import compose
from nurture.outbox.messages import CONFIRMATION, TO_LEAD, DueMessage
from nurture.runtime import public_links
from nurture.runtime.context import AppContext
from nurture.runtime.message_kinds import ComposedMessage, MessageKind
from nurture.runtime.public_links import LinkSpec
from nurture.runtime.published import Definitions

_EXPIRES_AFTER: Final = timedelta(days=30)


def build_confirmations(
    ctx: AppContext, tx: Transaction, leads: Sequence[LeadSnapshot], definitions: Definitions, now: datetime
) -> list[NewMessage]:
    """Return the emails that ask *leads* to confirm their consent; a request that was asked about is not asked again.

    [] while no page could take the answer, no track defines a sender, or the published policy lacks the email.
    """
    asked = [one for one in leads if one.view.permission(now).requested_at is not None]
    program, version, kind = main_program(definitions), definitions.policy.version, CONFIRMATION
    if not asked or program is None or not ctx.base_url or not ctx.definitions.has_email(tx, version, CONFIRM):
        return []
    planned, until = [], now + _EXPIRES_AFTER
    for one in asked:
        key = f"{kind}:{one.address_id}:{len(find_requests(one.view.statements))}"
        message = NewMessage.due_now(key, kind, TO_LEAD, one.view.lead.id, kind, now, until)
        message = message._replace(track=program.track, track_version=program.version)
        planned.append(message._replace(step=str(one.address_id)))
    return planned


class Confirmations(NamedTuple):
    """Composes the emails; they share nothing that is not cached."""

    ctx: AppContext

    def compose(self, tx: Transaction, message: DueMessage) -> ComposedMessage:
        """Compose the email, without any tracking, with a link to the page that confirms."""
        ctx = self.ctx
        program = ctx.definitions.program(tx, message.track or "", message.track_version or 0)
        links, envelope, values = address_lead(ctx, program, sender_address(program.sender), message, CONFIRMATION)
        links.append(public_links.make_link(LinkSpec(public_links.CONFIRM, message.lead_id, message.id)))
        values["confirm_url"] = links[-1].url(ctx.base_url)
        template = ctx.definitions.lead_email(tx, ctx.definitions.current(tx).policy.version, CONFIRM)
        return ComposedMessage(compose(template, values, envelope), links)


def withdrawal_reason(message: DueMessage) -> str:
    """Return why a due email is not to be sent any more, "" if the lead may still confirm with this address."""
    asks_another = message.step != str(message.address_id)
    has_ended = message.custodian in (Custodian.CLOSED, Custodian.RESTING)
    return "superseded" if asks_another else "left_track" if has_ended else ""


CONFIRMATION_KIND: Final = MessageKind(
    CONFIRMATION, lambda ctx, *_: Confirmations(ctx), withdrawal_reason, asks_consent=True, priority=2
)
