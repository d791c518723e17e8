"""Declared fields are read by their type; a bad value costs only its cell, and is counted and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from nurture.db.engine import Database
from nurture.db.tables.leads import lead
from nurture.formats.lead_item import InvalidItem, ItemReader
from nurture.journey.intake.import_file import import_file
from nurture.publishing.publish import publish
from nurture.publishing.unpublished import find_kept_files
from nurture.runtime.context import AppContext
from tests.journey.builders import START, make_context, sample_rules

FIELDS = """\
booth_rating: {type: choice, choices: [hot, warm, cold], label: Rating, columns: [Rating am Stand]}
seats: {type: number}
renewal: {type: date}
trial: {type: yes/no, columns: [In trial]}
note: {}
"""
HEADER = "Email,Rating am Stand,Seats,Renewal,In trial,Note,Shoe Size"


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path, rules=sample_rules() | {"fields.yaml": FIELDS})


def imported(ctx: AppContext, folder: Path, *lines: str, mapping: str = "") -> tuple[list[Any], tuple[str, ...]]:
    """Import lines below the header; return the fields of all leads, and the remarks."""
    (folder / "leads.csv").write_text("\n".join([HEADER, *lines]) + "\n", "utf-8")
    (folder / "mapping.yaml").write_text(mapping or "columns: {}\n", "utf-8")
    done = import_file(ctx, folder / "leads.csv", START, mapping=folder / "mapping.yaml")
    assert (done.rejected, done.new + done.unchanged + done.updated) == (0, len(lines))
    with ctx.database.read() as tx:
        return list(tx.execute(select(lead.c.fields).order_by(lead.c.id)).scalars()), done.notes


def test_each_type_is_read_as_people_write_it(ctx: AppContext, tmp_path: Path) -> None:
    found, notes = imported(
        ctx,
        tmp_path,
        'a@example.com,HOT,"1.200,50",31.03.2027,ja,n 1,44',
        'b@example.com,n/a,"2.000",05.04.2027,No,,',
    )
    assert found[0] == {
        "booth_rating": "hot", "seats": 1200.5, "renewal": "2027-03-31", "trial": True, "note": "n 1",
        "shoe_size": "44",
    }  # fmt: skip
    assert found[1] == {"seats": 2000, "renewal": "2027-04-05", "trial": False}
    assert notes == ()


def test_a_bad_value_costs_its_cell_and_is_counted_and_shown(ctx: AppContext, tmp_path: Path) -> None:
    found, notes = imported(
        ctx, tmp_path, "a@example.com,boiling,many,soon,maybe,x,", "b@example.com,boiling,5,2027-01-02,yes,,"
    )
    assert found == [
        {"note": "x"},
        {"seats": 5, "renewal": "2027-01-02", "trial": True},
    ]
    assert notes[0] == (
        "column 'Rating am Stand': 2 cells with a value that does not fit the type of the field, left out: "
        "'boiling' (2); correct them, or the type in fields.yaml"
    )
    assert len(notes) == 4


def test_a_mapping_may_name_a_declared_field_and_keep_a_declared_column_under_its_own_name(
    ctx: AppContext, tmp_path: Path
) -> None:
    mapping = "columns: {Shoe Size: seats, Seats: skip, Rating am Stand: custom}\nformats: {renewal: '%d/%m/%Y'}\n"
    found, _ = imported(ctx, tmp_path, "a@example.com,hot,1,03/04/2027,yes,,44", mapping=mapping)
    assert found == [{"booth_rating": "hot", "seats": 44, "renewal": "2027-04-03", "trial": True}]


def test_importing_again_after_a_field_is_declared_gives_it_its_type(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    found, _ = imported(ctx, tmp_path, "a@example.com,hot,7,2027-01-02,Yes,,")
    assert found == [{"rating_am_stand": "hot", "seats": "7", "renewal": "2027-01-02", "in_trial": "Yes"}]
    publish(ctx, sample_rules() | {"fields.yaml": FIELDS}, START)
    found, _ = imported(ctx, tmp_path, "a@example.com,hot,7,2027-01-02,Yes,,")
    assert (found[0]["seats"], found[0]["trial"], found[0]["booth_rating"]) == (7, True, "hot")


def test_the_published_fields_stay_in_force_without_the_file(ctx: AppContext, tmp_path: Path) -> None:
    assert find_kept_files(ctx, sample_rules()) == ["fields.yaml"]
    publish(ctx, sample_rules(), START)
    found, _ = imported(ctx, tmp_path, "a@example.com,,7,,,,")
    assert found == [{"seats": 7}]


def test_the_api_reads_custom_fields_by_their_type_and_says_what_is_wrong(ctx: AppContext) -> None:
    with ctx.database.read() as tx:
        reader = ItemReader("crm", ctx.definitions.declared_fields(tx))
    item = {"email": "a@example.com", "custom": {"seats": 5, "trial": True, "booth_rating": "Cold", "other": "x"}}
    assert reader.read(1, item).custom == {"seats": 5, "trial": True, "booth_rating": "cold", "other": "x"}
    with pytest.raises(InvalidItem, match=r"'lukewarm' is not one of hot, warm, cold"):
        reader.read(1, {"email": "a@example.com", "custom": {"booth_rating": "lukewarm"}})
