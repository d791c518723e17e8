"""Test stops of a track and of all mail: at once, kept with who and why, and without a burst after the start."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.domain.delivery.stops import ALL_TRACKS
from nurture.domain.signals import SignalKind
from nurture.errors import InvalidState, NotFound
from nurture.journey.delivery import claim, run, send, stopping
from nurture.journey.tracks import advance, manual
from nurture.publishing import publish
from nurture.reporting.explain import explain, summary
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.delivery.test_run import OPEN
from tests.journey.observe import (
    RecordingProvider,
    add_leads,
    custody,
    due_at,
    events,
    messages,
    record_signal,
    recorded_statements,
    rows,
    write,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


@pytest.fixture
def provider(ctx: AppContext) -> RecordingProvider:
    provider = RecordingProvider(max_concurrency=4)
    ctx.provider = provider
    return provider


def _plan(ctx: AppContext, count: int) -> list[int]:
    """Bring leads to `welcome`, with their first email planned for OPEN."""
    leads = add_leads(ctx, count, title="Head")
    run_at(ctx, START)
    advance.advance(ctx, OPEN)
    return leads


def _deliver(ctx: AppContext, at: datetime) -> None:
    run.deliver(ctx, VirtualClock(at))


def _stop(ctx: AppContext, at: datetime, track: str = "welcome") -> stopping.StopResult:
    return stopping.stop(ctx, track, "wrong price", "mara", at)


def _start(ctx: AppContext, at: datetime, track: str = "welcome") -> stopping.StopResult:
    return stopping.start(ctx, track, "", "mara", at)


def _states(ctx: AppContext) -> set[str]:
    return {state for _, _, state, _ in messages(ctx)}


def test_a_stopped_track_sends_nothing_not_even_what_was_planned(ctx: AppContext, provider: RecordingProvider) -> None:
    _plan(ctx, 5)
    result = _stop(ctx, OPEN)
    assert (result.planned, result.sending) == (5, 0)
    _deliver(ctx, OPEN)
    _deliver(ctx, OPEN + 9 * DAY)
    assert provider.sent == []
    assert _states(ctx) == {"planned"}
    assert {reason for *_, reason in messages(ctx)} == {
        "stopped: track welcome is stopped, since 2026-01-05 09:00 UTC by mara: wrong price"
    }


def test_claimed_messages_go_back_unsent_if_the_stop_comes_before_the_call(
    ctx: AppContext, provider: RecordingProvider
) -> None:
    _plan(ctx, 5)
    batch = claim.claim_batch(ctx, OPEN, 10)
    _stop(ctx, OPEN)
    send.send_claimed(ctx, batch, VirtualClock(OPEN))
    assert (provider.sent, _states(ctx)) == ([], {"planned"})
    _start(ctx, OPEN + HOUR)
    _deliver(ctx, OPEN + HOUR)
    assert len(set(provider.refs)) == len(provider.refs) == 5


@pytest.mark.parametrize("track", ["welcome", ALL_TRACKS])
def test_after_a_start_each_lead_gets_its_next_email_once_however_long_it_took(
    ctx: AppContext, provider: RecordingProvider, track: str
) -> None:
    _plan(ctx, 5)
    _stop(ctx, OPEN, track)
    for day in range(40):
        run_at(ctx, OPEN + day * DAY)
    assert provider.sent == []
    friday_night = OPEN + 39 * DAY + 12 * HOUR
    _start(ctx, friday_night, track)
    run_at(ctx, friday_night)
    assert provider.sent == []
    monday = OPEN + 42 * DAY
    run_at(ctx, monday, monday + HOUR, monday + DAY)
    assert sorted(subject for _, _, subject in provider.sent) == ["Hello"] * 5
    assert {at for at, _, _ in provider.sent} == {monday}


def test_a_lead_that_waited_on_a_stopped_track_gets_one_email_after_the_start(
    ctx: AppContext, provider: RecordingProvider
) -> None:
    _plan(ctx, 1)
    _deliver(ctx, OPEN)
    _stop(ctx, OPEN + HOUR)
    for day in range(60):
        run_at(ctx, OPEN + day * DAY)
    _start(ctx, OPEN + 60 * DAY)
    run_at(ctx, OPEN + 60 * DAY, OPEN + 61 * DAY, OPEN + 62 * DAY)
    assert [subject for _, _, subject in provider.sent] == ["Hello", "More"]


def test_planned_emails_go_in_the_newest_version_after_a_start(ctx: AppContext, provider: RecordingProvider) -> None:
    _plan(ctx, 2)
    _stop(ctx, OPEN)
    rules = sample_rules()
    rules["tracks/welcome/01-hello.md"] = rules["tracks/welcome/01-hello.md"].replace("Hello", "The right price", 1)
    publish.publish(ctx, rules, OPEN)
    _start(ctx, OPEN + HOUR)
    run_at(ctx, OPEN + HOUR)
    assert [subject for _, _, subject in provider.sent] == ["The right price"] * 2


def test_other_tracks_and_mail_to_sales_go_on(ctx: AppContext, provider: RecordingProvider) -> None:
    other, asks = add_lead(ctx), add_lead(ctx, demo_requested=True)
    _stop(ctx, START)
    _stop(ctx, START, ALL_TRACKS)
    _start(ctx, START, ALL_TRACKS)
    run_at(ctx, START)
    assert custody(ctx, asks)[0] == "offer"
    run_at(ctx, OPEN + 11 * DAY)
    assert custody(ctx, other) == ("track", "keep")
    assert {ref.partition(":")[0] for ref in provider.refs} >= {"brief", "touch"}


@pytest.mark.parametrize(("to_sales", "sent"), [(False, 1), (True, 0)])
def test_a_stop_of_all_mail_covers_mail_to_sales_only_if_asked(
    ctx: AppContext, provider: RecordingProvider, to_sales: bool, sent: int
) -> None:
    _plan(ctx, 1)
    stopping.stop(ctx, ALL_TRACKS, "wrong sender", "mara", OPEN, to_sales=to_sales)
    add_lead(ctx, at=OPEN, demo_requested=True)
    run_at(ctx, OPEN)
    assert len([ref for ref in provider.refs if ref.startswith("brief")]) == sent
    assert len(provider.refs) == sent
    _start(ctx, OPEN + HOUR, ALL_TRACKS)
    run_at(ctx, OPEN + HOUR)
    assert sorted(ref.partition(":")[0] for ref in provider.refs) == ["brief", "touch"]


def test_a_lead_on_a_stopped_track_holds_and_explain_says_why(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    _stop(ctx, START)
    run_at(ctx, START, START)
    assert events(ctx, lead)[-1] == "stopped"
    explanation = explain(ctx, lead, OPEN)
    assert explanation.hold.guard == "stopped"
    shown = dict(summary(explanation))
    assert "track welcome is stopped" in str(shown["held by"])
    assert "by mara: wrong price" in str(shown["held by"])


def test_a_lead_that_asks_for_a_person_is_handed_off_while_its_track_is_stopped(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    _stop(ctx, START)
    run_at(ctx, START, START)
    record_signal(ctx, lead, SignalKind.REPLIED, OPEN)
    run_at(ctx, OPEN)
    assert custody(ctx, lead)[0] == "offer"


def test_a_retired_track_gives_its_leads_to_another_and_takes_nobody(
    ctx: AppContext, provider: RecordingProvider
) -> None:
    leads = _plan(ctx, 3)
    stopping.retire(ctx, "welcome", "keep", "replaced", "mara", OPEN)
    newcomer = add_lead(ctx, at=OPEN, title="Head")
    run_at(ctx, OPEN, OPEN)
    assert {custody(ctx, lead) for lead in (*leads, newcomer)} == {("track", "keep")}
    assert _states(ctx) == {"cancelled"}
    assert provider.sent == []
    with pytest.raises(InvalidState, match="Enroll the lead in keep"):
        manual.enroll(ctx, newcomer, "welcome", OPEN)
    _start(ctx, OPEN + HOUR)
    manual.enroll(ctx, newcomer, "welcome", OPEN + HOUR)
    assert custody(ctx, newcomer) == ("track", "welcome")


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda ctx: _stop(ctx, START, "welcom"), NotFound, "Did you mean `welcome`"),
        (lambda ctx: stopping.stop(ctx, "welcome", " ", "mara", START), InvalidState, "needs a reason"),
        (lambda ctx: _start(ctx, START), InvalidState, "Track welcome is not stopped. Stopped now: nothing is"),
        (lambda ctx: (_stop(ctx, START), _stop(ctx, START)), InvalidState, "Stopped already: track welcome"),
        (lambda ctx: stopping.retire(ctx, "keep", "keep", "", "mara", START), InvalidState, "Name another track"),
        (lambda ctx: stopping.retire(ctx, "keep", "kept", "", "mara", START), NotFound, "Did you mean `keep`"),
    ],
)
def test_a_stop_that_cannot_be_is_refused_with_the_next_step(
    ctx: AppContext, change: Callable[[AppContext], object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        change(ctx)


def test_two_tracks_cannot_be_retired_to_each_other(ctx: AppContext) -> None:
    stopping.retire(ctx, "welcome", "keep", "", "mara", START)
    with pytest.raises(InvalidState, match="welcome cannot take the leads of keep"):
        stopping.retire(ctx, "keep", "welcome", "", "mara", START)


def test_each_decision_is_kept_and_none_can_be_changed(ctx: AppContext) -> None:
    _stop(ctx, START)
    _start(ctx, OPEN)
    kept = "SELECT track, action, reason, decided_by FROM mail_stop ORDER BY id"
    assert rows(ctx, kept) == [("welcome", "stop", "wrong price", "mara"), ("welcome", "start", "", "mara")]
    with pytest.raises(DBAPIError, match="append-only"):
        write(ctx, "UPDATE mail_stop SET reason = 'none'")


def test_a_stop_costs_a_constant_number_of_statements(ctx: AppContext, provider: RecordingProvider) -> None:
    counts = []
    for size in (3, 40):
        _plan(ctx, size)
        batch = claim.claim_batch(ctx, OPEN, size)
        _stop(ctx, OPEN)
        provider.max_concurrency = 2 * size
        with recorded_statements(ctx.database) as statements:
            send.send_claimed(ctx, batch, VirtualClock(OPEN))
            _start(ctx, OPEN)
        counts.append(len(statements))
        _deliver(ctx, OPEN)
    assert counts[0] == counts[1]


def test_a_start_wakes_the_leads(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    _stop(ctx, START)
    run_at(ctx, START, START)
    assert due_at(ctx, lead) == START + 7 * DAY
    _start(ctx, START + HOUR)
    assert due_at(ctx, lead) == START + HOUR
