"""Links of sent email lead where they led before the upgrade, and keep their names."""

from __future__ import annotations

from sqlalchemy import text

from nurture.db import schema
from nurture.db.engine import Database
from tests.db.revisions import migrate_to


def test_the_links_of_sent_email_have_no_other_name(empty_db: Database) -> None:
    migrate_to(empty_db, "0005_leads_in_hand")
    with empty_db.write() as tx:
        tx.execute(text("INSERT INTO link_destination VALUES ('trial', 1, '01-hello', 1, 'https://www.example.com/')"))
    schema.upgrade(empty_db)
    with empty_db.read() as tx:
        row = tx.execute(text("SELECT url, name FROM link_destination")).one()
    assert tuple(row) == ("https://www.example.com/", None)
