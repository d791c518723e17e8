from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nurture.errors import FileUnreadable
from nurture.formats.column_mapping import load_mapping
from nurture.formats.status_mapping import LeadStatus


def saved(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "map.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_mapping_file_is_parsed(tmp_path: Path) -> None:
    mapping = load_mapping(
        saved(
            tmp_path,
            """\
source: olist
columns: {mql_id: external_id, first_contact_date: created_at, seller: skip, color: custom}
constants: {consent_basis: legitimate_interest, opted_out: no, employees: 7}
templates: {email: "{mql_id}@leads.example"}
formats: {created_at: "%Y-%m-%d", consent_at: ["%d/%m/%Y", "%d.%m.%y"]}
statuses: {In Bob's hands: working}
time_zone: America/Sao_Paulo
""",
        )
    )
    assert mapping.source == "olist"
    assert mapping.columns["first_contact_date"] == "created_at"
    assert mapping.constants == {"consent_basis": "legitimate_interest", "opted_out": "no", "employees": "7"}
    assert mapping.formats["created_at"] == ("%Y-%m-%d",)
    assert mapping.statuses == {"in bob's hands": LeadStatus.WORKING}
    assert mapping.time_zone == "America/Sao_Paulo"


def test_all_problems_are_reported_at_once_with_line_and_remedy(tmp_path: Path) -> None:
    path = saved(
        tmp_path,
        """\
sorce: olist
columns:
  mql_id: externalid
constants: {cuntry: BR}
templates: {email: "nobody@leads.example"}
formats:
  created_at: "%Q"
statuses: {Bob: wrking}
time_zone: Mars/Phobos
""",
    )
    with pytest.raises(FileUnreadable) as caught:
        load_mapping(path)
    text = str(caught.value)
    for line, remedy in (
        (1, "did you mean source?"),
        (3, "did you mean external_id?"),
        (4, "did you mean country?"),
        (5, "{mql_id}@leads.example"),
        (7, "%Y-%m-%d"),
        (8, "did you mean working?"),
        (9, "Europe/Berlin"),
    ):
        assert any(f"map.yaml:{line}:" in row and remedy in row for row in text.splitlines()), (line, text)
    assert "has 7 problems" in text


@pytest.mark.parametrize(
    "text",
    ["", "- a\n", "columns: [a\n", "a: b: c", "columns: 3\n", "email", "!!python/none x", "a: 1\na: 2\n", "&a [*a]"],
)
def test_an_invalid_mapping_raises_one_clear_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(FileUnreadable, match=r"map\.yaml"):
        load_mapping(saved(tmp_path, text))


def test_a_folder_or_a_missing_mapping_raises_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(FileUnreadable, match="is a folder"):
        load_mapping(tmp_path)
    with pytest.raises(FileUnreadable, match="check the path"):
        load_mapping(tmp_path / "none.yaml")


@example(content=b"+_")
@given(st.binary(max_size=200) | st.text(alphabet="columns:{}[]&*!| \n-'\"%ab", max_size=80).map(str.encode))
@settings(max_examples=100, deadline=None)
def test_random_bytes_raise_only_file_unreadable(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "map.yaml"
    path.write_bytes(content)
    try:
        load_mapping(path)
    except FileUnreadable as error:
        assert "map.yaml" in str(error)  # noqa: PT017


def test_a_column_may_say_what_its_values_mean_and_be_inverse(tmp_path: Path) -> None:
    mapping = load_mapping(
        saved(
            tmp_path,
            """\
columns:
  Code: {field: opted_out, values: {A: yes, b: no, date: true}}
  Mail: {field: opted_out, inverse: true}
  News: subscribed
""",
        )
    )
    assert mapping.columns == {"Code": "opted_out", "Mail": "subscribed", "News": "subscribed"}
    assert mapping.values["Code"] == {"a": True, "b": False, "date": True}


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("{field: company, inverse: true}", "must be one of opted_out"),
        ("{field: opted_out, invers: true}", "'invers' is not one of field, inverse, values"),
        ("{field: opted_out, values: {A: perhaps}}", "values must contain lines such as"),
        ("{field: opted_out, values: A}", "values must contain lines such as"),
        ("{field: undeliverable, inverse: true}", "inverse works for"),
        ("{field: opted_out, inverse: 2}", "inverse must be true or false"),
    ],
)
def test_a_column_that_says_more_is_checked(tmp_path: Path, entry: str, problem: str) -> None:
    with pytest.raises(FileUnreadable, match=problem):
        load_mapping(saved(tmp_path, f"columns:\n  Code: {entry}\n"))
