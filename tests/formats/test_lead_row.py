"""Cells of declared fields are read by their type."""

from __future__ import annotations

from datetime import date

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.fields import FieldDefinition, FieldType
from nurture.formats.dates import DateReader
from nurture.formats.lead_row import make_reader

READERS = {
    type_: make_reader(FieldDefinition("x", type_, choices=("hot", "cold")), DateReader()) for type_ in FieldType
}


@given(
    st.sampled_from(FieldType),
    st.one_of(st.text(), st.from_regex(r"-?[0-9]{1,40}([.,][0-9]{1,9})?(e[0-9]{1,3})?", fullmatch=True)),
)
def test_a_cell_is_a_value_of_the_type_or_refused(type_: FieldType, text: str) -> None:
    try:
        value = READERS[type_](text)
    except ValueError:
        return
    kinds = {FieldType.NUMBER: (int, float), FieldType.YES_NO: bool}
    assert isinstance(value, kinds.get(type_, str))  # type: ignore[arg-type]
    assert type_ is FieldType.TEXT or orjson.loads(orjson.dumps(value)) == value
    assert type_ is not FieldType.DATE or date.fromisoformat(str(value))


@pytest.mark.parametrize(
    ("text", "value"), [("1,234.5", 1234.5), ("5", 5), ("-3", -3), ("2.5 %", None), ("9" * 17, None)]
)
def test_an_unclear_or_too_large_number_is_refused(text: str, value: float | None) -> None:
    if value is None:
        with pytest.raises(ValueError, match=text[:3]):
            READERS[FieldType.NUMBER](text)
    else:
        assert READERS[FieldType.NUMBER](text) == value
