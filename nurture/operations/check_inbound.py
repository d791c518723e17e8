"""What the doctor looks at of listening: whether answers and events are heard."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from nurture.db import schema
from nurture.journey.engagement import inbound_mail_queries, provider_event_queries
from nurture.journey.intake.api import queries as api_queries
from nurture.mail.inbound.imap import Inbox, InboxUnavailable
from nurture.operations.doctor import CheckResult, CheckState, DoctorContext
from nurture.settings import Settings

_LOOKBACK: Final = timedelta(days=7)
_PATIENCE: Final = 10.0  # seconds for a connection, and for each answer


def check_replies(setup: DoctorContext) -> Sequence[CheckResult]:
    """Say whether anybody hears what leads answer; their mailbox is opened, and nothing in it changed."""
    settings = setup.settings
    mailboxes = _list_mailboxes(settings)
    domain = settings.reply_domain
    worse: CheckState = "failed" if setup.is_live else "warning"
    if domain is None and not mailboxes:
        found = "answers go to the sender alone, and nurture hears none, not even those that say stop"
        remedy = (
            "Set NURTURE_REPLY_DOMAIN, or tell of each by `nurture leads signal LEAD replied`, `nurture leads"
            " suppress`."
        )
        return [CheckResult("replies", "warning", found, remedy)] if setup.is_live else []
    if domain is None:
        found = f"{' and '.join(mailboxes)} may be read, but no mail asks for answers there"
        return [CheckResult("replies", "warning", found, "Set NURTURE_REPLY_DOMAIN to the mail domain of it.")]
    if not mailboxes:
        found = f"mail asks for answers at {domain}, and nobody reads them"
        remedy = "Set NURTURE_SENDGRID_INBOUND_KEY or NURTURE_IMAP_URL; else unset NURTURE_REPLY_DOMAIN."
        return [CheckResult("replies", worse, found, remedy)]
    if settings.imap_url is not None:
        try:
            with Inbox(settings.imap_url, timeout=_PATIENCE).open_folder():
                pass
        except InboxUnavailable as error:
            reason, _, remedy = str(error).partition(". ")
            return [CheckResult("replies", worse, reason, remedy)]
    return [CheckResult("replies", "ok", f"mail asks for answers at {domain}, heard by {' and '.join(mailboxes)}")]


def check_unread_mail(setup: DoctorContext) -> Sequence[CheckResult]:
    """Look for mails that could not be read."""
    with setup.open_database() as db:
        schema.require_current(db)
        with db.read() as connection:
            found = inbound_mail_queries.list_failed(connection, inbound_mail_queries.MAX_FAILED)
    if not found:
        return []
    many = "1 mail" if len(found) == 1 else f"{len(found)} mails"
    what = f"{many} could not be read and may hold answers, the newest of {found[0].received_at:%Y-%m-%d}"
    return [
        CheckResult("unread mail", "warning", what, "`nurture leads replies` says why; `--retry` tries them again.")
    ]


def check_api_tokens(setup: DoctorContext) -> Sequence[CheckResult]:
    """Look for tokens of the API that posted more in an hour than they may."""
    with setup.open_database() as db:
        schema.require_current(db)
        with db.read() as connection:
            since = setup.clock.now() - _LOOKBACK
            found = [
                one
                for one in api_queries.list_tokens(connection)
                if one.rate_limited_at and one.rate_limited_at > since
            ]
    return [
        CheckResult(
            "API",
            "warning",
            f"the token {token.name!r} posted too much in one hour, at {token.rate_limited_at:%Y-%m-%d %H:%M} UTC",
            f"Ask who has it. If it leaked: nurture admin tokens revoke {token.name}",
        )
        for token in found
        if token.revoked_at is None
    ]


def _list_mailboxes(settings: Settings) -> list[str]:
    inbound = "SendGrid's Inbound Parse, once it posts to /webhooks/sendgrid/inbound"
    mailbox = "the mailbox in NURTURE_IMAP_URL"
    return [inbound] * bool(settings.inbound_keys) + [mailbox] * (settings.imap_url is not None)


def check_unapplied_events(setup: DoctorContext) -> Sequence[CheckResult]:
    """Look for batches of the provider's events of which not all could be applied."""
    with setup.open_database() as db:
        schema.require_current(db)
        with db.read() as connection:
            count, oldest = provider_event_queries.count_failed(connection)
    if oldest is None:
        return []
    many = "1 batch" if count == 1 else f"{count:,} batches"
    found = f"{many} of the provider's events could not be applied as a whole, the oldest of {oldest:%Y-%m-%d}"
    remedy = "Each is kept, and tried again in every round; the log says why at event_batch_failed."
    return [CheckResult("events", "warning", found, remedy)]
