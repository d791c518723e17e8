"""Tests of batches of the API."""

from __future__ import annotations

from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.journey.intake.api.batches import check_scopes, post_leads, post_outcomes
from nurture.journey.intake.api.tokens import TokenScope
from tests.journey.builders import START, add_lead, make_context
from tests.journey.observe import rows

ITEM = {"email": "ana@people.example", "opted_out": True, "attended": "perhaps"}


@pytest.mark.parametrize(("scopes", "recorded"), [(list(TokenScope), 1), ([TokenScope.LEADS], 0)])
def test_the_opt_out_of_a_rejected_item_is_recorded_if_its_caller_may_stop_mail(
    db: Database, tmp_path: Path, scopes: list[TokenScope], recorded: int
) -> None:
    ctx = make_context(db, tmp_path)
    done = post_leads(ctx, "crm", [ITEM], "site", START, check_scopes(scopes, TokenScope.LEADS))
    assert (done.accepted, len(done.rejected)) == (0, 1)
    assert rows(ctx, "SELECT count(*) FROM consent_statement WHERE NOT granted") == [(recorded,)]
    assert rows(ctx, "SELECT count(*) FROM lead") == [(0,)]


def test_a_lead_with_an_unknown_basis_comes_in_and_is_not_mailed(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    done = post_leads(ctx, "crm", [{"email": "ana@people.example", "consent_basis": "telepathy"}], "site", START)
    assert (done.accepted, done.rejected) == (1, [])
    assert "'telepathy'" in done.notes[0]
    assert rows(ctx, "SELECT kind, ref FROM custody") == [("queue", "no-consent-basis")]


def test_a_lost_deal_needs_no_reason_and_may_have_an_amount(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    lead = add_lead(ctx)
    item = {"lead": {"id": lead}, "closing": "lost", "happened_at": START.isoformat(), "amount": 500}
    assert post_outcomes(ctx, [item], START).rejected == []
    assert rows(ctx, "SELECT closing, amount, reason FROM outcome") == [("lost", 500.0, "no reason given")]
    assert post_outcomes(ctx, [item | {"closing": "discarded", "amount": None}], START).accepted == 0
