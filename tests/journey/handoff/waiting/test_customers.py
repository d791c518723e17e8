"""A customer's lead whose owner does not answer waits in a queue with a clock, a reminder and a deputy."""

from __future__ import annotations

from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.signals import SignalKind
from nurture.journey.accounts.import_file import import_accounts
from nurture.journey.handoff.waiting.queries import load_entries
from nurture.reporting.audit import run_audit
from nurture.reporting.queues import report_queues
from nurture.runtime.context import AppContext
from tests.journey.builders import add_lead, make_context, run_at
from tests.journey.handoff.waiting.test_lists import DAY, HOUR, MONDAY, _notified, waiting_rules
from tests.journey.observe import custody, record_signal, rows

WAITS = ("queue", "account-owner-unavailable")
TUESDAY = MONDAY + DAY


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    rules = waiting_rules()
    policy = rules["sales/policy.yaml"].replace(
        "queues:\n", "queues:\n  account-owner-unavailable: {owner: lena, within: 1 business day, deputy: ben}\n"
    )
    rules["sales/policy.yaml"] = (
        policy + "routing: [{name: account, to: account owner}, {name: rest, when: always, to: {pool: everyone}}]\n"
    )
    ctx = make_context(db, tmp_path, MONDAY - DAY, rules)
    file = tmp_path / "accounts.csv"
    file.write_text("id,name,domains,owner,kind\n1,Oslo Cold,oslocold.example,ana,customer\n", encoding="utf-8")
    import_accounts(ctx, file, MONDAY - DAY)
    return ctx


def _ignored(ctx: AppContext) -> int:
    """Return a lead of a customer, on a track, that asked for contact and was not answered until Tuesday at 10:00."""
    lead = add_lead(ctx, title="Head", email="ole@oslocold.example", at=MONDAY - DAY)
    run_at(ctx, MONDAY - DAY)
    assert custody(ctx, lead)[0] == "track"
    record_signal(ctx, lead, SignalKind.REPLIED, MONDAY)
    run_at(ctx, MONDAY)
    assert rows(ctx, "SELECT rep, state FROM offer") == [("ana", "offered")]
    run_at(ctx, TUESDAY)
    assert custody(ctx, lead) == WAITS
    return lead


def test_an_ignored_customer_has_the_whole_time_of_its_queue_and_then_owner_and_deputy_are_notified(
    ctx: AppContext,
) -> None:
    lead = _ignored(ctx)
    with ctx.database.read() as tx:
        assert load_entries(tx, [lead]) == {lead: TUESDAY}
    run_at(ctx, TUESDAY + HOUR)
    assert "ben" not in _notified(ctx, TUESDAY + HOUR)  # in time
    reminded = TUESDAY + DAY
    run_at(ctx, reminded)
    assert _notified(ctx, reminded) == {"lena", "ben"}
    run_at(ctx, TUESDAY + 2 * DAY, TUESDAY + 3 * DAY)
    assert _notified(ctx, TUESDAY + 3 * DAY) == {"lena", "ben"}  # listed each morning while it is late
    assert custody(ctx, lead) == WAITS
    (row,) = [one for one in report_queues(ctx, TUESDAY + 3 * DAY) if one.queue == WAITS[1]]
    assert (row.oldest, row.waiting_late) == (TUESDAY, 1)


def test_a_customer_that_no_rep_may_take_has_left_its_track(ctx: AppContext) -> None:
    lead = _ignored(ctx)
    assert rows(ctx, "SELECT end_reason FROM enrollment WHERE lead_id = :id", id=lead) == [
        ("queue account-owner-unavailable",)
    ]
    assert {one.kind for one in run_audit(ctx, TUESDAY).findings} == set()


def test_a_lead_whose_account_is_to_be_chosen_keeps_its_place_on_its_track(ctx: AppContext, tmp_path: Path) -> None:
    file = tmp_path / "accounts.csv"
    more = "2,Bergen,bergen.example,ana,customer\n3,Bergen Two,bergen.example,ben,prospect\n"
    file.write_text("id,name,domains,owner,kind\n" + more, encoding="utf-8")
    import_accounts(ctx, file, MONDAY - DAY)
    lead = add_lead(ctx, title="Head", email="ida@bergen.example", at=MONDAY - DAY)
    run_at(ctx, MONDAY - DAY)
    record_signal(ctx, lead, SignalKind.REPLIED, MONDAY)
    run_at(ctx, MONDAY)
    assert custody(ctx, lead) == ("queue", "account-ambiguous")
    assert rows(ctx, "SELECT end_reason FROM enrollment WHERE lead_id = :id", id=lead) == [(None,)]
    assert {one.kind for one in run_audit(ctx, MONDAY).findings} == set()
