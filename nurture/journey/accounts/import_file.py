"""Import a file of accounts, one company per row. Imports can be repeated."""

from collections import Counter
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
from nurture.formats.cells import EMPTY_VALUES
from nurture.formats.column_mapping import ColumnMapping, bind_columns, header_test, load_field_mapping
from nurture.formats.columns import normalize_name, words_by_name
from nurture.formats.csv_reader import FileRow, open_rows, parse_rows
from nurture.formats.rejected_rows import BadRow
from nurture.journey.accounts import owner_changes
from nurture.journey.accounts.same_company import UNNAMED, KnownAccounts
from nurture.journey.leads import signal_queries
from nurture.journey.ownership import queries
from nurture.journey.ownership.match.domains import company_domain, is_own_domain, registrable_domain
from nurture.journey.ownership.match.names import parse_name
from nurture.journey.ownership.queries import AccountRow, NewAccount
from nurture.runtime.context import AppContext
from nurture.runtime.import_run import ImportOptions, ImportResult, ImportRun
from nurture.runtime.published import PublishedDefinitions

_COLUMNS: Final = "account_column"
_FIELDS: Final = ("id", "name", "domains", "owner", "kind", "parent")
_MAX_SHOWN: Final = 5


class _ParsedAccount(NamedTuple):
    """A valid row. *key* is the id of the file, or else the name."""

    key: str
    has_id: bool
    name: str
    domains: list[str]
    owner: str
    kind: AccountKind
    parent: str


def import_accounts(
    ctx: AppContext,
    path: Path,
    now: datetime,
    *,
    source: str | None = None,
    mapping: Path | None = None,
    **options: Unpack[ImportOptions],
) -> ImportResult:
    """Import the accounts of the file at *path* in one transaction; no account is ever deleted.

    An account is identified by *source* and its id, or by its name and domain if the file has no ids. A company that
    another source brought in is the same account if name and domain say so; then only what is missing is filled in.
    Raises FileUnreadable.
    """
    columns = ColumnMapping() if mapping is None else load_field_mapping(mapping, _FIELDS, "kinds", tuple(AccountKind))
    with open_rows(path, header_test("name", [_COLUMNS], columns), reading=options.get("reading")) as file:
        bound = bind_columns(file.header, [_COLUMNS], columns)
        if "name" not in bound.indexes:
            raise FileUnreadable(
                f"{path} has no column with account names; name it `name`, or map it in a mapping file: "
                "`columns: {Firm: name}`."
            )
        accounts = _AccountImport(
            index_key(source or columns.source or UNNAMED), ctx.definitions, load_rep_ids(ctx), columns.meanings, now
        )
        accounts.result.mapped, accounts.result.unmapped = bound.mapped, bound.unmapped
        rows = parse_rows(file, bound.indexes, accounts.parse)
        # In one batch: a parent may stand below its child.
        run = ImportRun("accounts", file, file.header, rows, accounts.write, accounts.result, batch_size=None)
        run.execute(ctx.database, now, **options)
    return accounts.result


def load_rep_ids(ctx: AppContext) -> dict[str, str]:
    """Return rep ids by each spelling that the file may use: id, name or email address."""
    with ctx.database.read() as tx:
        definitions = ctx.definitions.find_current(tx)
    if definitions is None:  # accounts may be imported before it is published
        return {}
    return {label: rep.id for label, rep in definitions.policy.reps_by_label.items()}


class _AccountImport:
    def __init__(
        self,
        source: str,
        definitions: PublishedDefinitions,
        rep_ids: Mapping[str, str],
        kinds: Mapping[str, str],
        now: datetime,
    ) -> None:
        self.result = ImportResult(source)
        self._definitions = definitions
        self._rep_ids, self._kinds = rep_ids, kinds
        self._now = now
        self._seen: set[tuple[str, ...]] = set()
        self._unknown_kinds: Counter[str] = Counter()
        self._bad_websites: Counter[str] = Counter()

    def parse(self, row: FileRow) -> _ParsedAccount:
        """Return the account of a row. Raises InvalidState."""
        values = row.values
        name = " ".join(values["name"].split())
        if not name or not parse_name(name).full:
            raise InvalidState("the account has no name")
        domains = self._read_domains(values.get("domains", ""), name)
        has_id = bool(values.get("id"))
        key = index_key(values["id"] if has_id else parse_name(name).full)
        place = (key,) if has_id else (key, *sorted(domains))
        if place in self._seen:
            raise InvalidState(f"the account {key} is in the file twice; keep one of the rows")
        self._seen.add(place)
        owner = values.get("owner", "")
        owner = self._rep_ids.get(owner.casefold(), owner)
        kind = self._read_kind(values.get("kind", ""))
        return _ParsedAccount(key, has_id, name, domains, owner, kind, values.get("parent", ""))

    def _read_kind(self, text: str) -> AccountKind:
        known = self._kinds.get(text.casefold()) or words_by_name("account_kind").get(normalize_name(text))
        if known is None and text and text.casefold() not in EMPTY_VALUES:
            self._unknown_kinds[text[:40]] += 1
        return AccountKind(known or AccountKind.PROSPECT)

    def _read_domains(self, text: str, name: str) -> list[str]:
        """Return the company's own domains; a website that is none costs only itself."""
        parts = text.replace(";", " ").replace(",", " ").replace("|", " ").split()
        if parts and not any(map(registrable_domain, parts)) and text.casefold() not in EMPTY_VALUES:
            self._bad_websites[text[:40]] += 1
        found = dict.fromkeys(domain for part in parts if (domain := company_domain(part)))
        return [domain for domain in found if is_own_domain(domain, name)]

    def write(self, tx: Transaction, batch: Sequence[_ParsedAccount]) -> Iterable[BadRow]:
        """Insert and update the accounts of the file."""
        acquire(tx, Lock.INTAKE)
        published = self._definitions.find_current(tx)  # accounts may be imported before it is
        asks_for_owner = published is not None and published.asks_for_owner
        notes = [_write(tx, batch, self.result, self._now, asks_for_owner=asks_for_owner)]
        if unknown := sorted({one.owner for one in batch} - set(self._rep_ids.values()) - {""}):
            some = f"{', '.join(unknown[:3])}{', ...' if len(unknown) > 3 else ''}"
            notes.append(f"Owners who are not reps in the policy get no leads: {some}.")
        if self._unknown_kinds:
            notes.append(
                f"Unknown kinds count as prospects: {_shown(self._unknown_kinds)}. `kinds:` in a mapping file says "
                "what they mean: customer, prospect or partner."
            )
        if self._bad_websites:
            notes.append(f"Websites without a domain are left out: {_shown(self._bad_websites)}.")
        self.result.notes = (*self.result.notes, *filter(None, notes))
        return ()


def _shown(texts: Counter[str]) -> str:
    some = ", ".join(f"{text!r} ({count:,})" for text, count in texts.most_common(_MAX_SHOWN))
    return f"{some}{', ...' if len(texts) > _MAX_SHOWN else ''}"


def _write(
    tx: Transaction, parsed: Sequence[_ParsedAccount], result: ImportResult, now: datetime, *, asks_for_owner: bool
) -> str:
    """Write the accounts; return a remark on owners that another source names otherwise."""
    before = queries.load_all(tx)
    known = KnownAccounts(before, result.source)
    new, changed, other_owners = [], [], []
    placed: list[tuple[_ParsedAccount, tuple[str, str]]] = []
    for one in parsed:
        old = known.find(one.key, one.name, one.domains, has_id=one.has_id)
        external_id = old.external_id if old is not None else known.free_id(one.key, one.name, one.domains)
        source = old.source if old is not None else result.source
        row = NewAccount(source, external_id, one.name, one.domains, one.owner, one.kind.value, now, now)
        if old is not None and old.source != result.source:
            row = _fill_in(old, row)
            if one.owner and one.owner != old.owner and old.owner:
                other_owners.append(old.name)
        if old is None:
            new.append(row)
        elif _differs(row, old):
            changed.append(row)
        known.take(old, external_id)
        placed.append((one, (source, external_id)))
    queries.insert_accounts(tx, new)
    queries.update_accounts(tx, changed)
    result.new, result.updated = len(new), len(changed)
    result.unchanged = len(parsed) - len(new) - len(changed)
    _write_parents(tx, result.source, placed, now)
    if new or changed:
        owned = owner_changes.find_leads(tx, before, queries.load_all(tx)) if asks_for_owner else []
        signal_queries.make_reowned_due(tx, owned, REROUTED_QUEUES, now)
    if not other_owners:
        return ""
    return f"Accounts keep the owner that another source named: {', '.join(other_owners[:_MAX_SHOWN])}."


def _fill_in(old: AccountRow, row: NewAccount) -> NewAccount:
    """Return the account of another source with what it lacked."""
    kind = row.kind if old.kind == AccountKind.PROSPECT else old.kind
    domains = list(dict.fromkeys([*old.domains, *row.domains]))
    return row._replace(name=old.name, domains=domains, owner=old.owner or row.owner, kind=kind)


def _differs(row: NewAccount, old: AccountRow) -> bool:
    return (row.name, row.domains, row.owner, row.kind) != (old.name, old.domains, old.owner, old.kind)


def _write_parents(
    tx: Transaction, source: str, placed: Sequence[tuple[_ParsedAccount, tuple[str, str]]], now: datetime
) -> None:
    """Set the parents of accounts; a row refers to its parent by id or name."""
    known = {(row.source, row.external_id): row for row in queries.load_all(tx)}
    in_file = {one.key: known[place] for one, place in placed}
    by_name = {row.name.casefold(): row for row in known.values() if row.source == source}
    by_name |= {row.name.casefold(): row for row in in_file.values()}
    parents = []
    for one, place in placed:
        child, parent_key = known[place], index_key(one.parent)
        parent = in_file.get(parent_key) or known.get((source, parent_key)) or by_name.get(one.parent.casefold())
        parent_id = parent.id if parent is not None and parent.id != child.id else None
        may_set = child.source == source or child.parent_id is None
        if may_set and parent_id != child.parent_id:
            parents.append((child.id, parent_id))
    queries.set_parents(tx, parents, now)
