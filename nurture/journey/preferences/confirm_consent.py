"""Confirm by a public link the consent that a source reported."""

from dataclasses import dataclass
from datetime import datetime

from nurture.db.locks import Lock, acquire
from nurture.db.transaction import Transaction
from nurture.domain.consent.permission import MailPermission, may_mail
from nurture.domain.consent.statements import ConsentStatement, find_requests
from nurture.journey.consent import statements
from nurture.journey.leads import consent_queries, suppression_queries
from nurture.journey.preferences import unsubscribe
from nurture.runtime.context import AppContext
from nurture.runtime.link_queries import TokenRecord


@dataclass(frozen=True, slots=True)
class ConfirmationPage:
    """What a lead is asked to confirm; *address* is masked, because recipients of a forwarded email see it too."""

    sender: str
    address: str
    address_id: int
    request: ConsentStatement
    permission: MailPermission


def load_page(ctx: AppContext, token: TokenRecord, now: datetime) -> ConfirmationPage | None:
    """Return the page of a link, None if what it asked is no longer known."""
    with ctx.database.read() as tx:
        return _load(ctx, tx, token, now)


def confirm(ctx: AppContext, token: TokenRecord, now: datetime) -> ConfirmationPage | None:
    """Record the consent that was requested, unless it is confirmed already or mail was refused; return the page."""
    with ctx.database.write() as tx:
        acquire(tx, Lock.INTAKE)
        page = _load(ctx, tx, token, now)
        if page is not None and page.permission.requested_at is not None:
            evidence = f"confirmed by the link in message {token.message_id}"
            given = page.request._replace(granted=True, stated_at=now, recorded_at=now, evidence=evidence)
            statements.record(tx, [(page.address_id, given)], now)
        return _load(ctx, tx, token, now)


def _load(ctx: AppContext, tx: Transaction, token: TokenRecord, now: datetime) -> ConfirmationPage | None:
    found = consent_queries.find_asked_address(tx, token.message_id)
    history = consent_queries.load_statements(tx, [found[0]]).get(found[0], ()) if found is not None else ()
    requests = find_requests(history)
    if found is None or not requests:
        return None
    suppressions = suppression_queries.load_suppressions(tx, [found[0]]).get(found[0], ())
    sender, address = unsubscribe.load_sender_name(ctx, tx, token), unsubscribe.mask_address(found[1])
    return ConfirmationPage(sender, address, found[0], requests[-1], may_mail(history, suppressions, None, now))
