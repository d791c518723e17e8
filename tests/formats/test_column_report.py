from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.formats.cells import is_plain_address, read_plain_addresses
from nurture.formats.column_mapping import ColumnMapping, load_mapping
from nurture.formats.column_report import (
    BARE_CONSENT,
    IGNORED,
    UNCLEAR,
    ColumnUse,
    describe_columns,
    describe_mapping,
    describe_statuses,
    describe_system,
    find_missing,
)
from nurture.formats.lead_file import LeadFile, open_leads

HEADER = (
    'Record ID,Email,Lifecycle Stage,Opted out of email: Webinars,Shoe Size,Marketing state,Sperrkz,"Odd ""name"": #1"'
)
ROWS = ("1,a@example.com,Lead,Yes,38,,x,1", "2,b@example.com,Galactic,,40,Unsubscribed,,2")


@contextmanager
def opened(tmp_path: Path, mapping: ColumnMapping | None = None) -> Iterator[LeadFile]:
    path = tmp_path / "leads.csv"
    path.write_text("\n".join((HEADER, *ROWS)) + "\n", encoding="utf-8")
    with open_leads(path, mapping, attended=False) as file:
        yield file


def test_each_column_is_described_with_examples_and_empty_cells(tmp_path: Path) -> None:
    with opened(tmp_path, ColumnMapping(columns={"Shoe Size": "skip"})) as file:
        uses = {one.column: one for one in describe_columns(file.header, file.plan, file.profiles)}
    assert uses["Email"] == ColumnUse("Email", "email", ("a@example.com", "b@example.com"), 0)
    assert uses["Opted out of email: Webinars"] == ColumnUse(
        "Opted out of email: Webinars", "opted_out, topic Webinars", ("Yes",), 1
    )
    assert uses["Shoe Size"].field == IGNORED
    assert uses["Marketing state"].field == "marketing_state (own field; opt-outs in it count)"
    assert uses["Sperrkz"].field == f"sperrkz (own field) + {UNCLEAR}"


def test_the_system_and_what_is_missing_are_named(tmp_path: Path) -> None:
    with opened(tmp_path) as file:
        assert describe_system(file.header, file.plan, ColumnMapping(source="fair")).endswith("; named fair")
        assert find_missing(file.plan) == ["consent", "country or time zone", "owner"]


@pytest.mark.parametrize("column", ["Consent Date", "Consent Source"])
def test_a_date_or_a_source_of_consent_alone_is_not_reported_as_no_consent_column(tmp_path: Path, column: str) -> None:
    path = tmp_path / "f.csv"
    path.write_text(f"Email,{column}\na@x.example,2026-01-02\n", "utf-8")
    with open_leads(path) as file:
        assert find_missing(file.plan)[0] == BARE_CONSENT


def test_unknown_statuses_are_a_section_of_a_mapping() -> None:
    assert describe_statuses({}) == ""
    assert describe_statuses({"In Bo's hands": 1, 'a "b"': 3}).splitlines()[1:] == [
        '  "a \\"b\\"": open  # 3',
        '  "In Bo\'s hands": open  # 1',
    ]


def test_the_mapping_file_can_be_imported_and_means_the_same(tmp_path: Path) -> None:
    with opened(tmp_path) as file:
        automatic = list(file)
        uses = describe_columns(file.header, file.plan, file.profiles)
    path = tmp_path / "map.yaml"
    path.write_text(describe_mapping(uses, file.plan, "none", file.unknown_statuses), encoding="utf-8")
    mapping = load_mapping(path)
    assert mapping.columns["Sperrkz"] == "opted_out"
    assert mapping.columns['Odd "name": #1'] == "custom"
    with opened(tmp_path, mapping) as again:
        mapped = list(again)
    assert [row.opted_out for row in mapped] == [True, True]  # type: ignore[union-attr]
    for name in ("email", "opted_out_topics", "external_id"):
        assert [getattr(row, name) for row in mapped] == [getattr(row, name) for row in automatic]


@given(
    st.lists(st.sampled_from(["A@x.example", "b.c@y.example", "d e@x.example", "f@x", "g@x.example\nh@x.example", ""]))
)
def test_addresses_are_read_at_once_only_if_each_of_them_is_plain(texts: list[str]) -> None:
    plain = [text.lower() for text in texts if is_plain_address(text)]
    assert read_plain_addresses(texts) == (plain if len(plain) == len(texts) else None)
