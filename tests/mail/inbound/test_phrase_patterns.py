from __future__ import annotations

from datetime import date

import pytest
from babel import Locale
from hypothesis import given
from hypothesis import strategies as st

from nurture.formats.languages import LANGUAGES
from nurture.mail.inbound import opt_out_phrases, out_of_office, phrase_patterns, reply_text
from nurture.mail.inbound.opt_out_phrases import is_opt_out
from nurture.mail.inbound.out_of_office import parse_return_date
from nurture.mail.inbound.phrase_patterns import PhrasePattern, load_phrases

TODAY = date(2026, 2, 10)
_MODULES = (opt_out_phrases, out_of_office, reply_text)


def test_each_language_has_its_file() -> None:
    assert {path.stem for path in phrase_patterns._FOLDER.iterdir()} == set(LANGUAGES)


def test_every_list_in_the_files_is_used() -> None:
    patterns = [one for module in _MODULES for one in vars(module).values() if isinstance(one, PhrasePattern)]
    used = {kind for one in patterns for kind in phrase_patterns._KIND.findall(one.template)}
    kinds = {kind for language in LANGUAGES for kind in load_phrases(language)}
    assert kinds == used | {"wrote", "name_follows", "parts"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_polite_word_does_not_hide_an_opt_out(language: str) -> None:
    words = [phrase for phrase in load_phrases(language).get("polite", ()) if phrase.isalpha()]
    assert [word for word in words if not is_opt_out(f"{word} unsubscribe {word}")] == []


@st.composite
def _written_dates(draw: st.DrawFn) -> tuple[str, date]:
    day = draw(st.dates(date(2026, 2, 11), date(2026, 12, 31)))
    locale = Locale.parse(draw(st.sampled_from(LANGUAGES)))
    context, width = draw(st.sampled_from(["format", "stand-alone"])), draw(st.sampled_from(["wide", "abbreviated"]))
    return f"{day.day} {locale.months[context][width][day.month]} {day.year}", day


@given(_written_dates(), st.sampled_from(["I will be back on", "Ich bin wieder da am", "de retour le", "regreso el"]))
def test_a_return_date_with_the_name_of_a_month_is_read_in_every_language(written: tuple[str, date], by: str) -> None:
    text, day = written
    assert parse_return_date(f"{by} {text}", TODAY) == day


@pytest.mark.parametrize(
    ("text", "returns_on"),
    [
        ("Torno il 3 set", None),
        ("Rientro il 14 maggio", date(2026, 5, 14)),
        ("Ik ben 12 mei terug, weer op kantoor op 12 mei", date(2026, 5, 12)),
        ("Ich bin ab 12. Mai wieder da", date(2026, 5, 12)),
        ("De retour le 1er mars", date(2026, 3, 1)),
        ("Regreso el 3 de marzo de 2026", date(2026, 3, 3)),
        ("Torno il 3 set 2026", date(2026, 9, 3)),
        ("Wieder da ab 3. Sie erreichen mich mobil", None),
        ("Zurück am 3. des Monats", None),
        ("back, 2 out of 3 days", None),
    ],
)
def test_a_word_that_resembles_a_month_is_a_date_only_with_a_year(text: str, returns_on: date | None) -> None:
    assert parse_return_date(text, TODAY) == returns_on
