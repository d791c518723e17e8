"""Take everything out of the database that tells who a lead is. Numbers, times and rules stay."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from sqlite3 import OperationalError
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    String,
    Table,
    and_,
    cast,
    delete,
    func,
    literal,
    null,
    or_,
    select,
    union,
    update,
)
from sqlmodel import AutoString, SQLModel

from nurture.db.engine import BUSY_TIMEOUT_MS, Database
from nurture.db.tables import core, crm, engagement, sales


def _table(model: type[SQLModel]) -> Table:
    found: Table = model.__table__  # type: ignore[attr-defined]
    return found


address, identity, lead = _table(core.Address), _table(core.Identity), _table(core.Lead)
message, signal, token = _table(core.Message), _table(core.Signal), _table(core.Token)
reply, visit = _table(engagement.Reply), _table(engagement.Visit)
mail_event = _table(engagement.MailEvent)
mail_destination = _table(engagement.MailDestination)
suppression = _table(core.Suppression)
crm_link, crm_record = _table(crm.CrmLink), _table(crm.CrmRecord)

_ROWS: Final = (
    identity,
    reply,
    _table(engagement.InboundMail),
    _table(engagement.OpenConsent),
    _table(sales.LeadAccount),
    _table(sales.Routing),
    _table(sales.FactWanted),
    crm_link,
)
"""Tables whose rows of a lead go."""

_ERASED: Final = literal("erased|")
_WORDS: Final[Sequence[tuple[Table, Mapping[str, Any]]]] = (
    (_table(core.Outcome), {"reason": ""}),
    (
        _table(crm.OutcomeTold),
        {"reason": "", "natural_key": _ERASED + cast(_table(crm.OutcomeTold).c.id, String)},
    ),
    (crm_record, {"reason": null(), "crm_id": null()}),
    (_table(core.Journal), {"because": "", "detail": null()}),
    (_table(core.Offer), {"because": "", "routed_because": "", "followed_how": null()}),
)
"""Tables whose rows stay, but not what somebody wrote, nor the names of the lead in other systems."""

KEPT: Final = frozenset({"custody", "enrollment", "message", "token", "urgency", "signal"})
"""Tables whose rows of a lead stay, some of them changed: they hold ids, times, and words of the rules."""

EMPTIED: Final = frozenset(table.name for table in (*_ROWS, *(table for table, _ in _WORDS)))

_DELETED: Final = frozenset({"raw_batch", "api_answer", "identity", "mail_destination", "crm_link"})
"""Tables whose rows go where they mention an address of somebody else's lead."""

_NOT_SEARCHED: Final = frozenset({"address", "publication", "approval", "custody"})
"""Tables that hold what authors wrote, our own words, and the addresses themselves."""


class Names(NamedTuple):
    """The address of a lead: its id, as it was written, and normalised."""

    address_id: int
    email: str
    normal: str


def names_of(connection: Connection, lead_id: int) -> Names | None:
    """Return the address of a lead; None if it has none."""
    wanted = select(address.c.id, address.c.email, address.c.normal).join(lead).where(lead.c.id == lead_id)
    row = connection.execute(wanted).one_or_none()
    return Names._make(row) if row is not None else None


def doubtful(connection: Connection, lead_ids: Iterable[int], normals: Iterable[str]) -> list[int]:
    """Return the leads that may be one of these: a file named it by one's id and by another's address."""
    ids, normals = {str(id_) for id_ in lead_ids}, set(normals)
    wanted = select(lead.c.id, lead.c.facts).join(identity, identity.c.lead_id == lead.c.id)
    rows = connection.execute(wanted.where(identity.c.source.startswith("ambiguous ")))
    return sorted(
        {
            id_
            for id_, facts in rows
            if facts.get("email") in normals or ids & set(str(facts.get("candidates")).split())
        }
    )


def erase_lead(connection: Connection, lead_id: int, now: datetime) -> None:
    """Empty a lead's row for good, and take from every other table what tells of it.

    Its links end, but for those to unsubscribe; mail that has not gone never goes.
    """
    connection.execute(update(lead).where(lead.c.id == lead_id).values(**_UNKNOWN, erased_at=now))
    mails = select(message.c.id).where(message.c.lead_id == lead_id)
    for table in (mail_destination, visit):
        connection.execute(delete(table).where(table.c.message_id.in_(mails)))
    for table in _ROWS:
        connection.execute(delete(table).where(table.c.lead_id == lead_id))
    connection.execute(delete(token).where(token.c.lead_id == lead_id, token.c.purpose != "unsubscribe"))
    for table, words in _WORDS:
        connection.execute(update(table).where(table.c.lead_id == lead_id).values(words))
    told = update(mail_event).where(mail_event.c.message_id.in_(mails))
    connection.execute(told.values(reason="", provider_message=null()))
    _erase_messages(connection, lead_id, now)
    _erase_signals(connection, lead_id)


def _erase_messages(connection: Connection, lead_id: int, now: datetime) -> None:
    mine = update(message).where(message.c.lead_id == lead_id)
    waiting = message.c.state.in_(("planned", "claimed"))
    called_off = {"state": "cancelled", "state_at": now, "claimed_at": null(), "reason": "erased"}
    connection.execute(mine.where(waiting).values(**called_off, lease_token=null(), lease_until=null()))
    # What a server answered may repeat whom the mail was for.
    connection.execute(mine.where(message.c.state != "cancelled").values(reason=null(), provider_id=null()))


def _erase_signals(connection: Connection, lead_id: int) -> None:
    """Take what was sent out of signals; links and steps of our own mail are named by their template."""
    mine = update(signal).where(signal.c.lead_id == lead_id)
    connection.execute(mine.where(signal.c.source != "link").values(link=null()))
    connection.execute(mine.where(signal.c.message_id.is_(None)).values(track=null(), step=null()))
    key = _ERASED + cast(signal.c.id, String)
    connection.execute(mine.values(value=null(), natural_key=key, judged_under=null()))


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
    "paused_until": None,
    "paused_at": None,
    "paused_by": None,
    "pace_days": None,
}


def erase_address(connection: Connection, address_id: int, mark: str) -> None:
    """Leave of an address a mark alone, by which it is known should it come in again."""
    connection.execute(update(address).where(address.c.id == address_id).values(email="", normal=mark))
    connection.execute(
        update(suppression).where(suppression.c.address_id == address_id).values(evidence=null())
    )


Mentions = Mapping[Table, Sequence[tuple[Any, ...]]]
"""The primary keys of rows that mention somebody, by table."""


def mentions(connection: Connection, spellings: Iterable[str]) -> Mentions:
    """Search every text of every table for the spellings of an address. Slow: it reads the whole database."""
    found: dict[Table, Sequence[tuple[Any, ...]]] = {}
    for table in core.metadata.sorted_tables:
        texts = _texts(table)
        if texts and table.name not in _NOT_SEARCHED:
            said = [func.lower(cast(text, String)) for text in texts]
            named = or_(*(one.contains(each.lower(), autoescape=True) for one in said for each in spellings))
            keys = [tuple(row) for row in connection.execute(select(*table.primary_key).where(named))]
            if keys:
                found[table] = keys
    return found


def _texts(table: Table) -> list[ColumnElement[Any]]:
    return [column for column in table.columns if isinstance(column.type, AutoString | JSON)]


def erase_mentions(connection: Connection, found: Mentions, spellings: Iterable[str]) -> int:
    """Take an address out of the rows that mention it, or delete them; return how many rows that was."""
    pattern = re.compile("|".join(map(re.escape, spellings)), re.IGNORECASE)
    count = 0
    for table, keys in found.items():
        for key in keys:
            mine = and_(*(column == part for column, part in zip(table.primary_key, key, strict=True)))
            row = connection.execute(select(*_texts(table)).where(mine)).one_or_none()
            said = dict(zip((one.name for one in _texts(table)), row or (), strict=row is not None))
            changed = {name: new for name, old in said.items() if (new := _without(old, pattern)) != old}
            if not changed:
                continue  # it went with its lead
            count += 1
            if table.name in _DELETED or (table is reply and "sender" in changed):
                connection.execute(delete(table).where(mine))
            else:
                connection.execute(update(table).where(mine).values(_allowed(table, changed)))
    return count


def _allowed(table: Table, changed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what may be written: a log takes no other words than none, and a key stays one of a kind."""
    if table.name in ("journal", "suppression"):
        return {name: "" if name == "because" else null() for name in changed}
    keys = {"natural_key": _ERASED + cast(table.c.id, String)} if "natural_key" in changed else {}
    return {**changed, **keys}


def _without(value: Any, pattern: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return pattern.sub("[erased]", value)
    if isinstance(value, Mapping):  # the owner is a colleague of ours, and stays
        return {name: one if name == "owner" else _without(one, pattern) for name, one in value.items()}
    if isinstance(value, list):
        return [_without(one, pattern) for one in value]
    return value


class Carried(NamedTuple):
    """What went about a lead to somebody: by mail, or as a notice to the place that *email* names."""

    send_key: str
    kind: str
    email: str
    rep: str | None
    provider: str | None


def carried(connection: Connection, lead_ids: Sequence[int]) -> list[Carried]:
    """Return every message about these leads that may have gone."""
    gone = message.c.state.not_in(("planned", "claimed", "cancelled"))
    wanted = select(*(message.c[name] for name in Carried._fields)).where(
        message.c.lead_id.in_(lead_ids), gone
    )
    return [Carried._make(row) for row in connection.execute(wanted.order_by(message.c.id))]


def crm_records(connection: Connection, lead_ids: Sequence[int]) -> list[tuple[str, str]]:
    """Return (CRM, id there) of the records that hold these leads, or a hand-off of one."""
    both = [
        select(table.c.crm, table.c.crm_id).where(table.c.lead_id.in_(lead_ids), table.c.crm_id.is_not(None))
        for table in (crm_record, crm_link)
    ]
    return sorted((row[0], row[1]) for row in connection.execute(union(*both)) if row[0])


def overwrite_freed(database: Database) -> bool:
    """Leave no copy of what was deleted in SQLite's file and its log; return whether that was possible.

    Where a page was split, copies of rows that were moved stay behind although `secure_delete` is on
    (measured: of 1 in 100 rows), so the file is written anew. Others may hold it up, or the disk be full.
    """
    if not database.is_sqlite:
        return False
    connection = database.engine.raw_connection()
    cursor = connection.cursor()
    try:
        cursor.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}")
        cursor.execute("VACUUM")
        (busy, *_) = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except OperationalError:
        return False
    finally:
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.close()
    return not busy


_PATIENCE_MS: Final = 2_000
