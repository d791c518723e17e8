"""An answer is read by the type of its field; what does not fit is asked again."""

from __future__ import annotations

import pytest

from nurture.definitions.fields import BUILT_IN
from nurture.domain.fields import FieldDefinition, FieldType
from nurture.domain.lead import FieldValue
from nurture.journey.preferences.answer_question import parse_answer
from nurture.journey.routing.lead_question import build_question

RATING = FieldDefinition("rating", FieldType.CHOICE, choices=("hot", "cold"))


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        (BUILT_IN["employees"], "1,200", 1200),
        (BUILT_IN["employees"], "many", None),
        (BUILT_IN["attended"], "yes", True),
        (BUILT_IN["title"], "  Head   of Planning ", "Head of Planning"),
        (BUILT_IN["country"], "Germany", "DE"),
        (RATING, "HOT", "hot"),
        (RATING, "lukewarm", None),
        (FieldDefinition("seats", FieldType.NUMBER), "12", 12),
        (FieldDefinition("ends_on", FieldType.DATE), "2027-03-31", "2027-03-31"),
        (FieldDefinition("other"), "text", "text"),
    ],
)
def test_an_answer_is_read_by_the_type_of_its_field(field: FieldDefinition, text: str, value: FieldValue) -> None:
    assert parse_answer(build_question(field.name, [], field), text) == value


def test_the_options_are_the_choices_of_the_field() -> None:
    assert build_question("rating", [], RATING).options == (("hot", "hot"), ("cold", "cold"))
    assert build_question("attended", [], BUILT_IN["attended"]).options == (("yes", "yes"), ("no", "no"))
    assert build_question("employees", [], BUILT_IN["employees"]).number
