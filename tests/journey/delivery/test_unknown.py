"""Test unknown deliveries: listing them, their default resolution, and resolving them by hand."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.domain.delivery.receipts import Unknown
from nurture.errors import NotFound
from nurture.journey.delivery import run, unknown
from nurture.reporting import explain
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import RecordingProvider, all_rows, events, one, rows

HOUR, DAY, MINUTE = timedelta(hours=1), timedelta(days=1), timedelta(minutes=1)
OPEN = START + HOUR
_RESENDS = "on_unknown: {resend_after: 24 hours}\n"


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def _add_unknown(ctx: AppContext) -> int:
    """Return a lead whose first touch has unknown delivery."""
    lead = add_lead(ctx, title="Head")
    ctx.provider = RecordingProvider(lambda *_: Unknown("the line broke"))
    run_at(ctx, START, OPEN)
    ctx.provider = RecordingProvider()
    return lead


def _message(ctx: AppContext) -> int:
    number: int = one(ctx, "SELECT id FROM message")
    return number


def _state(ctx: AppContext) -> tuple[str, str]:
    ((state, reason),) = rows(ctx, "SELECT state, coalesce(reason, '') FROM message")
    return state, reason


def _refs(ctx: AppContext) -> list[str]:
    assert isinstance(ctx.provider, RecordingProvider)
    return ctx.provider.refs


def test_unknown_messages_are_listed_with_their_details(ctx: AppContext) -> None:
    lead = _add_unknown(ctx)
    (found,) = (one.message for one in unknown.list_pending_resolutions(ctx))
    assert (found.lead_id, found.track, found.step) == (lead, "welcome", "01-hello")
    assert (found.called_at, found.attempts, found.reason) == (OPEN, 1, "the line broke")
    assert found.email == one(ctx, "SELECT email FROM address")


def test_an_unknown_touch_counts_as_sent_after_three_days(ctx: AppContext) -> None:
    _add_unknown(ctx)
    (found,) = unknown.list_pending_resolutions(ctx)
    assert (found.resolution, found.at) == ("count_as_sent", OPEN + 3 * DAY)


def test_an_unknown_brief_is_held(ctx: AppContext) -> None:
    add_lead(ctx, demo_requested=True)
    ctx.provider = RecordingProvider(lambda *_: Unknown("the line broke"))
    run_at(ctx, START)
    (found,) = unknown.list_pending_resolutions(ctx)
    assert (found.message.kind, found.resolution, found.at) == ("brief", "hold", None)


def test_resend_rules_say_when_and_resend(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path, rules={**sample_rules(), "sending.yaml": _RESENDS})
    _add_unknown(ctx)
    (found,) = unknown.list_pending_resolutions(ctx)
    assert (found.resolution, found.at) == ("resend", OPEN + DAY)
    run.deliver(ctx, VirtualClock(OPEN + DAY - MINUTE))
    assert _refs(ctx) == []
    run.deliver(ctx, VirtualClock(OPEN + DAY + MINUTE))
    assert len(_refs(ctx)) == 1


def test_a_message_that_was_sent_counts_from_its_call_and_its_track_goes_on(ctx: AppContext) -> None:
    lead = _add_unknown(ctx)
    unknown.resolve_unknown(ctx, [_message(ctx)], OPEN + DAY, sent=True)
    assert _state(ctx) == ("accepted", "resolved by hand: it was sent")
    assert unknown.list_pending_resolutions(ctx) == []
    run_at(ctx, OPEN + DAY)
    assert _refs(ctx) == []
    assert one(ctx, "SELECT step FROM enrollment WHERE lead_id = :id", id=lead) == "wait-for-click"


def test_a_message_that_was_not_sent_goes_out_once_more(ctx: AppContext) -> None:
    _add_unknown(ctx)
    unknown.resolve_unknown(ctx, [_message(ctx)], OPEN + DAY, sent=False)
    assert _state(ctx)[0] == "planned"
    run_at(ctx, OPEN + DAY, OPEN + DAY + HOUR)
    assert len(_refs(ctx)) == 1
    assert _state(ctx)[0] == "accepted"


def test_a_message_whose_track_went_on_is_cancelled_instead_of_sent_late(ctx: AppContext) -> None:
    _add_unknown(ctx)
    run_at(ctx, OPEN + 3 * DAY + HOUR)
    unknown.resolve_unknown(ctx, [_message(ctx)], OPEN + 4 * DAY, sent=False)
    run.deliver(ctx, VirtualClock(OPEN + 4 * DAY))
    assert _refs(ctx) == []
    assert _state(ctx)[0] == "cancelled"


@pytest.mark.parametrize(("sent", "word"), [(True, "it was sent"), (False, "planned again")])
def test_the_journal_records_the_resolution_without_personal_data(ctx: AppContext, sent: bool, word: str) -> None:
    lead = _add_unknown(ctx)
    address = one(ctx, "SELECT email FROM address")
    unknown.resolve_unknown(ctx, [_message(ctx)], OPEN + DAY, sent=sent)
    (line,) = [each for each in explain.explain(ctx, lead, OPEN + DAY).history if each.event == "resolved"]
    assert line.at == OPEN + DAY
    assert "a person" in line.reason
    assert word in line.reason
    assert line.ref == "touch:1:01-hello:1"
    assert address not in repr(rows(ctx, "SELECT * FROM journal"))


def test_resolving_is_all_or_none(ctx: AppContext) -> None:
    lead = _add_unknown(ctx)
    before = all_rows(ctx)
    with pytest.raises(NotFound, match=r"No message with unknown delivery: 998, 999\. Nothing was changed"):
        unknown.resolve_unknown(ctx, [999, _message(ctx), 998], OPEN + DAY, sent=True)
    assert all_rows(ctx) == before
    assert "resolved" not in events(ctx, lead)


def test_a_message_is_not_resolved_twice(ctx: AppContext) -> None:
    lead = _add_unknown(ctx)
    unknown.resolve_unknown(ctx, [_message(ctx)], OPEN + DAY, sent=True)
    with pytest.raises(NotFound, match="No message with unknown delivery"):
        unknown.resolve_unknown(ctx, [_message(ctx)], OPEN + DAY, sent=False)
    assert events(ctx, lead).count("resolved") == 1


def test_without_published_definitions_there_are_no_unknown_messages(db: Database) -> None:
    assert unknown.list_pending_resolutions(AppContext(db, RecordingProvider())) == []
