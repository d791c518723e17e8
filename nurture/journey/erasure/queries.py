"""Delete or read personal data of a lead in the database. Ids, times and names from definitions are retained."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    JSON,
    ColumnElement,
    String,
    Table,
    and_,
    cast,
    delete,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    union,
    update,
)
from sqlmodel import AutoString

from nurture.db.metadata import metadata
from nurture.db.tables.accounts import lead_account
from nurture.db.tables.consent import consent_statement, open_tracking_consent, suppression
from nurture.db.tables.crm import crm_link, crm_record
from nurture.db.tables.delivery import message, message_mention
from nurture.db.tables.handoff import offer
from nurture.db.tables.inbound import inbound_mail, reply
from nurture.db.tables.inbound import provider_event as mail_event
from nurture.db.tables.inbound import tracking_request as visit
from nurture.db.tables.leads import address, identity, journal, lead
from nurture.db.tables.links import link_token as token
from nurture.db.tables.links import personal_link_destination as mail_destination
from nurture.db.tables.outcomes import outcome, outcome_report
from nurture.db.tables.routing import missing_field, routing_decision
from nurture.db.tables.signals import signal
from nurture.db.tables.tracks import audience_exclusion
from nurture.db.transaction import Transaction
from nurture.db.types import UtcDateTime
from nurture.journey.handoff.digest_emails import DIGEST
from nurture.journey.handoff.waiting.emails import WAITING_KIND
from nurture.runtime import public_links

_DELETED_TABLES: Final = (
    identity,
    reply,
    inbound_mail,
    open_tracking_consent,
    lead_account,
    routing_decision,
    missing_field,
    crm_link,
    audience_exclusion,
)
"""Tables whose rows of a lead are deleted."""

_ERASED_PREFIX: Final = literal("erased|")
_CLEARED_COLUMNS: Final[Sequence[tuple[Table, Mapping[str, Any]]]] = (
    (outcome, {"reason": ""}),
    (outcome_report, {"reason": "", "natural_key": _ERASED_PREFIX + cast(outcome_report.c.id, String)}),
    (crm_record, {"reason": null(), "crm_id": null()}),
    (journal, {"reason": "", "detail": null()}),
    (offer, {"handoff_reason": "", "routing_reason": "", "follow_up_method": null(), "stage": null(), "note": null()}),
)
"""Tables whose rows are retained without free texts and without ids of the lead in other systems."""

RETAINED_TABLES: Final = frozenset(
    {"custody", "enrollment", "message", "message_mention", "link_token", "queue_priority", "signal"}
)
"""Tables whose rows of a lead are retained, some changed: they contain ids, times and names from definitions."""

CLEARED_TABLES: Final = frozenset(
    target.name for target in (*_DELETED_TABLES, *(target for target, _ in _CLEARED_COLUMNS))
)

_DELETED_WHERE_MENTIONED: Final = frozenset(
    {"raw_batch", "idempotency_key", "identity", "personal_link_destination", "crm_link"}
)
"""Tables whose rows of other leads are deleted if they mention the address."""

_LISTS: Final = (WAITING_KIND, DIGEST.name)
"""The kinds of messages that list many leads, and belong to one of them."""

_KEPT_LINKS: Final = (public_links.UNSUBSCRIBE, public_links.QUEUES)

_NOT_SEARCHED: Final = frozenset({"address", "publication", "approval", "custody"})
"""Tables that contain definitions, generated texts, and the addresses themselves."""


class LeadAddress(NamedTuple):
    """The address of a lead: its id, as written, and normalized."""

    address_id: int
    email: str
    normalized: str


def load_address(tx: Transaction, lead_id: int) -> LeadAddress | None:
    """Return the address of a lead; None if it has none."""
    statement = select(address.c.id, address.c.email, address.c.normalized).join(lead).where(lead.c.id == lead_id)
    row = tx.execute(statement).one_or_none()
    return LeadAddress._make(row) if row is not None else None


def find_ambiguous(tx: Transaction, lead_ids: Iterable[int], normals: Iterable[str]) -> list[int]:
    """Return the leads of ambiguous rows that matched one of these leads or addresses."""
    ids, normals = {str(id_) for id_ in lead_ids}, set(normals)
    statement = select(lead.c.id, lead.c.fields).join(identity, identity.c.lead_id == lead.c.id)
    rows = tx.execute(statement.where(identity.c.is_ambiguous))
    return sorted(
        {
            id_
            for id_, fields in rows
            if fields.get("email") in normals or ids & set(str(fields.get("candidates")).split())
        }
    )


def erase_lead(tx: Transaction, lead_id: int, now: datetime) -> None:
    """Clear a lead's row, and delete or clear its rows in every other table.

    Its links are deleted except those to unsubscribe, and to the queues of a person; unsent messages are cancelled.
    """
    tx.execute(update(lead).where(lead.c.id == lead_id).values(**_CLEARED_LEAD, erased_at=now))
    mails = select(message.c.id).where(message.c.lead_id == lead_id)
    for target in (mail_destination, visit):
        tx.execute(delete(target).where(target.c.message_id.in_(mails)))
    for target in _DELETED_TABLES:
        tx.execute(delete(target).where(target.c.lead_id == lead_id))
    tx.execute(delete(token).where(token.c.lead_id == lead_id, token.c.purpose.not_in(_KEPT_LINKS)))
    _keep_unsubscribe_links(tx, lead_id, now)
    for target, values in _CLEARED_COLUMNS:
        tx.execute(update(target).where(target.c.lead_id == lead_id).values(values))
    statement = update(mail_event).where(mail_event.c.message_id.in_(mails))
    tx.execute(statement.values(reason="", provider_message_id=null()))
    _erase_messages(tx, lead_id, now)
    _erase_signals(tx, lead_id)


def _keep_unsubscribe_links(tx: Transaction, lead_id: int, now: datetime) -> None:
    """Replace the digests that verify all links of the lead's messages by those of their links to unsubscribe."""
    sent = (message.c.lead_id == lead_id, message.c.link_digest.is_not(None))
    purpose, at = literal(public_links.UNSUBSCRIBE), literal(now, UtcDateTime())
    kept = select(message.c.link_digest, purpose, message.c.lead_id, message.c.id, at).where(*sent)
    tx.execute(insert(token).from_select(["digest", "purpose", "lead_id", "message_id", "created_at"], kept))
    tx.execute(update(message).where(*sent).values(link_digest=None))


def _erase_messages(tx: Transaction, lead_id: int, now: datetime) -> None:
    """Cancel the lead's unsent messages. Lists of many leads stay planned: composed again, they lack this one."""
    statement = update(message).where(message.c.lead_id == lead_id)
    _recompose_mentions(tx, lead_id, now)
    not_sent = message.c.state.in_(("planned", "claimed")) & message.c.kind.not_in(_LISTS)
    cancelled = {"state": "cancelled", "state_at": now, "claimed_at": null(), "reason": "erased", "held_by": null()}
    tx.execute(statement.where(not_sent).values(**cancelled, lease_token=null(), lease_until=null()))
    # A server's reply may repeat the recipient.
    cleared = dict.fromkeys(("reason", "held_by", "topic", "provider_message_id"), null())
    tx.execute(statement.where(message.c.state != "cancelled").values(**cleared))


def _recompose_mentions(tx: Transaction, lead_id: int, now: datetime) -> None:
    """Take composed messages that name the lead, or list many leads, from their worker before they are sent."""
    named = select(message_mention.c.message_id).where(message_mention.c.lead_id == lead_id)
    is_list = (message.c.lead_id == lead_id) & message.c.kind.in_(_LISTS)
    claimed = update(message).where(message.c.state == "claimed", or_(message.c.id.in_(named), is_list))
    released = {"state": "planned", "state_at": now, "claimed_at": null(), "lease_token": null(), "lease_until": null()}
    tx.execute(claimed.values(released))


def _erase_signals(tx: Transaction, lead_id: int) -> None:
    """Clear posted data of signals; links and steps of tracks are kept, because definitions name them."""
    statement = update(signal).where(signal.c.lead_id == lead_id)
    tx.execute(statement.where(signal.c.source != "link").values(link=null()))
    tx.execute(statement.where(signal.c.message_id.is_(None)).values(track=null(), step=null()))
    key = _ERASED_PREFIX + cast(signal.c.id, String)
    tx.execute(statement.values(value=null(), natural_key=key, click_filter_key=null()))


_CLEARED_LEAD: Final[Mapping[str, object]] = {
    "address_id": None,
    "fields": {},
    "zone": "",
    "country": "",
    "consent_basis": None,
    "decides_on": None,
    "decides_stated_at": None,
    "call_on": None,
    "restated_fields": null(),
    "paused_until": None,
    "paused_at": None,
    "paused_by": None,
    "touch_interval_days": None,
}


def erase_address(tx: Transaction, address_id: int, address_hash: str) -> None:
    """Replace an address by its keyed hash, by which it is recognized if it is imported again."""
    tx.execute(update(address).where(address.c.id == address_id).values(email="", normalized=address_hash))
    tx.execute(update(suppression).where(suppression.c.address_id == address_id).values(evidence=null()))
    statements = update(consent_statement).where(consent_statement.c.address_id == address_id)
    tx.execute(statements.values(evidence="", wording=""))


PersonalRow = tuple[str, dict[str, Any]]
"""A row about a person: its primary key as text, and its columns by name."""


def load_personal_rows(tx: Transaction, lead_id: int | None, address_id: int | None) -> dict[str, list[PersonalRow]]:
    """Return every row that belongs to a lead, its address, messages or hand-offs, by table.

    Which tables these are follows from their columns, so a new table is included. Digests and leases of workers are
    left out: they say nothing about a person.
    """
    messages = select(message.c.id).where(message.c.lead_id == lead_id)
    offers = select(offer.c.id).where(offer.c.lead_id == lead_id)
    owners: Mapping[str, Callable[[ColumnElement[Any]], ColumnElement[bool]]] = {
        "lead_id": lambda column: column == lead_id,
        "address_id": lambda column: column == address_id,
        "message_id": lambda column: column.in_(messages),
        "offer_id": lambda column: column.in_(offers),
    }
    found = {}
    for target in metadata.sorted_tables:
        if target in (lead, address):
            belongs = target.c.id == (lead_id if target is lead else address_id)
        else:
            owner = next((name for name in owners if name in target.c), None)
            if owner is None:
                continue
            belongs = owners[owner](target.c[owner])
        rows = tx.execute(select(target).where(belongs).order_by(*target.primary_key)).mappings()
        keys = [column.name for column in target.primary_key]
        if personal := [("/".join(str(row[key]) for key in keys), _readable(row)) for row in rows]:
            found[target.name] = personal
    return found


def _readable(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the columns with a value; bytes are text that a person or server wrote."""
    hidden = ("digest", "link_digest", "lease_token", "lease_until")
    return {
        name: value.decode(errors="replace") if isinstance(value, bytes) else value
        for name, value in row.items()
        if value is not None and name not in hidden
    }


Mentions = Mapping[Table, Sequence[tuple[Any, ...]]]
"""The primary keys of rows that mention the person, by table."""


def find_mentions(tx: Transaction, spellings: Iterable[str]) -> Mentions:
    """Search every text column for the spellings of an address. Slow: it reads the whole database."""
    found: dict[Table, Sequence[tuple[Any, ...]]] = {}
    for target in metadata.sorted_tables:
        texts = _text_columns(target)
        if texts and target.name not in _NOT_SEARCHED:
            lowered = [func.lower(cast(text, String)) for text in texts]
            is_mentioned = or_(*(one.contains(each.lower(), autoescape=True) for one in lowered for each in spellings))
            keys = [tuple(row) for row in tx.execute(select(*target.primary_key).where(is_mentioned))]
            if keys:
                found[target] = keys
    return found


def _text_columns(target: Table) -> list[ColumnElement[Any]]:
    return [column for column in target.columns if isinstance(column.type, AutoString | JSON)]


def erase_mentions(tx: Transaction, found: Mentions, spellings: Iterable[str]) -> int:
    """Remove an address from the rows that mention it, or delete the rows; return the number of rows."""
    pattern = re.compile("|".join(map(re.escape, spellings)), re.IGNORECASE)
    count = 0
    for target, keys in found.items():
        for key in keys:
            same_row = and_(*(column == part for column, part in zip(target.primary_key, key, strict=True)))
            row = tx.execute(select(*_text_columns(target)).where(same_row)).one_or_none()
            values = dict(zip((one.name for one in _text_columns(target)), row or (), strict=row is not None))
            changed = {name: new for name, old in values.items() if (new := _without_matches(old, pattern)) != old}
            if not changed:
                continue  # already erased with the lead
            count += 1
            if target.name in _DELETED_WHERE_MENTIONED or (target is reply and "sender" in changed):
                tx.execute(delete(target).where(same_row))
            else:
                tx.execute(update(target).where(same_row).values(_allowed_values(target, changed)))
    return count


def _allowed_values(target: Table, changed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values to write: append-only logs accept only empty texts, and natural keys must stay unique."""
    if target.name in ("journal", "suppression", "consent_statement"):
        return {name: null() if target is suppression or name == "detail" else "" for name in changed}
    keys = {"natural_key": _ERASED_PREFIX + cast(target.c.id, String)} if "natural_key" in changed else {}
    return {**changed, **keys}


def _without_matches(value: Any, pattern: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return pattern.sub("[erased]", value)
    if isinstance(value, Mapping):  # the owner is a rep, and is retained
        return {name: one if name == "owner" else _without_matches(one, pattern) for name, one in value.items()}
    if isinstance(value, list):
        return [_without_matches(one, pattern) for one in value]
    return value


class SentMessage(NamedTuple):
    """A sent message about a lead: an email, or a notice to the notifier target in *email*."""

    send_key: str
    recipient: str
    email: str
    rep: str | None
    provider: str | None


def list_sent_messages(tx: Transaction, lead_ids: Sequence[int]) -> list[SentMessage]:
    """Return every message that may have been sent, and is about these leads or names one of them."""
    is_sent = message.c.state.not_in(("planned", "claimed", "cancelled"))
    named = select(message_mention.c.message_id).where(message_mention.c.lead_id.in_(lead_ids))
    statement = select(*(message.c[name] for name in SentMessage._fields)).where(
        or_(message.c.lead_id.in_(lead_ids), message.c.id.in_(named)), is_sent
    )
    return [SentMessage._make(row) for row in tx.execute(statement.order_by(message.c.id))]


def list_crm_records(tx: Transaction, lead_ids: Sequence[int]) -> list[tuple[str, str]]:
    """Return (CRM, record id) of the CRM records of these leads and their hand-offs."""
    both = [
        select(crm, target.c.crm_id).where(target.c.lead_id.in_(lead_ids), target.c.crm_id.is_not(None))
        for target, crm in ((crm_record, crm_record.c.provider), (crm_link, crm_link.c.crm))
    ]
    return sorted((row[0], row[1]) for row in tx.execute(union(*both)) if row[0])
