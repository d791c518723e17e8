"""Leave of managers and owners of queues: a deputy gets their lists, escalations and decisions meanwhile."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.errors import InvalidState, NotFound
from nurture.journey.handoff import roster
from nurture.journey.handoff.waiting.decisions import Decision, DecisionKind, decide_waiting
from nurture.journey.handoff.waiting.lists import load_waiting
from nurture.runtime.context import AppContext
from tests.journey.builders import add_lead, make_context, run_at
from tests.journey.handoff.waiting.test_emails import TWO_MANAGERS
from tests.journey.handoff.waiting.test_lists import DAY, DECISION, HOUR, MONDAY, _notified, waiting_rules
from tests.journey.observe import custody, recorded_statements, rows

WEDNESDAY = MONDAY + 2 * DAY


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path, MONDAY, waiting_rules(TWO_MANAGERS))


def _away(ctx: AppContext, person: str, deputy: str | None) -> None:
    roster.add_leave(ctx, person, date(2026, 1, 5), date(2026, 1, 16), deputy, MONDAY)


def _ignored(ctx: AppContext) -> int:
    lead = add_lead(ctx, demo_requested=True, title="Head", at=MONDAY)
    run_at(ctx, MONDAY, MONDAY + 4 * HOUR, MONDAY + DAY, WEDNESDAY)
    assert custody(ctx, lead) == DECISION
    return lead


def _shown(ctx: AppContext, person: str) -> list[int]:
    with ctx.database.read() as tx:
        policy = ctx.definitions.current(tx).policy
        found = load_waiting(tx, policy, ctx.holidays, WEDNESDAY, person=person, limit=9)
    return [one.lead_id for one in found.leads]


def _mailboxes(tmp_path: Path, name: str) -> set[str]:
    """Return to whom the emails with this name were sent."""
    mails = [path.read_text("utf-8") for path in (tmp_path / "maildir" / "new").glob(f"{name}*")]
    return {line.partition("<")[2].strip(">") for mail in mails for line in mail.splitlines() if line[:4] == "To: "}


@pytest.mark.parametrize(("deputy", "stand_in"), [("omar", "omar"), ("ben", "ben"), (None, "ana")])
def test_a_deputy_gets_lists_and_escalations_of_a_manager_on_leave_and_decides(
    ctx: AppContext, tmp_path: Path, deputy: str | None, stand_in: str
) -> None:
    _away(ctx, "lena", deputy)
    lead = _ignored(ctx)
    assert _notified(ctx, WEDNESDAY) == {stand_in}
    assert _mailboxes(tmp_path, "waiting") == {f"{stand_in}@house.example"}
    escalated = deputy or "omar"  # the deputy of a queue is not one of a manager
    assert _mailboxes(tmp_path, "sla.1.2") == {f"{escalated}@house.example"}
    assert _shown(ctx, stand_in) == [lead]
    decide_waiting(ctx, lead, Decision(DecisionKind.ASSIGN, stand_in, "cem"), WEDNESDAY)
    assert custody(ctx, lead)[0] == "offer"


def test_after_the_leave_the_manager_gets_the_lists_again(ctx: AppContext) -> None:
    _away(ctx, "lena", "ben")
    _ignored(ctx)
    after = MONDAY + 14 * DAY
    run_at(ctx, after)
    assert _notified(ctx, after) == {"lena", "ana"}
    roster.add_leave(ctx, "lena", date(2026, 1, 20), date(2026, 1, 20), None, after)
    roster.cancel_leave(ctx, "lena", date(2026, 1, 20), after)
    run_at(ctx, after + DAY)
    assert "lena" in _notified(ctx, after + DAY)


def test_the_owner_of_a_queue_gets_the_lists_if_everybody_else_is_away_too(ctx: AppContext) -> None:
    for person in ("lena", "omar", "ana"):
        _away(ctx, person, None)
    _ignored(ctx)
    assert "lena" in _notified(ctx, WEDNESDAY)


def test_leave_is_of_people_of_the_policy(ctx: AppContext) -> None:
    with pytest.raises(NotFound, match=r"There is no rep or manager 'zoe'.*lena"):
        _away(ctx, "zoe", None)
    with pytest.raises(NotFound, match="There is no rep 'omar'"):
        _away(ctx, "ana", "omar")  # no leads can be offered to a manager
    with pytest.raises(InvalidState, match="cannot be their own deputy"):
        _away(ctx, "lena", "lena")
    assert rows(ctx, "SELECT rep FROM rep_leave") == []


def test_who_is_away_is_read_once_for_many_emails(ctx: AppContext) -> None:
    def cost(count: int) -> int:
        for _ in range(count):
            add_lead(ctx, demo_requested=True, title="Head", at=MONDAY)
        at = MONDAY + count * DAY
        run_at(ctx, at)
        with recorded_statements(ctx.database) as executed:
            run_at(ctx, at + 4 * HOUR)
        return sum("rep_leave" in one for one in executed)

    assert cost(1) >= cost(5)
