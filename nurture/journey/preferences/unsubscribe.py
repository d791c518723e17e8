"""Unsubscribe a lead by a public link, and load what the page shows."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select

from nurture.db.tables.delivery import message
from nurture.db.tables.leads import address as _address
from nurture.db.tables.leads import lead
from nurture.db.transaction import Transaction
from nurture.domain.consent.suppression import SuppressionScope, SuppressionSource
from nurture.domain.planning.program import Program
from nurture.domain.signals import SignalKind
from nurture.journey.engagement import signals
from nurture.journey.leads import suppression_queries
from nurture.journey.leads.signal_queries import NewSignal
from nurture.runtime.context import AppContext
from nurture.runtime.link_queries import TokenRecord
from nurture.runtime.public_links import digest

SOURCE: Final = "link"
"""The source of signals that public links record."""


@dataclass(frozen=True, slots=True)
class UnsubscribePage:
    """The data of the unsubscribe page. *address* is masked, because recipients of a forwarded email see it too."""

    sender: str
    address: str
    unsubscribed: bool


def load_page(ctx: AppContext, token: TokenRecord) -> UnsubscribePage:
    """Return the data of the unsubscribe page."""
    with ctx.database.read() as tx:
        address_id, email = _load_address(tx, token.lead_id)
        return UnsubscribePage(load_sender_name(ctx, tx, token), mask_address(email), _is_unsubscribed(tx, address_id))


def unsubscribe(
    ctx: AppContext,
    raw_token: str,
    token: TokenRecord,
    now: datetime,
    *,
    by: SuppressionSource = SuppressionSource.ONE_CLICK,
) -> None:
    """Suppress all mail to the lead's address. A link counts once, and again after a later opt-in."""
    signal = link_signal(ctx, token, SignalKind.UNSUBSCRIBED, f"unsubscribe|{digest(raw_token)}", now)
    signals.record(ctx, [signal._replace(value=by.value)], now)


def mask_address(email: str) -> str:
    """Return a masked address, which its owner recognizes but nobody else can use."""
    name, separator, domain = email.rpartition("@")
    return f"{name[:1]}•••{separator}{domain}" if separator else ""


def link_signal(ctx: AppContext, token: TokenRecord, kind: SignalKind, natural_key: str, now: datetime) -> NewSignal:
    """Return a signal that the lead gives by a link, attributed to the touch of the link."""
    signal = NewSignal(token.lead_id, kind.value, now, now, natural_key, SOURCE)
    touch = select(message.c.enrollment_id, message.c.track, message.c.step).where(message.c.id == token.message_id)
    with ctx.database.read() as tx:
        row = tx.execute(touch).one_or_none()
    if row is None:
        return signal
    return signal._replace(enrollment_id=row.enrollment_id, track=row.track, step=row.step, message_id=token.message_id)


def _load_address(tx: Transaction, lead_id: int) -> tuple[int | None, str]:
    statement = select(_address.c.id, _address.c.email).join(lead).where(lead.c.id == lead_id)
    row = tx.execute(statement).one_or_none()
    return (row.id, row.email) if row is not None else (None, "")


def _is_unsubscribed(tx: Transaction, address_id: int | None) -> bool:
    if address_id is None:
        return False
    # A bounce is not an opt-out: the lead must be able to opt out, because the bounce can be lifted.
    suppressions = suppression_queries.load_suppressions(tx, [address_id]).get(address_id, ())
    return any(
        one.scope is SuppressionScope.GLOBAL and one.source is not SuppressionSource.BOUNCE for one in suppressions
    )


def load_sender_name(ctx: AppContext, tx: Transaction, token: TokenRecord) -> str:
    """Return the sender of the email with the link, "" if it is no longer known."""
    program = load_program(ctx, tx, token)
    return program.sender.name if program is not None else ""


def load_program(ctx: AppContext, tx: Transaction, token: TokenRecord) -> Program | None:
    """Return the track version of the email with the link, None if it is no longer known."""
    sent = select(message.c.track, message.c.track_version).where(message.c.id == token.message_id)
    row = tx.execute(sent).one_or_none()
    if row is None or row.track is None or row.track_version is None:
        return None
    return ctx.definitions.program(tx, row.track, row.track_version)
