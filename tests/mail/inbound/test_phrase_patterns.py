from __future__ import annotations

from datetime import date

import pytest
from babel import Locale
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.replies import ReplyClass
from nurture.formats.languages import LANGUAGES
from nurture.mail.inbound.out_of_office import parse_return_date
from nurture.mail.inbound.phrase_patterns import (
    REGEX_KINDS,
    Phrase,
    Rule,
    RuleIndex,
    Sentence,
    languages,
    load_list,
    load_phrases,
    load_rules,
)
from nurture.mail.inbound.reply_phrases import find_meaning

TODAY = date(2026, 2, 10)
EU = "bg cs da de el en es et fi fr ga hr hu it lt lv mt nl pl pt ro sk sl sv"
KINDS = {
    *("no_mail", "possible_opt_out", "erasure_request", "left_company", "wrong_person"),
    *("not_interested", "not_now", "wants_to_talk"),
    *("question", "words", "unless", "alone", "polite", "automatic_subject", "automatic", "absence", "receipt_subject"),
    *(
        "back",
        "back_after",
        "until",
        "until_after",
        "next_year",
        "around",
        "joining",
        "name_follows",
        "spaces",
        "borders",
    ),
    "concepts",
}


def test_each_language_of_the_eu_and_nine_others_have_a_file() -> None:
    assert set(languages()) == {*EU.split(), "nb", "tr", "uk", "ru", "he", "ar", "ja", "zh", "ko"}


@pytest.mark.parametrize("language", languages())
def test_a_file_has_known_lists_and_phrases_for_every_class(language: str) -> None:
    content = load_phrases(language)
    assert content.keys() <= KINDS | REGEX_KINDS
    needed = {"no_mail", "left_company", "wrong_person", "not_interested", "not_now", "wants_to_talk", "question"}
    assert content.keys() >= needed | {"alone", "automatic_subject", "automatic", "absence", "receipt_subject"}
    assert content.keys() & {"back", "back_after"}
    assert content.keys() & {"until", "until_after"}
    for part in ("alone", "unless"):
        assert content.get(part, {}).keys() <= set(ReplyClass)


def test_no_phrase_is_empty_or_a_single_letter_of_an_alphabet() -> None:
    """One with an asterisk, or in a language without spaces, would match nearly every text."""
    rules = load_rules(tuple(one.value for one in ReplyClass)).rules
    phrases = {(one.language, phrase) for one in rules for term in one.terms for phrase in term}
    phrases |= {one for kind in ("automatic", "absence", "automatic_subject") for one in load_list(kind)}
    short = {(language, one.text) for language, one in phrases if len(one.text) < (1 if one.squeezed else 2)}
    assert short == set()


@pytest.mark.parametrize("language", languages())
def test_a_polite_word_does_not_hide_an_opt_out(language: str) -> None:
    words = [phrase for phrase in load_phrases(language)["polite"] if phrase.isalpha()]
    classes = {word: find_meaning(f"{word} unsubscribe {word}", "").reply_class for word in words}
    assert {word for word, found in classes.items() if found is not ReplyClass.NO_MAIL} == set()


def test_an_asterisk_inside_a_phrase_stands_for_letters() -> None:
    rules = RuleIndex([Rule("no_mail", "en", (frozenset({Phrase(" remov* me ")}),))])
    found = {
        text: rules.find(Sentence.of(text))[1] for text in ("Removing me!", "remove me", "remove all", "me remove")
    }
    assert {text for text, one in found.items() if one} == {"Removing me!", "remove me"}
    squeezed = Phrase("配信*停止", squeezed=True)
    assert squeezed.is_in(Sentence.of("配信の即時停止を"))
    assert not squeezed.is_in(Sentence.of("停止した配信"))


def test_every_phrase_of_a_file_can_be_found() -> None:
    """One that the reader spoils would silently never match."""
    rules = load_rules(tuple(one.value for one in ReplyClass)).rules
    phrases = {phrase for one in rules for term in one.terms for phrase in term}
    assert {one for one in phrases if not one.is_in(Sentence.of(one.text.replace("*", "")))} == set()


def test_one_phrase_fills_one_term() -> None:
    stop, mail = Phrase(" stop "), Phrase(" mail ")
    rule = Rule("no_mail", "en", (frozenset({stop}), frozenset({stop, mail}), frozenset({Phrase(" please ")})))
    assert rule.find_most(Sentence.of("stop here"), {stop}) == ""
    assert rule.find_most(Sentence.of("stop the mail"), {stop, mail}) == "stop + mail"


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
