"""Consent is read again right before the call, however it has changed since the claim."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.db.tables.consent import consent_statement
from nurture.db.transaction import Transaction
from nurture.domain.consent.statements import grant, withdrawal
from nurture.journey.delivery import claim, send
from nurture.journey.leads import consent_queries
from nurture.journey.tracks import advance, enroll
from nurture.runtime.context import AppContext
from tests.journey.builders import START, make_context
from tests.journey.observe import RecordingProvider, add_leads, rows

OPEN = START + timedelta(hours=1)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    made = make_context(db, tmp_path)
    made.provider = RecordingProvider()
    add_leads(made, 3, title="Head")
    enroll.classify(made, START)
    advance.advance(made, START)
    advance.advance(made, OPEN)
    return made


def _retract(tx: Transaction, address: int) -> None:
    of_address = update(consent_statement).where(consent_statement.c.address_id == address)
    tx.execute(of_address.values(retracted_at=OPEN))


def _withdraw(tx: Transaction, address: int) -> None:
    consent_queries.append_statements(tx, [(address, withdrawal("crm", OPEN, OPEN))])


def _replace(tx: Transaction, address: int) -> None:
    """Leave as many statements as there were."""
    _retract(tx, address)
    _withdraw(tx, address)


def _confirm(tx: Transaction, address: int) -> None:
    consent_queries.append_statements(tx, [(address, grant("consent", "crm", OPEN, OPEN))])


@pytest.mark.parametrize("change", [_retract, _withdraw, _replace, _confirm])
def test_consent_that_changes_after_the_claim_counts_for_the_call(ctx: AppContext, change: object) -> None:
    assert callable(change)
    batch = claim.claim_batch(ctx, OPEN, 10)
    changed = batch.claimed[1]
    with ctx.database.write() as tx:
        change(tx, changed.address_id)
    send.send_claimed(ctx, batch, VirtualClock(OPEN))
    expected = "accepted" if change is _confirm else "cancelled"
    states = dict(rows(ctx, "SELECT id, state FROM message WHERE kind = 'touch'"))
    assert states == {one.id: expected if one is changed else "accepted" for one in batch.claimed}
