"""Test enrolling all leads that meet a condition: who enters, who is left out and why, and who comes back."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.definitions.field_checks import parse_condition
from nurture.domain.signals import SignalKind
from nurture.errors import InvalidDefinitions, InvalidState, NotFound
from nurture.journey.consent.suppression import suppress
from nurture.journey.delivery import stopping
from nurture.journey.tracks.enroll_where import EnrollmentCounts, enroll_where
from nurture.reporting.audit import run_audit
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import (
    RecordingProvider,
    add_leads,
    all_rows,
    custody,
    events,
    record_signal,
    recorded_statements,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = START + DAY
_INVITE = """
name: invite
goal: Fill the round table
audience: nobody
priority: 50
steps:
  - email: 01-invite
    after: at once
finally: previous
"""


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    sources = sample_rules()
    email = sources["tracks/keep/01-news.md"].replace("News", "Invitation")
    more = {"tracks/invite/track.yaml": _INVITE, "tracks/invite/01-invite.md": email}
    made = make_context(db, tmp_path, rules=sources | more)
    made.provider = RecordingProvider()
    return made


def invite(ctx: AppContext, where: str = "{field: city, is: Kiel}", **more: bool) -> EnrollmentCounts:
    return enroll_where(ctx, "invite", parse_condition(where, {})[0], NOW, **more)


def test_who_meets_the_condition_enters_once_and_comes_back_to_its_step(ctx: AppContext) -> None:
    lead, other = add_lead(ctx, city="Kiel", title="Buyer"), add_lead(ctx, city="Ulm", title="Buyer")
    run_at(ctx, START, START + HOUR)
    assert invite(ctx).entering == {"keep": 1}
    assert [custody(ctx, one) for one in (lead, other)] == [("track", "invite"), ("track", "keep")]
    again = invite(ctx)
    assert (again.entering, again.left_out) == ({}, {"on it already": 1})
    run_at(ctx, *(NOW + hour * HOUR for hour in range(6)))
    assert custody(ctx, lead) == ("track", "keep")
    assert isinstance(ctx.provider, RecordingProvider)
    assert [subject for _, _, subject in ctx.provider.sent] == ["Invitation"]
    assert invite(ctx).left_out == {"on it before, and `re_entry` keeps them out": 1}
    assert "enrolled by condition: city is Kiel" in str(all_rows(ctx)["journal"])
    assert run_audit(ctx, NOW + DAY).ok


def test_who_may_not_enter_is_left_out_and_counted_by_reason(ctx: AppContext) -> None:
    refused = add_lead(ctx, city="Kiel", email="no@people.example")
    asked, resting = add_lead(ctx, city="Kiel"), add_lead(ctx, city="Kiel", title="student")
    run_at(ctx, START, START + HOUR)
    suppress(ctx, ["no@people.example"], NOW)
    record_signal(ctx, asked, SignalKind.REPLIED, NOW)
    run_at(ctx, NOW)
    add_lead(ctx, city="Kiel", at=NOW)
    found = invite(ctx)
    assert found.entering == {}
    assert found.left_out == {"in the queue suppressed": 1, "with sales": 1, "not classified yet": 1}
    assert [custody(ctx, one)[0] for one in (refused, asked, resting)] == ["queue", "offer", "closed"]


def test_a_dry_run_counts_the_same_and_writes_nothing(ctx: AppContext) -> None:
    add_lead(ctx, city="Kiel")
    run_at(ctx, START, START + HOUR)
    before = all_rows(ctx)
    dry = invite(ctx, dry_run=True)
    assert all_rows(ctx) == before
    assert invite(ctx) == dry


def test_a_batch_costs_the_same_statements_for_many_leads_as_for_two(ctx: AppContext) -> None:
    counted = []
    for city, count in (("Kiel", 2), ("Ulm", 2), ("Bonn", 20)):
        add_leads(ctx, count, START, city=city)
        run_at(ctx, START)
        with recorded_statements(ctx.database) as statements:
            assert invite(ctx, f"{{field: city, is: {city}}}").entering.total() == count
        counted.append(len(statements))
    assert counted[1] == counted[2]


def test_a_condition_that_cannot_be_read_or_a_track_that_takes_nobody_is_refused(ctx: AppContext) -> None:
    with pytest.raises(InvalidDefinitions, match="not a kind of condition"):
        parse_condition("{feild: city, is: Kiel}", {})
    _, warnings = parse_condition("{field: citty, is: Kiel}", {})
    assert "no field is called `citty`" in warnings[0].message
    condition, _ = parse_condition("everybody", {})
    with pytest.raises(NotFound, match="Did you mean `invite`"):
        enroll_where(ctx, "invit", condition, NOW)
    stopping.retire(ctx, "invite", "keep", "", "mara", NOW)
    with pytest.raises(InvalidState, match="Enroll the leads in keep"):
        invite(ctx)


def test_the_journal_says_that_the_track_was_interrupted(ctx: AppContext) -> None:
    lead = add_lead(ctx, city="Kiel")
    run_at(ctx, START, START + HOUR)
    invite(ctx)
    assert events(ctx, lead)[-1] == "taken_over"
