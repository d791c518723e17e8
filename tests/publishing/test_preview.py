"""Previews of an email for one lead."""

from __future__ import annotations

from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.definitions.folder import read_folder
from nurture.errors import InvalidDefinitions, NotFound
from nurture.journey.tracks.emails_to_self import SAMPLE_RECIPIENT, Recipient, load_recipient, readdress
from nurture.publishing.preview import render_preview
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, sample_rules
from tests.journey.observe import all_rows

TEMPLATES = Path(__file__).parents[2] / "templates"


def test_every_shipped_email_can_be_previewed_for_a_lead_with_and_without_fields() -> None:
    sources = read_folder(TEMPLATES)
    paths = [path for path in sources if path.startswith("tracks/") and path.endswith(".md")]
    emails = [path.removesuffix(".md").split("/")[1:] for path in paths]
    assert len(emails) > 15
    for track, email in emails:
        for recipient in (SAMPLE_RECIPIENT, Recipient("bare@example.com")):
            rendered = render_preview(sources, track, email, recipient)
            assert rendered.subject.strip()
            assert "{{" not in rendered.html + rendered.text + rendered.subject
            assert "mailto:" in rendered.html


def test_a_stored_lead_is_previewed_with_its_own_fields_and_nothing_is_written(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    lead = add_lead(ctx, first_name="Zoë", email="zoe@people.example")
    before = all_rows(ctx)
    rendered = render_preview(sample_rules(), "welcome", "01-hello", load_recipient(ctx, lead, START))
    assert "Hello Zoë" in rendered.text
    assert rendered.to.email == "zoe@people.example"
    assert all_rows(ctx) == before


def test_an_unknown_name_is_corrected_or_lists_the_known_ones(sqlite_db: Database, tmp_path: Path) -> None:
    ctx: AppContext = make_context(sqlite_db, tmp_path)
    with pytest.raises(NotFound, match="Did you mean `welcome`"):
        render_preview(sample_rules(), "welcom", "01-hello", SAMPLE_RECIPIENT)
    with pytest.raises(NotFound, match="keep, welcome"):
        render_preview(sample_rules(), "spring", "01-hello", SAMPLE_RECIPIENT)
    with pytest.raises(NotFound, match="01-hello, 02-more"):
        render_preview(sample_rules(), "welcome", "01-hallo", SAMPLE_RECIPIENT)
    with pytest.raises(NotFound, match="no lead 5"):
        load_recipient(ctx, 5, START)


def test_invalid_definitions_are_not_previewed() -> None:
    rules = sample_rules()
    rules["tracks/welcome/track.yaml"] += "colour: blue\n"
    with pytest.raises(InvalidDefinitions):
        render_preview(rules, "welcome", "01-hello", SAMPLE_RECIPIENT)


def test_a_test_email_has_another_recipient_and_its_own_ref() -> None:
    rendered = render_preview(sample_rules(), "welcome", "01-hello", SAMPLE_RECIPIENT)
    test = readdress(rendered, "me@house.example", "", START)
    assert (test.to.email, test.subject) == ("me@house.example", "[test] Hello")
    assert test.ref != rendered.ref


def test_a_field_is_shown_as_its_type_and_a_missing_one_by_its_fallback() -> None:
    body = (
        "Plan {{ lead.plan }}, {{ lead.plan or 'none' }}, {{ lead.plan | upper }}{% if lead.plan %}!{% endif %}, "
        "{{ lead.ends_on | date }}, {{ lead.attended }}, {{ lead.seats }}, {{ lead.kept or 'not kept' }}."
    )
    rules = sample_rules() | {
        "tracks/welcome/01-hello.md": f"---\nsubject: About {{{{ lead.plan }}}}\npreheader: Hi\n---\n{body}\n",
        "fields.yaml": "plan: {fallback: <your plan>}\nends_on: {type: date, fallback: soon}\nseats: {type: number}\n",
    }
    empty = render_preview(rules, "welcome", "01-hello", Recipient("a@example.com"))
    assert empty.subject == "About <your plan>"
    assert "Plan <your plan>, none, <YOUR PLAN>, soon, , , not kept." in " ".join(empty.text.split())
    assert "Plan &lt;your plan&gt;, none" in " ".join(empty.html.split())
    fields = {"plan": "Trial", "ends_on": "2027-03-31", "attended": True, "seats": 5, "kept": "<x>"}
    full = render_preview(rules, "welcome", "01-hello", Recipient("a@example.com", fields))
    assert full.subject == "About Trial"
    assert "Plan Trial, Trial, TRIAL!, 31 March 2027, yes, 5, <x>." in " ".join(full.text.split())
