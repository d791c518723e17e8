"""What the doctor looks at of listening: whether answers and events are heard."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from nurture.db import schema
from nurture.journey.engagement import inbound_mail_queries, provider_event_queries
from nurture.journey.intake.api import queries as api_queries
from nurture.mail.inbound.imap import Inbox, InboxUnusable
from nurture.operations.doctor import Finding, SetUp, State
from nurture.settings import Settings

_LOOKS_BACK: Final = timedelta(days=7)
_PATIENCE: Final = 10.0  # seconds for a connection, and for each answer


def replies(setup: SetUp) -> Sequence[Finding]:
    """Say whether anybody hears what leads answer; their mailbox is opened, and nothing in it changed."""
    settings = setup.settings
    doors = _doors(settings)
    domain = settings.reply_domain
    worse: State = "fails" if setup.for_real else "warning"
    if domain is None and not doors:
        found = "answers go to the sender alone, and nurture hears none, not even those that say stop"
        remedy = (
            "Set NURTURE_REPLY_DOMAIN, or tell of each by `nurture leads signal LEAD replied`, `nurture leads"
            " suppress`."
        )
        return [Finding("replies", "warning", found, remedy)] if setup.for_real else []
    if domain is None:
        found = f"{' and '.join(doors)} may be read, but no mail asks for answers there"
        return [Finding("replies", "warning", found, "Set NURTURE_REPLY_DOMAIN to the mail domain of it.")]
    if not doors:
        found = f"mail asks for answers at {domain}, and nobody reads them"
        remedy = "Set NURTURE_SENDGRID_INBOUND_KEY or NURTURE_IMAP_URL; else unset NURTURE_REPLY_DOMAIN."
        return [Finding("replies", worse, found, remedy)]
    if settings.imap_url is not None:
        try:
            with Inbox(settings.imap_url, timeout=_PATIENCE).opened():
                pass
        except InboxUnusable as error:
            reason, _, remedy = str(error).partition(". ")
            return [Finding("replies", worse, reason, remedy)]
    return [Finding("replies", "ok", f"mail asks for answers at {domain}, heard by {' and '.join(doors)}")]


def unread(setup: SetUp) -> Sequence[Finding]:
    """Look for mails that could not be read."""
    with setup.database() as db:
        schema.require_current(db)
        with db.read() as connection:
            found = inbound_mail_queries.list_set_aside(connection, inbound_mail_queries.MOST_SET_ASIDE)
    if not found:
        return []
    many = "1 mail" if len(found) == 1 else f"{len(found)} mails"
    what = f"{many} could not be read and may hold answers, the newest of {found[0].received_at:%Y-%m-%d}"
    return [
        Finding(
            "unread mail", "warning", what, "`nurture leads replies` says why; `--retry` tries them again."
        )
    ]


def tokens(setup: SetUp) -> Sequence[Finding]:
    """Look for tokens of the API that posted more in an hour than they may."""
    with setup.database() as db:
        schema.require_current(db)
        with db.read() as connection:
            since = setup.clock.now() - _LOOKS_BACK
            found = [
                one for one in api_queries.tokens(connection) if one.ceiling_at and one.ceiling_at > since
            ]
    return [
        Finding(
            "API",
            "warning",
            f"the token {one.name!r} posted too much in one hour, at {one.ceiling_at:%Y-%m-%d %H:%M} UTC",
            f"Ask who has it. If it leaked: nurture admin tokens revoke {one.name}",
        )
        for one in found
        if one.revoked_at is None
    ]


def _doors(settings: Settings) -> list[str]:
    inbound = "SendGrid's Inbound Parse, once it posts to /webhooks/sendgrid/inbound"
    mailbox = "the mailbox in NURTURE_IMAP_URL"
    return [inbound] * bool(settings.inbound_keys) + [mailbox] * (settings.imap_url is not None)


def unapplied(setup: SetUp) -> Sequence[Finding]:
    """Look for batches of the provider's events of which not all could be applied."""
    with setup.database() as db:
        schema.require_current(db)
        with db.read() as connection:
            count, oldest = provider_event_queries.set_aside(connection)
    if oldest is None:
        return []
    many = "1 batch" if count == 1 else f"{count:,} batches"
    found = (
        f"{many} of the provider's events could not be applied as a whole, the oldest of {oldest:%Y-%m-%d}"
    )
    remedy = "Each is kept, and tried again in every round; the log says why at batch_set_aside."
    return [Finding("events", "warning", found, remedy)]
