"""Which account a lead belongs to: see the candidates, settle it, and route the lead at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from nurture.domain.lead import Custodian, Queue
from nurture.domain.routing.routing import OWNER_GONE, UNSURE
from nurture.errors import NotFound
from nurture.journey.accounts import queries
from nurture.journey.accounts.index_cache import current_index
from nurture.journey.accounts.queries import AccountRow, Linked
from nurture.journey.leads import origin_queries, snapshot
from nurture.journey.leads.transitions import Mover
from nurture.runtime.context import House

_WAITING: Final = frozenset({UNSURE, OWNER_GONE})


@dataclass(frozen=True, slots=True)
class AccountShown:
    """An account, and how many leads belong to it."""

    id: int
    name: str
    owner: str
    kind: str
    domains: tuple[str, ...]
    parent: int | None
    source: str
    external_id: str
    leads: int


@dataclass(frozen=True, slots=True)
class Choice:
    """To which account a lead belongs, or may belong; *settled* tells that a person said so."""

    lead: int
    because: str
    settled: bool
    account: AccountShown | None
    candidates: tuple[AccountShown, ...]


def listing(house: House, named: str = "") -> list[AccountShown]:
    """Return the accounts whose name or domain contains *named*, in the order of their names."""
    wanted = named.casefold()
    with house.database.read() as connection:
        counts = queries.counts(connection)
        rows = queries.everything(connection)
    found = [
        row for row in rows if wanted in row.name.casefold() or any(wanted in one for one in row.domains)
    ]
    return [_shown(row, counts.get(row.id, 0)) for row in sorted(found, key=lambda row: row.name.casefold())]


def choice(house: House, lead_id: int) -> Choice:
    """Return to which account a lead belongs, by what was settled or else by what matches now."""
    with house.database.read() as connection:
        linked = queries.linked(house.database, connection, [lead_id]).get(lead_id)
        counts = queries.counts(connection)
        if linked is not None:
            ids = [linked.account_id] if linked.account_id is not None else []
            rows = queries.find(house.database, connection, ids)
            own = _shown(rows[ids[0]], counts.get(ids[0], 0)) if ids else None
            return Choice(lead_id, linked.because, linked.how == "settled", own, ())
        origin = origin_queries.origins(house.database, connection, [lead_id]).get(lead_id)
        facts = origin_queries.facts_of(connection, lead_id)
        match = current_index(house.account_index, connection).match(
            (origin.email if origin is not None else "") or "",
            str(facts.get("company") or ""),
            str(facts.get("website") or ""),
        )
        named = [match.account] if match.account is not None else list(match.candidates)
        rows = queries.find(house.database, connection, [one.id for one in named])
    shown = tuple(_shown(rows[one.id], counts.get(one.id, 0)) for one in named)
    if match.account is not None:
        return Choice(lead_id, match.because, False, shown[0], ())
    return Choice(lead_id, match.because, False, None, shown)


def settle(house: House, lead_id: int, account_id: int | None, now: datetime) -> None:
    """Say to which account a lead belongs, None for none; if it waited for that, it is routed at once.

    Raises NotFound if there is no such account, or no such lead.
    """
    with house.database.write() as connection:
        if account_id is not None and not queries.find(house.database, connection, [account_id]):
            raise NotFound(f"There is no account {account_id}. `nurture leads accounts list` lists them.")
        rows = snapshot.these(house.database, connection, [lead_id])
        if not rows:
            raise NotFound(f"There is no lead {lead_id}. `nurture leads list` lists them.")
        mover = Mover(house.rulebooks.current(connection), now, "hand off")
        (lead,) = snapshot.views(house.database, connection, rows, now, house.holidays)
        because = (
            f"it belongs to account {account_id}" if account_id is not None else "it belongs to no account"
        )
        queries.settle(
            house.database,
            connection,
            Linked(lead_id, account_id, "settled", "somebody said so", now),
        )
        moved = None
        if lead.view.custodian is Custodian.QUEUE and lead.ref in _WAITING:
            moved = mover.keep(lead, Custodian.QUEUE, Queue.HAND_OFF, "offer to a rep", now)
        mover.note(lead, "account", f"somebody said: {because}", moved, ref=str(account_id or ""))
        mover.changes.write(house.database, connection, now)


def _shown(row: AccountRow, count: int) -> AccountShown:
    return AccountShown(
        row.id,
        row.name,
        row.owner,
        row.kind,
        tuple(row.domains),
        row.parent_id,
        row.source,
        row.external_id,
        count,
    )
