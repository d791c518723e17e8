"""Decisions about leads in queues: who may take them."""

from __future__ import annotations

from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.errors import InvalidState
from nurture.journey.handoff.waiting.decisions import Decision, DecisionKind, decide_waiting
from nurture.runtime.context import AppContext
from tests.journey.builders import make_context
from tests.journey.handoff.waiting.test_lists import DAY, DECISION, MONDAY, _ignored, waiting_rules
from tests.journey.observe import custody, one

WEDNESDAY = MONDAY + 2 * DAY


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path, MONDAY, waiting_rules())


def _discard(ctx: AppContext, lead: int, by: str, *, as_operator: bool = False) -> str:
    decide_waiting(ctx, lead, Decision(DecisionKind.DISCARD, by, "", "a rival", as_operator), WEDNESDAY)
    reason: str = one(ctx, "SELECT reason FROM journal WHERE lead_id = :id ORDER BY id DESC LIMIT 1", id=lead)
    return reason


@pytest.mark.parametrize("by", ["ben", "Zoe", "", "lena@elsewhere.example"])
def test_nobody_else_decides_and_the_error_names_who_may(ctx: AppContext, by: str) -> None:
    lead = _ignored(ctx)
    with pytest.raises(InvalidState, match=r"lena \(Lena\), ana \(Ana\)\. .*--as-operator"):
        _discard(ctx, lead, by)
    assert custody(ctx, lead) == DECISION


@pytest.mark.parametrize(("by", "known_as"), [("Lena", "lena"), ("LENA@house.example", "lena"), ("ana", "ana")])
def test_owner_and_deputy_decide_by_id_name_or_address(ctx: AppContext, by: str, known_as: str) -> None:
    assert _discard(ctx, _ignored(ctx), by) == f"{known_as} decided (a rival)"


def test_an_operator_decides_for_them_and_the_history_says_so(ctx: AppContext) -> None:
    assert _discard(ctx, _ignored(ctx), "Zoe", as_operator=True) == "Zoe (operator) decided (a rival)"
    with pytest.raises(InvalidState, match="Write who decides"):
        _discard(ctx, 1, " ", as_operator=True)
