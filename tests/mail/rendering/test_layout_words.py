"""The fixed words of layouts follow the language of the email."""

from __future__ import annotations

from pathlib import Path

import pytest

from nurture.definitions.folder import read_folder
from nurture.formats.languages import LANGUAGES
from nurture.journey.tracks.emails_to_self import Recipient
from nurture.mail.rendering.layout_words import LAYOUT_VARIABLES, layout_words
from nurture.publishing.preview import render_preview
from tests.journey.builders import sample_rules

LAYOUTS = ("plain", "header", "columns")
SHIPPED = read_folder(Path(__file__).parents[3] / "templates")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_that_we_read_has_all_words_and_its_own(language: str) -> None:
    words, english = layout_words(language), layout_words("en")
    assert words.keys() == english.keys()
    assert LAYOUT_VARIABLES - {"language"} == {f"words.{one}" for one in words if one not in ("agreed", "interested")}
    assert all(words.values())
    assert language == "en" or all(words[key] != english[key] for key in words if key != "or")
    assert layout_words("nn") == layout_words("no") == layout_words("nb")
    assert layout_words("ja") == english


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("language", "basis"), [("de", "consent"), ("de", "contract"), ("", "consent")])
def test_the_words_around_an_email_are_in_its_language(layout: str, language: str, basis: str) -> None:
    rules = {**sample_rules(), f"layouts/{layout}.mjml": SHIPPED[f"layouts/{layout}.mjml"]}
    picture = "image: https://img.example.com/a.png\nimage_alt: a\n" if layout == "header" else ""
    for suffix in ("", ".de"):
        text = f"---\nsubject: a\npreheader: b\nlayout: {layout}\n{picture}---\nHello.\n"
        rules[f"tracks/welcome/01-hello{suffix}.md"] = text
    to = Recipient("a@example.com", {"language": language}, consent_basis=basis)
    email = render_preview(rules, "welcome", "01-hello", to)
    words = layout_words(language)
    assert f'<html lang="{language or "en"}"' in email.html
    reason = words["agreed" if basis == "consent" else "interested"]
    for part in (email.html, email.text):
        assert reason in part
        assert words["unsubscribe"] in part
    assert ("Unsubscribe" in email.text) == (not language)
