"""Accounts: brought in from files, and matched by hand where that is unsure."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.errors import FileUnreadable, NotFound, Refused
from nurture.journey.accounts import accounts
from nurture.journey.accounts.import_file import import_accounts
from nurture.journey.handoff import roster
from nurture.reporting.leads import list_leads
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, tick_at
from tests.journey.observe import custody, one, rows

FILE = """\
Account ID;Account Name;Website;Account Owner;Type;Parent Account
1;Contoso Holding AG;https://www.contoso.example/;Ana;Customer;
2;Contoso France SAS;contoso.example, fr.contoso.example;ben@house.example;Customer - Direct;1
3;Fabrikam;gmail.com;zoe;;Contoso Holding AG
4;;x.example;ana;;
5;Northwind;not a domain;ana;;
6;Tailspin;;ana;Unheard-of;
1;Contoso again;;ana;;
"""


@pytest.fixture
def house(sqlite_db: Database, tmp_path: Path) -> House:
    return make_house(sqlite_db, tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "accounts.csv"
    path.write_text(FILE, "utf-8")
    return path


def test_accounts_come_in_once_with_owners_kinds_and_parents(house: House, file: Path) -> None:
    done = import_accounts(house, file, START)
    assert (done.rows, done.new, done.bad) == (7, 3, 4)
    assert done.notes == ("Owners who are no reps of the policy, and so get no leads: zoe.",)
    assert rows(house, "SELECT name, owner, kind, parent_id, domains FROM account ORDER BY id") == [
        ("Contoso Holding AG", "ana", "customer", None, '["contoso.example"]'),
        ("Contoso France SAS", "ben", "customer", 1, '["contoso.example"]'),
        ("Fabrikam", "zoe", "prospect", 1, "[]"),
    ]
    assert done.report_path is not None
    reasons = done.report_path.read_text("utf-8-sig")
    for reason in (
        "no name",
        "'not' is not a company's domain",
        "no kind of account",
        "stands in the file twice",
    ):
        assert reason in reasons
    again = import_accounts(house, file, START + timedelta(days=1))
    assert (again.new, again.changed, again.known) == (0, 0, 3)


def test_what_a_file_says_anew_is_changed_and_searched_at_once(house: House, file: Path) -> None:
    import_accounts(house, file, START)
    lead = add_lead(house, company="Fabrikam", email="nora@fabrikam.example")
    assert accounts.choice(house, lead).account is None
    file.write_text("id,name,domain,owner\n3,Fabrikam,fabrikam.example,ben\n", "utf-8")
    assert import_accounts(house, file, START + timedelta(hours=1)).changed == 1
    found = accounts.choice(house, lead)
    assert found.account is not None
    assert (found.account.owner, found.because) == ("ben", "the address is at its domain")
    assert [each.name for each in accounts.listing(house, "contoso")] == [
        "Contoso France SAS",
        "Contoso Holding AG",
    ]


def test_a_file_without_names_is_refused_as_is_one_that_would_be_overwritten(
    house: House, tmp_path: Path
) -> None:
    path = tmp_path / "x.csv"
    path.write_text("id,domain\n1,contoso.example\n", "utf-8")
    with pytest.raises(FileUnreadable, match="no column with the names"):
        import_accounts(house, path, START)
    with pytest.raises(Refused, match="Name another file"):
        import_accounts(house, path, START, report=path)


def test_settling_an_unsure_lead_routes_it_at_once(house: House, file: Path) -> None:
    import_accounts(house, file, START)
    lead = add_lead(house, company="Contoso", email="nora@contoso.example", demo_requested=True)
    tick_at(house, START)
    assert custody(house, lead) == ("queue", "account-unsure")
    assert [each.id for each in accounts.choice(house, lead).candidates] == [1, 2]
    assert [each.id for each in list_leads(house, START, queue="account-unsure")] == [lead]
    assert list_leads(house, START, queue="account-owner") == []
    accounts.settle(house, lead, 2, START)
    assert custody(house, lead) == ("queue", "hand-off")
    tick_at(house, START)
    assert one(house, "SELECT rep FROM offer WHERE lead_id = :id", id=lead) == "ben"
    assert accounts.choice(house, lead).settled


def test_a_new_owner_in_a_file_gets_the_leads_that_waited_for_one(house: House, file: Path) -> None:
    text = FILE.splitlines()[0] + "\n1;Contoso Holding AG;contoso.example;%s;Customer;\n"
    file.write_text(text % "zoe", "utf-8")
    import_accounts(house, file, START)
    lead = add_lead(house, company="Contoso Holding", email="nora@contoso.example", demo_requested=True)
    tick_at(house, START)
    assert custody(house, lead) == ("queue", "account-owner")
    file.write_text(text % "ben", "utf-8")
    import_accounts(house, file, START + timedelta(hours=1))
    tick_at(house, *[START + timedelta(hours=1)] * 2)
    assert one(house, "SELECT rep FROM offer WHERE lead_id = :id", id=lead) == "ben"


def test_a_lead_that_belongs_to_no_account_goes_to_the_pool(house: House, file: Path) -> None:
    import_accounts(house, file, START)
    lead = add_lead(house, company="Contoso", email="nora@contoso.example", demo_requested=True)
    tick_at(house, START)
    accounts.settle(house, lead, None, START)
    tick_at(house, START)
    assert one(house, "SELECT count(*) FROM offer WHERE lead_id = :id", id=lead) == 1
    with pytest.raises(NotFound, match="There is no account 99"):
        accounts.settle(house, lead, 99, START)


def test_leave_is_noted_once_shown_and_taken_back(house: House) -> None:
    first, last = date(2026, 1, 5), date(2026, 1, 9)
    roster.add_leave(house, "ana", first, last, "ben", START)
    ana = roster.roster(house, START)[0]
    assert (ana.away, ana.deputy) == ("on leave until 2026-01-09", "ben")
    with pytest.raises(Refused, match="away from 2026-01-05 to 2026-01-09 already"):
        roster.add_leave(house, "ana", last, last, None, START)
    roster.cancel_leave(house, "ana", first, START)
    assert roster.roster(house, START)[0].away == ""
    with pytest.raises(NotFound, match="no leave that begins"):
        roster.cancel_leave(house, "ana", first, START)


@pytest.mark.parametrize(
    ("rep", "days", "deputy", "why"),
    [
        ("zoe", (5, 9), None, "names no rep 'zoe'. It names: ana, ben"),
        ("ana", (5, 9), "zoe", "names no rep 'zoe'"),
        ("ana", (5, 9), "ana", "cannot stand in for ana"),
        ("ana", (9, 5), None, "before it begins"),
    ],
)
def test_leave_that_makes_no_sense_is_refused(
    house: House, rep: str, days: tuple[int, int], deputy: str | None, why: str
) -> None:
    first, last = (date(2026, 1, day) for day in days)
    with pytest.raises((NotFound, Refused), match=why):
        roster.add_leave(house, rep, first, last, deputy, START)
