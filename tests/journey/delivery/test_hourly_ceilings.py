"""The ceiling of emails per hour of a track, and the peaks in the report."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from nurture.db.engine import Database
from nurture.reporting.tracks import find_peaks
from nurture.simulation.engine import run_simulation
from tests.journey.builders import START, make_context, run_at, sample_rules
from tests.journey.observe import add_leads, recorded_statements, rows

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WELCOME = "tracks/welcome/track.yaml"


def limited(line: str) -> dict[str, str]:
    rules = sample_rules()
    return rules | {WELCOME: rules[WELCOME] + f"\n{line}\n"}


def test_no_hour_gets_more_than_the_ceiling_and_every_email_goes_once(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path, rules=limited("per_hour: 7"))
    add_leads(ctx, 60, title="Head")
    run_simulation(ctx, START, START + 4 * DAY, min_step=timedelta(minutes=5))
    sent = rows(ctx, "SELECT accepted_at, reason FROM message WHERE step = '01-hello' AND state = 'accepted'")
    assert len(sent) == 60
    peaks = find_peaks(ctx)
    assert peaks is not None
    assert peaks.in_hour == 7
    assert peaks.mean_per_hour <= 7
    assert peaks.in_day <= 8 * 7


def test_what_exceeds_the_ceiling_says_so_and_costs_the_same_statements_for_any_number(
    db: Database, tmp_path: Path
) -> None:
    ctx = make_context(db, tmp_path, rules=limited("per_hour: 2"))
    counts = []
    for round_, number in enumerate((4, 4, 40)):
        start = START + round_ * DAY
        add_leads(ctx, number, at=start, title="Head")
        run_at(ctx, start)
        with recorded_statements(db) as statements:
            run_at(ctx, start + HOUR)
        counts.append(len(statements))
    assert counts[1] == counts[2]
    reasons = {row[0] for row in rows(ctx, "SELECT reason FROM message WHERE state = 'planned'")}
    assert all(reason.endswith("welcome sends 2 emails an hour at most") for reason in reasons), reasons


def test_a_cohort_is_spread_and_the_peaks_stand_beside_the_means(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path, rules=limited("spread: 3 days"))
    assert find_peaks(ctx) is None
    add_leads(ctx, 80, title="Head")
    run_simulation(ctx, START, START + 4 * DAY, min_step=timedelta(minutes=10))
    peaks = find_peaks(ctx)
    assert peaks is not None
    days = rows(ctx, "SELECT count(*) FROM message WHERE step = '01-hello' AND state = 'accepted'")
    assert days == [(80,)]
    assert peaks.in_day < 45
    assert peaks.in_hour < 16
    assert peaks.hour > datetime(2026, 1, 1, tzinfo=UTC)
    assert (peaks.mean_per_hour < peaks.in_hour, peaks.mean_per_day < peaks.in_day) == (True, True)
