"""The upgrades let customers rest who were closed as won, and leads without a track; they change nobody else."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from nurture.db import schema
from nurture.db.engine import Database
from nurture.db.transaction import Transaction
from tests.db.revisions import migrate_to

DAY, LATER = "2026-01-05 08:00:00+00:00", "2026-03-01 09:00:00+00:00"
WON, LOST, ERASED, OPEN, ARRIVED = range(1, 6)


def add_lead(tx: Transaction, lead: int, kind: str, ref: str, *, erased: bool = False) -> None:
    columns = "id, source, zone, country, readiness, fields, engagement, first_contact_at, created_at, updated_at"
    values = f":id, 'csv', '', '', '', '{{}}', 0, '{DAY}', '{DAY}', '{DAY}'"
    erased_at = f"'{LATER}'" if erased else "NULL"
    tx.execute(text(f"INSERT INTO lead ({columns}, erased_at) VALUES ({values}, {erased_at})"), {"id": lead})
    due, action = ("NULL", "") if kind == "closed" else (f"'{LATER}'", "classify")
    custody = f"INSERT INTO custody VALUES (:id, '{kind}', '{ref}', '{action}', '{DAY}', {due}, 3)"
    tx.execute(text(custody), {"id": lead})


@pytest.fixture
def old_db(empty_db: Database) -> Database:
    migrate_to(empty_db, "0001_initial")
    with empty_db.write() as tx:
        tx.execute(text(f"INSERT INTO clock VALUES (1, 'live', 'x', 'salt', '{LATER}', 1, NULL)"))
        add_lead(tx, WON, "closed", "won")
        add_lead(tx, LOST, "closed", "lost")
        add_lead(tx, ERASED, "closed", "won", erased=True)
        add_lead(tx, OPEN, "intake", "import")
        add_lead(tx, ARRIVED, "closed", "won")
        for lead, at, source in ((WON, LATER, "cli"), (ARRIVED, DAY, "import")):
            outcome = "INSERT INTO outcome (lead_id, closing, happened_at, amount, reason, source, recorded_at)"
            tx.execute(text(f"{outcome} VALUES ({lead}, 'won', '{at}', NULL, '', '{source}', '{at}')"))
    return empty_db


def test_customers_rest_and_are_due_when_the_database_was_last_used(old_db: Database) -> None:
    schema.upgrade(old_db)
    assert schema.upgrade(old_db) == []
    with old_db.read() as tx:
        custody = text("SELECT lead_id, kind, ref, version, due_at IS NULL FROM custody ORDER BY 1")
        assert tx.execute(custody).tuples().all() == [
            (WON, "resting", "customer", 4, False),
            (LOST, "closed", "lost", 3, True),
            (ERASED, "closed", "won", 3, True),
            (OPEN, "intake", "import", 3, False),
            (ARRIVED, "resting", "customer", 4, False),
        ]
        due = text("SELECT count(*) FROM custody, clock WHERE custody.due_at = clock.seen_at AND kind = 'resting'")
        assert tx.execute(due).scalar() == 2
        customers = text("SELECT id FROM lead WHERE customer_since = signals_since ORDER BY id")
        assert list(tx.execute(customers).scalars()) == [WON, ARRIVED]
        assert list(tx.execute(text("SELECT lead_id FROM outcome")).scalars()) == [WON]  # the other was no win
        moves = text("SELECT lead_id, custody_from, custody_to FROM journal ORDER BY lead_id")
        assert tx.execute(moves).tuples().all() == [(one, "closed", "resting") for one in (WON, ARRIVED)]


def test_custody_is_guarded_after_the_upgrade_as_before(old_db: Database) -> None:
    schema.upgrade(old_db)
    with pytest.raises(Exception, match="one version at a time"), old_db.write() as tx:
        tx.execute(text("UPDATE custody SET version = version + 2"))
    with pytest.raises(Exception, match="ck_custody_kind"), old_db.write() as tx:
        tx.execute(text("UPDATE custody SET kind = 'drawer', version = version + 1 WHERE kind = 'intake'"))


def test_who_waited_for_a_track_rests_until_one_takes_it(old_db: Database) -> None:
    with old_db.write() as tx:
        add_lead(tx, 6, "queue", "no-track")
        add_lead(tx, 7, "queue", "suppressed")
    schema.upgrade(old_db)
    with old_db.read() as tx:
        custody = text("SELECT lead_id, kind, ref, next_action FROM custody WHERE lead_id > 5 ORDER BY lead_id")
        assert tx.execute(custody).tuples().all() == [
            (6, "resting", "no-track", "look for a track"),
            (7, "queue", "suppressed", "classify"),
        ]
        moves = text("SELECT custody_from, custody_to, ref FROM journal WHERE lead_id > 5")
        assert tx.execute(moves).tuples().all() == [("queue", "resting", "no-track")]
