from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.mail.inbound.concepts import find_concept_features, find_language
from nurture.mail.inbound.phrase_patterns import languages, load_phrases


def test_each_language_has_words_for_the_same_concepts() -> None:
    concepts = {language: load_phrases(language)["concepts"].keys() for language in languages()}
    assert {language for language, names in concepts.items() if names != concepts["en"]} == set()
    assert all(words for language in languages() for words in load_phrases(language)["concepts"].values())


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Bitte nehmen Sie mich von der Liste", "de"),
        ("Proszę mnie usunąć z listy", "pl"),
        ("リストから削除してください", "ja"),
        ("Не пишите мне больше", "ru"),  # noqa: RUF001 - Russian
    ],
)
def test_the_language_is_the_one_that_knows_the_words(text: str, language: str) -> None:
    assert find_language(text) == language


@pytest.mark.parametrize(
    "text",
    ["Please remove me from the list", "Bitte entfernen Sie mich aus dem Verteiler", "Proszę usunąć mnie z listy"],
)
def test_the_same_request_has_the_same_concepts_in_each_language(text: str) -> None:
    assert find_concept_features(text) >= {"remove", "me", "list", "remove>list", "list $", "list+me", "me+remove"}


def test_the_order_of_concepts_tells_a_request_from_its_opposite() -> None:
    assert "not remove" in find_concept_features("Do not remove me")
    assert "not remove" not in find_concept_features("Remove me")


@given(st.text(max_size=300))
def test_any_text_has_concept_features(text: str) -> None:
    assert find_concept_features(text)
