"""Tests that an export contains all that is stored about a person, and that an erasure empties exactly that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.errors import NotFound
from nurture.journey.consent import suppression
from nurture.journey.erasure import erase
from nurture.journey.erasure import queries as erasure_queries
from nurture.journey.erasure.personal_data import PersonalData, export_person
from nurture.runtime.context import AppContext
from tests.journey.engagement.test_replies import DAY, NOW
from tests.journey.erasure.test_erase import ADDRESS, SECRETS, create_full_history, find_secrets, make_erasure_context


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_erasure_context(db, tmp_path)


def secrets_by_table(data: PersonalData) -> dict[str, set[str]]:
    texts = {table: json.dumps(rows, default=str, ensure_ascii=False).lower() for table, rows in data.rows.items()}
    return {table: found for table, text in texts.items() if (found := {one for one in SECRETS if one in text})}


def test_all_that_identifies_a_person_anywhere_in_the_database_is_exported(ctx: AppContext, tmp_path: Path) -> None:
    lead = create_full_history(ctx, tmp_path)
    data = export_person(ctx, ADDRESS)
    exported = secrets_by_table(data)
    assert data.lead == lead
    stored = find_secrets(ctx)
    assert {table for table in stored if table not in exported} == {"raw_batch", "idempotency_key"}
    assert all(exported[table] == stored[table] for table in exported if table not in data.mentions)
    assert set(data.mentions) == {"raw_batch", "idempotency_key", "consent_statement"}


def test_an_erasure_empties_exactly_what_is_exported(ctx: AppContext, tmp_path: Path) -> None:
    lead = create_full_history(ctx, tmp_path)
    before = export_person(ctx, str(lead))
    erase.erase_person(ctx, str(lead), NOW + DAY)
    after = export_person(ctx, str(lead))
    assert secrets_by_table(before)
    assert secrets_by_table(after) == {}
    assert after.mentions == {}
    kept = erasure_queries.RETAINED_TABLES | {"lead", "journal", "offer", "outcome", "crm_record", "tracking_request"}
    assert set(after.rows) <= kept | {"provider_event"}
    assert export_person(ctx, str(lead)) == after


def test_an_address_without_a_lead_is_exported_with_its_opt_outs(ctx: AppContext) -> None:
    suppression.suppress(ctx, [ADDRESS], NOW)
    data = export_person(ctx, ADDRESS)
    assert data.lead is None
    assert set(data.rows) == {"address", "suppression"}


def test_a_person_does_not_get_rows_of_another(ctx: AppContext, tmp_path: Path) -> None:
    create_full_history(ctx, tmp_path)
    data = export_person(ctx, "noor@other.example")
    assert set(secrets_by_table(data)) == {"consent_statement"}, "a text about the other person in their own row"
    assert {one["lead_id"] for rows in data.rows.values() for one in rows if "lead_id" in one} == {data.lead}


def test_an_unknown_person_is_not_found(ctx: AppContext) -> None:
    with pytest.raises(NotFound):
        export_person(ctx, "nobody@people.example")
