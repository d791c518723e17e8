"""The list of leads as a file: safe in a spreadsheet, for the roles that may, of the leads that the user sees."""

from __future__ import annotations

import csv
from io import StringIO

import pytest

from tests.console.world import ConsoleWorld
from tests.journey.builders import add_lead


def _read(world: ConsoleWorld, login: str, query: str = "") -> list[dict[str, str]]:
    answer = world.get(f"/leads.csv?{query}", login)
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == 'attachment; filename="leads.csv"'
    assert answer.text.startswith("\ufeff")
    return list(csv.DictReader(StringIO(answer.text.removeprefix("\ufeff"))))


def test_the_file_has_the_leads_of_the_filter_and_is_logged_without_its_words(world: ConsoleWorld) -> None:
    (row,) = _read(world, "marketer", "track=welcome&find=mia")
    assert (row["email"], row["name"], row["custodian"]) == ("mia@people.example", "Mia <b>Wong</b>", "track")
    assert len(_read(world, "admin")) == len(world.rows("SELECT id FROM lead"))
    newest = world.rows("SELECT action, object, outcome FROM console_action ORDER BY id DESC LIMIT 2")
    assert newest == [("export_leads", "", "done"), ("export_leads", "track=welcome&find=...", "done")]


@pytest.mark.parametrize("start", ["=1+1", "+cmd", "-2+3", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_starts_a_formula(world: ConsoleWorld, start: str) -> None:
    lead = add_lead(world.ctx, company=f"{start}|calc", title=start)
    row = next(one for one in _read(world, "admin") if one["id"] == str(lead))
    assert row["company"].startswith("'")
    assert row["title"].startswith("'")


@pytest.mark.parametrize(("login", "status"), [("viewer", 403), ("rep", 403), ("marketer", 200)])
def test_only_some_roles_get_the_file(world: ConsoleWorld, login: str, status: int) -> None:
    answer = world.get("/leads.csv", login)
    assert answer.status_code == status
    assert ("mia@people.example" in answer.text) == (status == 200)


def test_a_sales_manager_gets_the_leads_of_the_own_team(world: ConsoleWorld) -> None:
    assert [one["email"] for one in _read(world, "maya")] == ["dana@people.example"]
    assert "erik@people.example" in {one["email"] for one in _read(world, "sales-manager")}


def test_an_unknown_filter_gives_no_file(world: ConsoleWorld) -> None:
    assert world.get("/leads.csv?trak=welcome", "admin").status_code == 404
