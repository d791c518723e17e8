"""Tests of the append-only suppression log, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import DatabaseError

from nurture.db.engine import Database
from nurture.db.tables import leads as lead_tables
from nurture.db.tables.base import table
from nurture.domain.consent.suppression import SuppressionScope, SuppressionSource
from nurture.errors import NurtureError
from nurture.journey.leads import suppression_queries
from nurture.journey.leads.suppression_queries import SuppressionEntry

AT = datetime(2026, 1, 5, 8, tzinfo=UTC)
DAY = timedelta(days=1)
ADDRESS = table(lead_tables.Address)


def _addresses(db: Database, *normals: str) -> list[int]:
    with db.write() as tx:
        ids = tx.reserve_ids("address", len(normals))
        values = [{"id": id_, "email": one, "normalized": one} for id_, one in zip(ids, normals, strict=True)]
        tx.execute(insert(ADDRESS), values)
    return ids


def _write(db: Database, *entries: SuppressionEntry) -> None:
    with db.write() as tx:
        suppression_queries.append_entries(tx, entries)


def _out(
    address_id: int, at: datetime = AT, scope: str = "global", ref: str = "", source: str = "page"
) -> SuppressionEntry:
    return SuppressionEntry(address_id, "suppress", scope, ref, source, None, at)


def _in(address_id: int, at: datetime, scope: str = "global", ref: str = "", source: str = "admin") -> SuppressionEntry:
    return SuppressionEntry(address_id, "opt_in", scope, ref, source, "said so at the fair", at)


def test_current_suppressions_are_those_that_no_newer_opt_in_lifts(db: Database) -> None:
    one, two, three, four = _addresses(db, "a@x.example", "b@x.example", "c@x.example", "d@x.example")
    _write(
        db,
        *(_out(id_) for id_ in (one, two, three)),
        _in(one, AT + DAY),
        _in(two, AT),
        _out(three, AT, "topic", "News", "reply"),
        _in(three, AT + DAY),
    )
    with db.read() as tx:
        found = suppression_queries.list_suppressions(tx, [one, two, three, four])
        current = suppression_queries.load_suppressions(tx, [two])
    assert sorted(found) == [(two, "global", "", "page"), (three, "topic", "News", "reply")]
    assert [(each.since, each.source) for each in current[two]] == [(AT, SuppressionSource.PAGE)]


def test_a_bounce_and_an_opt_out_are_both_current(db: Database) -> None:
    (one,) = _addresses(db, "a@x.example")
    _write(db, _out(one, source="bounced"), _out(one, AT + DAY, source="unsubscribed"))
    with db.read() as tx:
        found = suppression_queries.list_suppressions(tx, [one])
    assert sorted(each[3] for each in found) == ["bounce", "import"]


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM suppression",
        "UPDATE suppression SET action = 'opt_in'",
        "UPDATE suppression SET recorded_at = '2020-01-01'",
    ],
)
def test_an_entry_cannot_be_changed_or_deleted(db: Database, change: str) -> None:
    (one,) = _addresses(db, "a@x.example")
    _write(db, _out(one))
    with pytest.raises((DatabaseError, NurtureError)), db.write() as tx:
        tx.execute(text(change))
    with db.read() as tx:
        assert suppression_queries.list_suppressions(tx, [one]) != []


def test_an_address_with_a_log_cannot_be_deleted(db: Database) -> None:
    (one,) = _addresses(db, "a@x.example")
    _write(db, _out(one))
    with pytest.raises((DatabaseError, NurtureError)), db.write() as tx:
        tx.execute(ADDRESS.delete())


def test_everything_is_listed_by_address_in_one_order_on_both_databases(db: Database) -> None:
    names = ["b@x.example", "a_b@x.example", "a-b@x.example", "é@x.example", "a.b@x.example", "aa@x.example"]
    ids = _addresses(db, *names, "silent@x.example")
    _write(db, *(_out(id_) for id_ in ids[:-1]), _out(ids[0], AT + DAY, "track", "keep"))
    with db.read() as tx:
        found = list(suppression_queries.iterate_logs(tx))
        (single,) = suppression_queries.iterate_logs(tx, "b@x.example")
        assert suppression_queries.list_refs(tx, SuppressionScope.TRACK) == ["keep"]
    assert [normal for normal, _ in found] == sorted(names)
    assert (single[0], len(single[1])) == ("b@x.example", 2)
