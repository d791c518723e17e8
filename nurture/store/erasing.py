"""Take everything out of the database that tells who a lead is. Numbers, times and rules stay."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, String, Table, cast, delete, func, literal, or_, select, update
from sqlmodel import SQLModel

from nurture.store import crm_tables, listening_tables, sales_tables, tables


def _table(model: type[SQLModel]) -> Table:
    found: Table = model.__table__  # type: ignore[attr-defined]
    return found


address, lead, message = _table(tables.Address), _table(tables.Lead), _table(tables.Message)
signal, visit = _table(tables.Signal), _table(listening_tables.Visit)
raw_batch, api_answer = _table(listening_tables.RawBatch), _table(listening_tables.ApiAnswer)
crm_record = _table(crm_tables.CrmRecord)
mail_destination = _table(listening_tables.MailDestination)

_ROWS: Final = (
    _table(tables.Identity),
    _table(listening_tables.Reply),
    _table(listening_tables.InboundMail),
    _table(listening_tables.OpenConsent),
    _table(sales_tables.LeadAccount),
    _table(sales_tables.Routing),
    _table(sales_tables.FactWanted),
    _table(crm_tables.CrmLink),
)
"""Tables whose rows of a lead go."""

_WORDS: Final = (_table(tables.Outcome), _table(crm_tables.OutcomeTold))
"""Tables whose rows stay, but not what somebody wrote as the reason."""

KEPT: Final = frozenset(
    {"custody", "enrollment", "message", "journal", "offer", "token", "crm_record", "urgency", "signal"}
)
"""Tables whose rows of a lead stay: they hold ids, times, and words of the rules."""

EMPTIED: Final = frozenset(table.name for table in (*_ROWS, *_WORDS))


def names_of(connection: Connection, lead_id: int) -> tuple[int, str, str] | None:
    """Return the address id of a lead, and both spellings of the address; None if it has none."""
    wanted = select(address.c.id, address.c.email, address.c.normal).join(lead).where(lead.c.id == lead_id)
    row = connection.execute(wanted).one_or_none()
    return (row[0], row[1], row[2]) if row is not None else None


def erase_lead(connection: Connection, lead_id: int, now: datetime) -> None:
    """Empty a lead's row for good, and take from every other table what tells of it."""
    mails = select(message.c.id).where(message.c.lead_id == lead_id)
    for table in (mail_destination, visit):
        connection.execute(delete(table).where(table.c.message_id.in_(mails)))
    for table in _ROWS:
        connection.execute(delete(table).where(table.c.lead_id == lead_id))
    for table in _WORDS:
        connection.execute(update(table).where(table.c.lead_id == lead_id).values(reason=""))
    # What a CRM answered may repeat what it was told.
    connection.execute(update(crm_record).where(crm_record.c.lead_id == lead_id).values(reason=None))
    # A signal's key and value repeat what was sent. Links of our own are named by their template.
    others = (signal.c.lead_id == lead_id) & (signal.c.source != "link")
    connection.execute(update(signal).where(others).values(link=None))
    key = literal("erased|") + cast(signal.c.id, String)
    mine = update(signal).where(signal.c.lead_id == lead_id)
    connection.execute(mine.values(value=None, natural_key=key, judged_under=None))
    connection.execute(update(lead).where(lead.c.id == lead_id).values(**_UNKNOWN, erased_at=now))


_UNKNOWN: Final[Mapping[str, object]] = {
    "address_id": None,
    "facts": {},
    "zone": "",
    "country": "",
    "basis": None,
    "basis_source": None,
    "decides_on": None,
    "decides_stated_at": None,
    "call_on": None,
}


def erase_address(connection: Connection, address_id: int, mark: str) -> None:
    """Leave of an address a mark alone, by which it is known should it come in again."""
    connection.execute(update(address).where(address.c.id == address_id).values(email="", normal=mark))


def erase_mentions(connection: Connection, spellings: set[str]) -> int:
    """Delete what was kept word for word and mentions an address; return how many rows that was."""
    count = 0
    for table, words in ((raw_batch, raw_batch.c.body), (api_answer, api_answer.c.answer)):
        mentions = [func.lower(words).contains(one.lower(), autoescape=True) for one in sorted(spellings)]
        count += connection.execute(delete(table).where(or_(*mentions))).rowcount
    return count
