"""Test what a dry run says of a change: who gets what earlier, later, never or again, and who enters."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.publishing.effect_wording import tabulate
from nurture.publishing.effects import Change, Effect, Effects
from nurture.publishing.publish import preview_effects, publish
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import RecordingProvider, add_leads, all_rows, recorded_statements

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
_TRACK = "tracks/welcome/track.yaml"
_NOW = START + DAY + 4 * HOUR
"""Tuesday; the first email went on Monday."""

Short = tuple[str, Change, date | None, date | None, int]


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    made = make_context(db, tmp_path)
    made.provider = RecordingProvider()
    return made


def rules(*changes: tuple[str, str], **emails: str) -> dict[str, str]:
    """Return the sample rules with replacements in the track `welcome`, and more emails."""
    sources = sample_rules()
    for old, new in changes:
        assert old in sources[_TRACK]
        sources[_TRACK] = sources[_TRACK].replace(old, new)
    email = sources["tracks/welcome/01-hello.md"]
    more = {f"tracks/welcome/{name}.md": email.replace("Hello", subject) for name, subject in emails.items()}
    return sources | more


def on_welcome(ctx: AppContext, count: int = 3) -> list[int]:
    leads = [add_lead(ctx, title="Head of Planning") for _ in range(count)]
    run_at(ctx, START, START + HOUR, START + 2 * HOUR, _NOW)
    return leads


def effects(ctx: AppContext, sources: dict[str, str], *, take_in: bool | None = None) -> Effects:
    found = preview_effects(ctx, sources, _NOW, take_in=take_in).effects
    assert found is not None
    return found


def of(found: Effects, track: str = "welcome") -> list[Short]:
    return [(row.name, row.change, row.before, row.after, row.leads) for row in found.rows if row.track == track]


def test_an_email_with_a_shorter_delay_comes_earlier_and_what_counts_from_it_too(ctx: AppContext) -> None:
    leads = on_welcome(ctx)
    found = effects(ctx, rules(("up_to: 5 days", "up_to: 2 days"), ("after: 3 days", "after: 2 days")))
    assert of(found) == [
        ("02-more", Change.EARLIER, date(2026, 1, 12), date(2026, 1, 7), 3),
        ("keep", Change.EARLIER, date(2026, 1, 12), date(2026, 1, 7), 3),
    ]
    assert of(found, "keep")[0] == ("01-news", Change.EARLIER, date(2026, 1, 22), date(2026, 1, 19), 3)
    assert (found.leads, found.affected) == (3, 3)
    assert found.rows[0].examples == tuple(leads)


def test_what_is_due_at_once_goes_at_the_next_run(ctx: AppContext) -> None:
    on_welcome(ctx)
    found = effects(ctx, rules(("up_to: 5 days", "up_to: 1 hour"), ("after: 3 days", "after: 2 hours")))
    first = next(row for row in found.rows if row.track == "welcome")
    assert (first.name, first.change, first.after, first.at_next_run) == ("02-more", Change.EARLIER, _NOW.date(), True)


def test_an_email_behind_which_the_leads_stand_is_skipped_and_one_before_them_is_new(ctx: AppContext) -> None:
    on_welcome(ctx, 2)
    before, behind = "  - email: 00-first\n    after: 0 days\n", "  - email: 03-last\n    after: 2 days\nfinally: keep"
    changes = ("steps:\n", f"steps:\n{before}"), ("finally: keep", behind)
    found = effects(ctx, rules(*changes, **{"00-first": "First", "03-last": "Last"}))
    assert [one for one in of(found) if one[0] != "keep"] == [
        ("00-first", Change.SKIPPED, None, None, 2),
        ("03-last", Change.NEW, None, date(2026, 1, 14), 2),
    ]


def test_an_email_that_is_removed_never_comes_and_one_under_another_step_comes_again(ctx: AppContext) -> None:
    on_welcome(ctx, 2)
    removed = rules(("  - email: 02-more\n    after: 3 days\n", ""))
    del removed["tracks/welcome/02-more.md"]
    assert ("02-more", Change.NEVER, date(2026, 1, 12), None, 2) in of(effects(ctx, removed))
    again = "  - email: 01-hello\n    id: once-more\n    after: 3 days\nfinally: keep"
    assert ("01-hello", Change.AGAIN, None, date(2026, 1, 15), 2) in of(effects(ctx, rules(("finally: keep", again))))


def test_an_email_that_moves_beyond_the_forecast_comes_later_and_not_never(ctx: AppContext) -> None:
    on_welcome(ctx, 1)
    found = of(effects(ctx, rules(("after: 3 days", "after: 90 days"))))
    assert found == [
        ("02-more", Change.LATER, date(2026, 1, 12), None, 1),
        ("keep", Change.LATER, date(2026, 1, 12), None, 1),
    ]


def test_a_wider_audience_takes_known_leads_in_only_if_that_is_asked_for(ctx: AppContext) -> None:
    other = add_lead(ctx, title="Buyer")
    run_at(ctx, START, START + HOUR)
    wider = rules(("{field: title, contains: [head]}", "everybody"), ("takes_over: no\n", ""))
    assert effects(ctx, wider).rows == ()
    found = effects(ctx, wider, take_in=True)
    entered = next(row for row in found.rows if row.name == "welcome")
    assert (entered.track, entered.what, entered.change, entered.at_next_run) == ("keep", "track", Change.NEW, True)
    assert entered.examples == (other,)


def test_a_change_without_effect_on_leads_says_so_and_writes_nothing(ctx: AppContext) -> None:
    on_welcome(ctx, 2)
    before = all_rows(ctx)
    found = effects(ctx, rules(("goal: Say hello", "goal: Greet")))
    assert (found.leads, found.affected, found.rows) == (2, 0, ())
    assert all_rows(ctx) == before
    assert preview_effects(ctx, sample_rules(), _NOW).effects is None


def test_a_dry_run_costs_the_same_statements_for_many_leads_as_for_two(ctx: AppContext) -> None:
    counted, changed = [], rules(("after: 3 days", "after: 2 days"))
    for leads in (1, 2, 20):  # the first run compiles the definitions
        add_leads(ctx, leads, START, title="Head of Planning")
        run_at(ctx, _NOW)
        with recorded_statements(ctx.database) as statements:
            assert effects(ctx, changed).leads >= leads
        counted.append(len(statements))
    assert counted[1] == counted[2]


def test_what_was_said_is_what_happens(ctx: AppContext) -> None:
    on_welcome(ctx, 1)
    changed = rules(("up_to: 5 days", "up_to: 2 days"), ("after: 3 days", "after: 2 days"))
    ((_, _, _, said, _), *_) = of(effects(ctx, changed))
    publish(ctx, changed, _NOW)
    run_at(ctx, *(_NOW + hour * HOUR for hour in range(72)))
    assert isinstance(ctx.provider, RecordingProvider)
    assert [(at.date(), subject) for at, _, subject in ctx.provider.sent[1:]] == [(said, "More")]


def test_an_email_that_comes_at_another_time_of_its_day_says_so() -> None:
    day = date(2026, 5, 26)
    row = Effect("welcome", "email", "02-more", Change.EARLIER, day, day, at_next_run=False, leads=2, examples=())
    (found,) = tabulate(Effects(START + 60 * DAY, 2, 2, (row,), 2))
    assert found == ("welcome", "02-more", 2, "earlier", "Tue 26 May", "the same day, at another time")
