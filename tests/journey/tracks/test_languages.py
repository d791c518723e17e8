"""A lead gets email in its language, else in that of its country; links keep their numbers in every process."""

from __future__ import annotations

from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.journey.tracks.emails_to_self import Recipient
from nurture.mail.rendering.link_tracking import LinkTracking
from nurture.publishing.preview import render_preview
from nurture.runtime.context import AppContext
from nurture.runtime.published import PublishedDefinitions
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import rows

HELLO = "tracks/welcome/01-hello"
SENT = START + timedelta(hours=3)


def _mail(subject: str, link: str) -> str:
    return f'---\nsubject: {subject}\npreheader: a\n---\n{{{{ lead.renewal | date or "-" }}}} [x]({link}) [y](https://www.example.com/all)\n'


def _rules() -> dict[str, str]:
    rules = sample_rules()
    rules["defaults.yaml"] += "utm: {source: news}\n"
    for suffix, subject in (("", "Hello"), (".de", "Hallo"), (".fr", "Bonjour")):
        rules[f"{HELLO}{suffix}.md"] = _mail(subject, f"https://www.example.com/{subject}")
    return rules


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path, rules=_rules())


def test_the_language_of_the_lead_decides_then_its_country_then_the_default(ctx: AppContext, tmp_path: Path) -> None:
    cases = {
        "stated": ({"language": "German"}, "FR", "Hallo"),
        "country": ({}, "AT", "Hallo"),
        "french": ({}, "FR", "Bonjour"),
        "other": ({"language": "Spanish"}, "DE", "Hello"),
        "unknown": ({}, "", "Hello"),
    }
    for name, (fields, country, _) in cases.items():
        add_lead(
            ctx, title="Head of stock", email=f"{name}@people.example", country=country, renewal="2027-03-31", **fields
        )
    run_at(ctx, START, START + timedelta(hours=2), SENT)
    sent = [
        message_from_bytes(file.read_bytes(), policy=policy.default)
        for file in (tmp_path / "maildir" / "new").iterdir()
    ]
    subjects = {str(one["To"]).partition("@")[0].strip("<"): str(one["Subject"]) for one in sent}
    assert subjects == {name: subject for name, (_, _, subject) in cases.items()}
    german = next(one for one in sent if one["Subject"] == "Hallo")
    assert "31. März 2027" in german.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert {email for (email,) in rows(ctx, "SELECT DISTINCT email FROM message")} == {"01-hello"}


@pytest.mark.parametrize("first", ["", "de", "fr"])
def test_the_numbers_of_links_do_not_depend_on_which_language_is_sent_first(ctx: AppContext, first: str) -> None:
    found = {}
    for language in (first, "", "de", "fr"):
        ctx.definitions = PublishedDefinitions()
        with ctx.database.read() as tx:
            email = ctx.definitions.email(
                tx, "welcome", 1, "01-hello", LinkTracking("https://go.example.com"), language
            )
        found[language] = email.destinations, email.names
    urls, names = found["fr"]
    assert [name.rpartition("/")[2] for name in names] == ["Hello", "all", "Hallo", "Bonjour"]
    assert all("utm_source=news" in url for url in urls)
    assert found[""] == (urls[:2], names[:2])
    assert found["de"] == (urls[:3], names[:3])


def test_a_preview_is_in_the_language_of_its_lead() -> None:
    to = Recipient("a@example.com", {"language": "fr"})
    assert render_preview(_rules(), "welcome", "01-hello", to).subject == "Bonjour"
    assert render_preview(_rules(), "welcome", "01-hello.de", Recipient("a@example.com")).subject == "Hallo"
