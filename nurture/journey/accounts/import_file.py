"""Import a file of accounts, one company per row. Imports can be repeated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple, Unpack

from nurture.db.locks import Lock, acquire
from nurture.db.transaction import Transaction
from nurture.domain.lead import REROUTED_QUEUES
from nurture.domain.plain_text import index_key
from nurture.domain.routing.account import AccountKind
from nurture.errors import FileUnreadable, InvalidState
from nurture.formats.columns import find_columns, normalize_name, words_by_name
from nurture.formats.csv_reader import FileRow, open_rows, parse_rows
from nurture.formats.rejected_rows import BadRow
from nurture.journey.accounts import queries
from nurture.journey.accounts.match.domains import company_domain, registrable_domain
from nurture.journey.accounts.match.names import parse_name
from nurture.journey.accounts.queries import AccountRow, NewAccount
from nurture.journey.leads import signal_queries
from nurture.runtime.context import AppContext
from nurture.runtime.import_run import ImportOptions, ImportResult, ImportRun

_COLUMNS: Final = "account_column"


class _ParsedAccount(NamedTuple):
    """A valid row."""

    external_id: str
    name: str
    domains: list[str]
    owner: str
    kind: AccountKind
    parent: str


def import_accounts(
    ctx: AppContext, path: Path, now: datetime, *, source: str = "file", **options: Unpack[ImportOptions]
) -> ImportResult:
    """Import the accounts of the CSV file at *path* in one transaction; no account is ever deleted.

    An account is identified by *source* and its id, or by its name if the file has no ids. Raises FileUnreadable.
    """
    with open_rows(path, lambda cells: "name" in find_columns(cells, _COLUMNS)) as file:
        columns = find_columns(file.header, _COLUMNS)
        if "name" not in columns:
            raise FileUnreadable(f"{path} has no column with account names; name it `name`.")
        accounts = _AccountImport(index_key(source), _rep_ids(ctx), now)
        rows = parse_rows(file, columns, accounts.parse)
        # In one batch: a parent may stand below its child.
        run = ImportRun("accounts", file, file.header, rows, accounts.write, accounts.result, batch_size=None)
        run.execute(ctx.database, now, **options)
    return accounts.result


def _rep_ids(ctx: AppContext) -> dict[str, str]:
    """Return rep ids by each spelling that the file may use: id, name or email address."""
    with ctx.database.read() as tx:
        definitions = ctx.definitions.find_current(tx)
    reps = definitions.policy.reps if definitions is not None else ()  # accounts may be imported before it is published
    return {label.casefold(): rep.id for rep in reps for label in (rep.name, rep.email, rep.id)}


class _AccountImport:
    def __init__(self, source: str, rep_ids: Mapping[str, str], now: datetime) -> None:
        self.result = ImportResult(source)
        self._rep_ids = rep_ids
        self._now = now
        self._seen: set[str] = set()

    def parse(self, row: FileRow) -> _ParsedAccount:
        """Return the account of a row. Raises InvalidState."""
        values = row.values
        name = " ".join(values["name"].split())
        if not name or not parse_name(name).full:
            raise InvalidState("the account has no name")
        kind = words_by_name("account_kind").get(normalize_name(values.get("kind", "") or AccountKind.PROSPECT))
        if kind is None:
            raise InvalidState(f"{values['kind']!r} is not a kind of account; write customer, prospect or partner")
        domains = _parse_domains(values.get("domains", ""))
        external_id = index_key(values.get("id", "") or parse_name(name).full)
        if external_id in self._seen:
            raise InvalidState(f"the account {external_id} is in the file twice; keep one of the rows")
        self._seen.add(external_id)
        owner = values.get("owner", "")
        owner = self._rep_ids.get(owner.casefold(), owner)
        return _ParsedAccount(external_id, name, domains, owner, AccountKind(kind), values.get("parent", ""))

    def write(self, tx: Transaction, batch: Sequence[_ParsedAccount]) -> Iterable[BadRow]:
        """Insert and update the accounts of the file."""
        acquire(tx, Lock.INTAKE)
        _write(tx, batch, self.result, self._now)
        if unknown := sorted({one.owner for one in batch} - set(self._rep_ids.values()) - {""}):
            some = f"{', '.join(unknown[:3])}{', ...' if len(unknown) > 3 else ''}"
            self.result.notes = (f"Owners who are not reps in the policy get no leads: {some}.",)
        return ()


def _parse_domains(text: str) -> list[str]:
    found: list[str] = []
    for part in text.replace(";", " ").replace(",", " ").replace("|", " ").split():
        if not registrable_domain(part):
            raise InvalidState(f"{part!r} is not a company domain; write for example contoso.example")
        domain = company_domain(part)
        if domain and domain not in found:  # a free mail domain does not identify a company
            found.append(domain)
    return found


def _write(tx: Transaction, parsed: Sequence[_ParsedAccount], result: ImportResult, now: datetime) -> None:
    source = result.source
    known = queries.load_by_external_id(tx, source)
    rows = [
        NewAccount(source, one.external_id, one.name, one.domains, one.owner, one.kind.value, now, now)
        for one in parsed
    ]
    new = [row for row in rows if row.external_id not in known]
    changed = [row for row in rows if row.external_id in known and _differs(row, known[row.external_id])]
    queries.insert_accounts(tx, new)
    queries.update_accounts(tx, changed)
    result.new, result.updated = len(new), len(changed)
    result.unchanged = len(rows) - len(new) - len(changed)
    _write_parents(tx, source, parsed, now)
    if new or changed:
        signal_queries.make_queues_due(tx, REROUTED_QUEUES, now)


def _differs(row: NewAccount, old: AccountRow) -> bool:
    return (row.name, row.domains, row.owner, row.kind) != (old.name, old.domains, old.owner, old.kind)


def _write_parents(tx: Transaction, source: str, parsed: Sequence[_ParsedAccount], now: datetime) -> None:
    """Set the parents of accounts; a row refers to its parent by id or name."""
    known = queries.load_by_external_id(tx, source)
    by_name = {row.name.casefold(): row for row in known.values()}
    parents = []
    for one in parsed:
        child = known[one.external_id]
        parent = known.get(index_key(one.parent)) or by_name.get(one.parent.casefold())
        parent_id = parent.id if parent is not None and parent.id != child.id else None
        if parent_id != child.parent_id:
            parents.append((child.id, parent_id))
    queries.set_parents(tx, parents, now)
