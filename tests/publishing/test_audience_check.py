"""The leads that fit each audience today are counted, and those that miss only one part of it."""

from __future__ import annotations

from pathlib import Path

from nurture.db.engine import Database
from nurture.publishing.audience_check import count_audiences
from tests.journey.builders import START, add_lead, make_context, sample_rules
from tests.journey.observe import add_leads, recorded_statements

TRACK = "tracks/welcome/track.yaml"


def rules_with(audience: str) -> dict[str, str]:
    """Return the sample definitions with this audience for the track welcome."""
    rules = sample_rules()
    lines = rules[TRACK].split("\n")
    return rules | {TRACK: "\n".join(f"audience: {audience}" if "audience:" in line else line for line in lines)}


def test_each_audience_is_counted_with_what_almost_all_miss(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    for country in ("DE", "DE", "AT"):
        add_lead(ctx, lead_source="Web", region=country, attended=True)
    add_lead(ctx, lead_source="Fair", attended=False)
    audience = "{all: [{field: lead_source, is: Web}, {field: region, is: US}, {field: attended, is: yes}]}"
    (count,) = [one for one in count_audiences(ctx, rules_with(audience), START) if one.track == "welcome"]
    assert str(count) == "0 of 4 leads fit this audience; 3 but for `region`"
    (count,) = [
        one for one in count_audiences(ctx, rules_with("{field: attended, is: yes}"), START) if one.track == "welcome"
    ]
    assert str(count) == "3 of 4 leads fit this audience"


def test_the_count_costs_as_many_statements_for_many_leads_as_for_few(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    numbers = []
    for more in (3, 60):
        add_leads(ctx, more)
        with recorded_statements(db) as statements:
            count_audiences(ctx, sample_rules(), START)
        numbers.append(len(statements))
    assert numbers[0] == numbers[1]


def test_leads_whose_value_is_no_date_are_counted(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    add_lead(ctx, title="Head", trial_ends="soon")
    add_lead(ctx, title="Head", trial_ends="2026-02-01")
    add_lead(ctx, title="Head", trial_ends="")
    dated = rules_with("{date: trial_ends, within: 90 days}") | {"fields.yaml": "trial_ends: {type: date}\n"}
    (count,) = [one for one in count_audiences(ctx, dated, START) if one.track == "welcome"]
    assert str(count).endswith("; 1 have a `trial_ends` that is no date")
    assert count.fit == 1
