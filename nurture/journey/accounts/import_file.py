"""Accounts in files: one company a row, the same file again changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import Connection

from nurture.db.locks import Lock, acquire
from nurture.domain.plain_text import index_key
from nurture.domain.policy.policy import Policy
from nurture.domain.routing.account import AccountKind
from nurture.domain.routing.routing import ASKED_AGAIN
from nurture.errors import FileUnreadable, NotFound, Refused
from nurture.formats.columns import squash
from nurture.formats.csv_reader import CsvRows, open_rows
from nurture.formats.rejected_rows import BadRow, BadRowReport, report_path
from nurture.journey.accounts import queries
from nurture.journey.accounts.match.domains import company_domain, registrable
from nurture.journey.accounts.match.names import taken_apart
from nurture.journey.accounts.queries import AccountRow, NewAccount
from nurture.journey.leads import signal_queries
from nurture.runtime.context import House


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


_COLUMNS: Final[Mapping[str, frozenset[str]]] = {
    "id": _words("id accountid externalid recordid companyid accountnumber"),
    "name": _words("name accountname company companyname account firma organization organisation"),
    "domains": _words("domain domains website url companydomainname websiteurl emaildomain"),
    "owner": _words("owner accountowner ownername owneremail rep companyowner accountmanager"),
    "kind": _words("kind type accounttype recordtype lifecyclestage category"),
    "parent": _words("parent parentaccount parentid parentaccountid parentcompany ultimateparent"),
}
_KINDS: Final[Mapping[str, AccountKind]] = {
    **dict.fromkeys(
        _words("customer client kunde existingcustomer customerdirect customerchannel"), AccountKind.CUSTOMER
    ),
    **dict.fromkeys(
        _words("partner reseller channelpartner technologypartner distributor"), AccountKind.PARTNER
    ),
    **dict.fromkeys(_words("prospect lead target opportunity other former none"), AccountKind.PROSPECT),
    "": AccountKind.PROSPECT,
}


@dataclass
class AccountsImported:
    """What came of a file: *rows* = *new* + *changed* + *known* + *bad*; *report_path* holds the bad ones."""

    rows: int = 0
    new: int = 0
    changed: int = 0
    known: int = 0
    bad: int = 0
    report_path: Path | None = None
    notes: tuple[str, ...] = ()


class _Told(NamedTuple):
    """A row that was understood."""

    external_id: str
    name: str
    domains: list[str]
    owner: str
    kind: AccountKind
    parent: str


def import_accounts(
    house: House, path: Path, now: datetime, *, source: str = "file", report: Path | None = None
) -> AccountsImported:
    """Bring in the companies of the CSV at *path*, all or none; none is ever removed.

    An account is known again by *source* and its id, or by its name where the file has no ids. Bad rows go to
    *report* (default: beside the file). Raises FileUnreadable.
    """
    report = report_path(path, report)
    done, source = AccountsImported(), index_key(source)
    with open_rows(path, lambda cells: "name" in _places(cells)) as file:
        places = _places(file.header)
        if "name" not in places:
            raise FileUnreadable(f"{path} has no column with the names of accounts; call it `name`.")
        with BadRowReport(report, file.header) as bad, house.database.write() as connection:
            acquire(house.database, connection, Lock.INTAKE)
            owners = _owners(house, connection)
            told = _understood(file, places, owners, bad)
            _write(house, connection, source, told, done, now)
            done.bad, done.report_path = bad.count, bad.path if bad.count else None
    done.rows = done.new + done.changed + done.known + done.bad
    strangers = sorted({one.owner for one in told.values()} - set(owners.values()) - {""})
    if strangers:
        some = f"{', '.join(strangers[:3])}{', ...' if len(strangers) > 3 else ''}"
        done.notes = (f"Owners who are no reps of the policy, and so get no leads: {some}.",)
    return done


def _places(header: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for place, cell in enumerate(header):
        for field, names in _COLUMNS.items():
            if squash(cell) in names:
                found.setdefault(field, place)
    return found


def _owners(house: House, connection: Connection) -> dict[str, str]:
    """Return the rep's id by whatever the file may call them: id, name or address."""
    try:
        policy: Policy = house.rulebooks.current(connection).policy
    except NotFound:  # accounts may come before the rules
        return {}
    return {told.casefold(): rep.id for rep in policy.reps for told in (rep.name, rep.email, rep.id)}


def _understood(
    file: CsvRows, places: Mapping[str, int], owners: Mapping[str, str], bad: BadRowReport
) -> dict[str, _Told]:
    """Return the rows that can be read, by external id; the others go to *bad*."""
    found: dict[str, _Told] = {}
    for row in file:
        if isinstance(row, BadRow):
            bad.add(row)
            continue
        line, cells = row
        try:
            told = _told({field: cells[place].strip() for field, place in places.items()}, owners)
        except Refused as fault:
            bad.add(BadRow.of(line, str(fault), cells))
            continue
        if told.external_id in found:
            twice = f"the account {told.external_id} stands in the file twice; keep one of the rows"
            bad.add(BadRow.of(line, twice, cells))
        else:
            found[told.external_id] = told
    return found


def _told(cells: Mapping[str, str], owners: Mapping[str, str]) -> _Told:
    name = " ".join(cells["name"].split())
    if not name or not taken_apart(name).full:
        raise Refused("the account has no name")
    kind = _KINDS.get(squash(cells.get("kind", "")))
    if kind is None:
        raise Refused(f"{cells['kind']!r} is no kind of account; write customer, prospect or partner")
    owner = cells.get("owner", "")
    return _Told(
        index_key(cells.get("id", "") or taken_apart(name).full),
        name,
        _domains(cells.get("domains", "")),
        owners.get(owner.casefold(), owner),
        kind,
        cells.get("parent", ""),
    )


def _domains(told: str) -> list[str]:
    found: list[str] = []
    for part in told.replace(";", " ").replace(",", " ").replace("|", " ").split():
        if not registrable(part):
            raise Refused(f"{part!r} is not a company's domain; write for example contoso.example")
        domain = company_domain(part)
        if domain and domain not in found:  # mail for everybody says nothing of a company
            found.append(domain)
    return found


def _write(
    house: House,
    connection: Connection,
    source: str,
    told: Mapping[str, _Told],
    done: AccountsImported,
    now: datetime,
) -> None:
    known = queries.known(connection, source)
    rows = {
        key: NewAccount(source, key, one.name, one.domains, one.owner, one.kind.value, now, now)
        for key, one in told.items()
    }
    new = [row for key, row in rows.items() if key not in known]
    changed = [row for key, row in rows.items() if key in known and _differs(row, known[key])]
    queries.add(house.database, connection, new)
    queries.change(house.database, connection, changed)
    done.new, done.changed = len(new), len(changed)
    done.known = len(rows) - len(new) - len(changed)
    _adopt(house, connection, source, told, now)
    if new or changed:
        signal_queries.ask_again(house.database, connection, ASKED_AGAIN, now)


def _differs(row: NewAccount, old: AccountRow) -> bool:
    return (row.name, row.domains, row.owner, row.kind) != (old.name, old.domains, old.owner, old.kind)


def _adopt(
    house: House, connection: Connection, source: str, told: Mapping[str, _Told], now: datetime
) -> None:
    """Write who belongs to whom; a parent is named by its id or by its name."""
    known = queries.known(connection, source)
    by_name = {row.name.casefold(): row for row in known.values()}
    parents = []
    for key, one in told.items():
        parent = known.get(index_key(one.parent)) or by_name.get(one.parent.casefold())
        parent_id = parent.id if parent is not None and parent.id != known[key].id else None
        if parent_id != known[key].parent_id:
            parents.append((known[key].id, parent_id))
    queries.adopt(house.database, connection, parents, now)
