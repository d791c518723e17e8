"""The upgrade renames the queues of missing fields, and no queue of the policy with such a name."""

from __future__ import annotations

from sqlalchemy import text

from nurture.db import schema
from nurture.db.engine import Database
from tests.db.revisions import migrate_to
from tests.db.test_resting_revision import DAY, LATER, add_lead


def test_only_leads_that_wait_for_a_field_change_queue(empty_db: Database) -> None:
    migrate_to(empty_db, "0003_no_track")
    with empty_db.write() as tx:
        add_lead(tx, 1, "queue", "needs-country")
        add_lead(tx, 2, "queue", "needs-a-look")
        columns = "lead_id, field, rule, requested_at, due_at"
        wanted = f"INSERT INTO missing_field ({columns}) VALUES (1, 'country', 'dach', '{DAY}', '{LATER}')"
        tx.execute(text(wanted))
    schema.upgrade(empty_db)
    with empty_db.read() as tx:
        queues = text("SELECT lead_id, ref, version FROM custody ORDER BY lead_id")
        assert tx.execute(queues).tuples().all() == [(1, "missing-field", 4), (2, "needs-a-look", 3)]
