"""Previews: an email as one lead would get it."""

from __future__ import annotations

from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.definitions import read_folder
from nurture.errors import NotFound, RulesFaulty
from nurture.publishing.preview import SAMPLE, Recipient, preview, readdressed, recipient
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, tiny_rules
from tests.journey.observe import everything

TEMPLATES = Path(__file__).parents[2] / "templates"


def test_every_email_that_ships_can_be_previewed_for_a_lead_and_for_one_without_facts() -> None:
    sources = read_folder(TEMPLATES)
    paths = [path for path in sources if path.startswith("tracks/") and path.endswith(".md")]
    emails = [path.removesuffix(".md").split("/")[1:] for path in paths]
    assert len(emails) > 15
    for track, email in emails:
        for who in (SAMPLE, Recipient("bare@example.com")):
            shown = preview(sources, track, email, who)
            assert shown.subject.strip()
            assert "{{" not in shown.html + shown.text + shown.subject
            assert "mailto:" in shown.html


def test_a_stored_lead_is_previewed_with_its_own_facts_and_nothing_is_written(
    db: Database, tmp_path: Path
) -> None:
    house = make_house(db, tmp_path)
    lead = add_lead(house, first_name="Zoë", email="zoe@people.example")
    before = everything(house)
    shown = preview(tiny_rules(), "welcome", "01-hello", recipient(house, lead))
    assert "Hello Zoë" in shown.text
    assert shown.to.email == "zoe@people.example"
    assert everything(house) == before


def test_unknown_names_say_what_there_is(sqlite_db: Database, tmp_path: Path) -> None:
    house: House = make_house(sqlite_db, tmp_path)
    with pytest.raises(NotFound, match="keep, welcome"):
        preview(tiny_rules(), "welcom", "01-hello", SAMPLE)
    with pytest.raises(NotFound, match="01-hello, 02-more"):
        preview(tiny_rules(), "welcome", "01-hallo", SAMPLE)
    with pytest.raises(NotFound, match="no lead 5"):
        recipient(house, 5)


def test_faulty_rules_are_not_previewed() -> None:
    rules = tiny_rules()
    rules["tracks/welcome/track.yaml"] += "colour: blue\n"
    with pytest.raises(RulesFaulty):
        preview(rules, "welcome", "01-hello", SAMPLE)


def test_a_test_mail_goes_to_somebody_else_under_a_ref_of_its_own() -> None:
    shown = preview(tiny_rules(), "welcome", "01-hello", SAMPLE)
    test = readdressed(shown, "me@house.example", START)
    assert (test.to.email, test.subject) == ("me@house.example", "[test] Hello")
    assert test.ref != shown.ref
