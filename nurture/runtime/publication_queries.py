"""Published versions of tracks and of the policy, and who approved which policy."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import Select, bindparam, func, or_, select

from nurture.db.row_values import row_columns
from nurture.db.tables.publishing import approval as approvals
from nurture.db.tables.publishing import publication
from nurture.db.transaction import Transaction
from nurture.errors import InvalidState

POLICY: Final = "policy"
"""Kind, and only name, of the publication that needs approval."""


class PublishedVersion(NamedTuple):
    """A published version; *kind* is track, broadcast, policy, sending or fields."""

    id: int
    kind: str
    name: str
    version: int
    digest: str


class Approval(NamedTuple):
    """The approval of a policy version; *method* is first, approved or unchanged."""

    policy_version: int
    publication_id: int
    approved_by: str
    approved_on: date
    recorded_at: datetime
    method: str


class PolicyVersion(NamedTuple):
    """A version of the policy; *approval* is None while it waits for approval."""

    published: PublishedVersion
    published_at: datetime
    approval: Approval | None


_VERSION: Final = row_columns(PublishedVersion, publication)


def load_newest_versions(tx: Transaction) -> list[PublishedVersion]:
    """Return the newest version of every publication, approved or not."""
    return [PublishedVersion._make(row) for row in tx.execute(_newest_versions_query(only_in_force=False))]


def load_versions_in_force(tx: Transaction) -> list[PublishedVersion]:
    """Return the versions in force: the newest ones, but for the policy the newest approved one."""
    return [PublishedVersion._make(row) for row in tx.execute(_newest_versions_query(only_in_force=True))]


@cache
def _newest_versions_query(*, only_in_force: bool) -> Select[Any]:
    """Return the statement. Cached: every batch runs it, and building it takes longer than running it."""
    newest = select(publication.c.kind, publication.c.name, func.max(publication.c.version).label("version")).group_by(
        publication.c.kind, publication.c.name
    )
    if only_in_force:
        approved = select(approvals.c.publication_id)
        newest = newest.where(or_(publication.c.kind != POLICY, publication.c.id.in_(approved)))
    last = newest.subquery()
    query = select(*_VERSION).join(
        last,
        (last.c.kind == publication.c.kind)
        & (last.c.name == publication.c.name)
        & (last.c.version == publication.c.version),
    )
    return query.order_by(publication.c.id)


def list_policy_versions(tx: Transaction) -> list[PolicyVersion]:
    """Return every version of the policy, newest first."""
    return [
        PolicyVersion(PublishedVersion._make(row[:5]), row[5], None if row[6] is None else Approval._make(row[6:]))
        for row in tx.execute(_POLICY_VERSIONS)
    ]


_POLICY_VERSIONS: Final = (
    select(*_VERSION, publication.c.published_at, *approvals.c)
    .outerjoin(approvals, approvals.c.publication_id == publication.c.id)
    .where(publication.c.kind == POLICY)
    .order_by(publication.c.version.desc())
)


class ListedVersion(NamedTuple):
    """One version of a definition, and the files that differ from the version before; all, if it is the first.

    *published_by* is the user of the console, "" for the command line.
    """

    version: int
    published_at: datetime
    changed_files: tuple[str, ...]
    published_by: str = ""


def list_changes(tx: Transaction, kind: str, name: str) -> list[ListedVersion]:
    """Return every published version of a definition of *kind*, the newest first."""
    columns = (publication.c.version, publication.c.published_at, publication.c.published_by, publication.c.sources)
    of_name = (publication.c.kind == kind, publication.c.name == name)
    found, before = [], dict[str, str]()
    for version, at, by, sources in tx.execute(select(*columns).where(*of_name).order_by(publication.c.version)):
        changed = (path for path in sorted(before.keys() | sources.keys()) if before.get(path) != sources.get(path))
        found.append(ListedVersion(version, at, tuple(changed), by))
        before = dict(sources)
    return found[::-1]


def list_versions(tx: Transaction, kind: str, name: str) -> list[tuple[int, datetime]]:
    """Return (version, time of publication) of every version, the newest first."""
    query = select(publication.c.version, publication.c.published_at)
    query = query.where(publication.c.kind == kind, publication.c.name == name)
    return list(tx.execute(query.order_by(publication.c.version.desc())).tuples())


def insert_approval(tx: Transaction, new_approval: Approval) -> bool:
    """Put a policy version in force; return False if it already was."""
    return tx.insert(approvals, Approval._fields, [new_approval], ignore_conflicts=True) == 1


def find_version(tx: Transaction, kind: str, name: str, version: int) -> PublishedVersion | None:
    """Return one published version, None if there is none."""
    row = tx.execute(_ONE_VERSION, {"of_kind": kind, "of_name": name, "number": version}).one_or_none()
    return PublishedVersion._make(row) if row is not None else None


_ONE_VERSION: Final = select(*_VERSION).where(
    publication.c.kind == bindparam("of_kind"),
    publication.c.name == bindparam("of_name"),
    publication.c.version == bindparam("number"),
)


class VersionDetail(NamedTuple):
    """The files of a version, by path under templates/, when it was published, and by whom: "" for the command line."""

    sources: Mapping[str, str]
    published_at: datetime
    published_by: str


def load_details(tx: Transaction, ids: Sequence[int]) -> Mapping[int, VersionDetail]:
    """Return the details of the versions *ids*."""
    columns = (publication.c.id, publication.c.sources, publication.c.published_at, publication.c.published_by)
    rows = tx.execute(select(*columns).where(publication.c.id.in_(ids)))
    return {row[0]: VersionDetail._make(row[1:]) for row in rows}


def load_sources(tx: Transaction, publication_id: int) -> Mapping[str, str]:
    """Return the files of a version, by path under templates/."""
    found: Mapping[str, str] = tx.execute(_SOURCES, {"chosen": publication_id}).scalar_one()
    return found


_SOURCES: Final = select(publication.c.sources).where(publication.c.id == bindparam("chosen"))


def load_sources_in_force(tx: Transaction) -> Mapping[str, str]:
    """Return the files of all versions in force together, by path under templates/."""
    ids = [one.id for one in load_versions_in_force(tx)]
    found: dict[str, str] = {}
    for sources in tx.execute(select(publication.c.sources).where(publication.c.id.in_(ids))).scalars():
        found.update(sources)
    return found


def insert_versions(
    tx: Transaction, rows: Sequence[tuple[str, str, int, str, Mapping[str, str]]], now: datetime, by: str
) -> None:
    """Publish (kind, name, version, digest, sources) rows. Raises InvalidState if such a version was just published."""
    names = ("kind", "name", "version", "digest", "sources", "published_at", "published_by")
    added = tx.insert(publication, names, [(*row, now, by) for row in rows], ignore_conflicts=True)
    if added < len(rows):
        raise InvalidState("Somebody else published a new version just now. Look at it, and publish again.")
