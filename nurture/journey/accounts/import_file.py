"""Import a file of accounts, one company per row. Imports can be repeated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from nurture.db.locks import Lock, acquire
from nurture.db.transaction import Transaction
from nurture.domain.plain_text import index_key
from nurture.domain.policy.policy import Policy
from nurture.domain.routing.account import AccountKind
from nurture.domain.routing.routing import REROUTED_QUEUES
from nurture.errors import FileUnreadable, InvalidState, NotFound
from nurture.formats.columns import normalize_name
from nurture.formats.csv_reader import CsvRows, open_rows
from nurture.formats.rejected_rows import BadRow, BadRowReport, choose_report_path
from nurture.journey.accounts import queries
from nurture.journey.accounts.match.domains import company_domain, registrable_domain
from nurture.journey.accounts.match.names import parse_name
from nurture.journey.accounts.queries import AccountRow, NewAccount
from nurture.journey.leads import signal_queries
from nurture.runtime.context import AppContext


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
    **dict.fromkeys(_words("partner reseller channelpartner technologypartner distributor"), AccountKind.PARTNER),
    **dict.fromkeys(_words("prospect lead target opportunity other former none"), AccountKind.PROSPECT),
    "": AccountKind.PROSPECT,
}


@dataclass
class AccountImportResult:
    """The result of an import: *rows* = *new* + *updated* + *unchanged* + *rejected* (in *report_path*)."""

    rows: int = 0
    new: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    report_path: Path | None = None
    notes: tuple[str, ...] = ()


class _ParsedAccount(NamedTuple):
    """A valid row."""

    external_id: str
    name: str
    domains: list[str]
    owner: str
    kind: AccountKind
    parent: str


def import_accounts(
    ctx: AppContext, path: Path, now: datetime, *, source: str = "file", report: Path | None = None
) -> AccountImportResult:
    """Import the accounts of the CSV file at *path* in one transaction; no account is ever deleted.

    An account is identified by *source* and its id, or by its name if the file has no ids. Rejected rows go to
    *report*, by default next to the file. Raises FileUnreadable.
    """
    report = choose_report_path(path, report)
    result, source = AccountImportResult(), index_key(source)
    with open_rows(path, lambda cells: "name" in _find_columns(cells)) as file:
        columns = _find_columns(file.header)
        if "name" not in columns:
            raise FileUnreadable(f"{path} has no column with account names; name it `name`.")
        with BadRowReport(report, file.header) as bad, ctx.database.write() as tx:
            acquire(tx, Lock.INTAKE)
            rep_ids = _rep_ids(ctx, tx)
            parsed = _parse_rows(file, columns, rep_ids, bad)
            _write(tx, source, parsed, result, now)
            result.rejected, result.report_path = bad.count, bad.path if bad.count else None
    result.rows = result.new + result.updated + result.unchanged + result.rejected
    unknown_owners = sorted({one.owner for one in parsed.values()} - set(rep_ids.values()) - {""})
    if unknown_owners:
        some = f"{', '.join(unknown_owners[:3])}{', ...' if len(unknown_owners) > 3 else ''}"
        result.notes = (f"Owners who are not reps in the policy get no leads: {some}.",)
    return result


def _find_columns(header: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for index, cell in enumerate(header):
        for field, names in _COLUMNS.items():
            if normalize_name(cell) in names:
                found.setdefault(field, index)
    return found


def _rep_ids(ctx: AppContext, tx: Transaction) -> dict[str, str]:
    """Return rep ids by each spelling that the file may use: id, name or email address."""
    try:
        policy: Policy = ctx.definitions.current(tx).policy
    except NotFound:  # accounts may be imported before a policy is published
        return {}
    return {label.casefold(): rep.id for rep in policy.reps for label in (rep.name, rep.email, rep.id)}


def _parse_rows(
    file: CsvRows, columns: Mapping[str, int], rep_ids: Mapping[str, str], bad: BadRowReport
) -> dict[str, _ParsedAccount]:
    """Return the valid rows, by external id; the others go to *bad*."""
    found: dict[str, _ParsedAccount] = {}
    for row in file:
        if isinstance(row, BadRow):
            bad.add(row)
            continue
        line, cells = row
        try:
            parsed = _parse_row({field: cells[index].strip() for field, index in columns.items()}, rep_ids)
        except InvalidState as error:
            bad.add(BadRow.trimmed(line, str(error), cells))
            continue
        if parsed.external_id in found:
            message = f"the account {parsed.external_id} is in the file twice; keep one of the rows"
            bad.add(BadRow.trimmed(line, message, cells))
        else:
            found[parsed.external_id] = parsed
    return found


def _parse_row(cells: Mapping[str, str], rep_ids: Mapping[str, str]) -> _ParsedAccount:
    name = " ".join(cells["name"].split())
    if not name or not parse_name(name).full:
        raise InvalidState("the account has no name")
    kind = _KINDS.get(normalize_name(cells.get("kind", "")))
    if kind is None:
        raise InvalidState(f"{cells['kind']!r} is not a kind of account; write customer, prospect or partner")
    owner = cells.get("owner", "")
    return _ParsedAccount(
        index_key(cells.get("id", "") or parse_name(name).full),
        name,
        _parse_domains(cells.get("domains", "")),
        rep_ids.get(owner.casefold(), owner),
        kind,
        cells.get("parent", ""),
    )


def _parse_domains(text: str) -> list[str]:
    found: list[str] = []
    for part in text.replace(";", " ").replace(",", " ").replace("|", " ").split():
        if not registrable_domain(part):
            raise InvalidState(f"{part!r} is not a company domain; write for example contoso.example")
        domain = company_domain(part)
        if domain and domain not in found:  # a free mail domain does not identify a company
            found.append(domain)
    return found


def _write(
    tx: Transaction, source: str, parsed: Mapping[str, _ParsedAccount], result: AccountImportResult, now: datetime
) -> None:
    known = queries.load_by_external_id(tx, source)
    rows = {
        key: NewAccount(source, key, one.name, one.domains, one.owner, one.kind.value, now, now)
        for key, one in parsed.items()
    }
    new = [row for key, row in rows.items() if key not in known]
    changed = [row for key, row in rows.items() if key in known and _differs(row, known[key])]
    queries.insert_accounts(tx, new)
    queries.update_accounts(tx, changed)
    result.new, result.updated = len(new), len(changed)
    result.unchanged = len(rows) - len(new) - len(changed)
    _write_parents(tx, source, parsed, now)
    if new or changed:
        signal_queries.make_queues_due(tx, REROUTED_QUEUES, now)


def _differs(row: NewAccount, old: AccountRow) -> bool:
    return (row.name, row.domains, row.owner, row.kind) != (old.name, old.domains, old.owner, old.kind)


def _write_parents(tx: Transaction, source: str, parsed: Mapping[str, _ParsedAccount], now: datetime) -> None:
    """Set the parents of accounts; a row refers to its parent by id or name."""
    known = queries.load_by_external_id(tx, source)
    by_name = {row.name.casefold(): row for row in known.values()}
    parents = []
    for key, one in parsed.items():
        parent = known.get(index_key(one.parent)) or by_name.get(one.parent.casefold())
        parent_id = parent.id if parent is not None and parent.id != known[key].id else None
        if parent_id != known[key].parent_id:
            parents.append((known[key].id, parent_id))
    queries.set_parents(tx, parents, now)
