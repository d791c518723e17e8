"""Tests of account imports, manual assignment and leave."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.errors import FileUnreadable, InvalidState, NotFound
from nurture.journey.accounts import accounts
from nurture.journey.accounts.import_file import import_accounts
from nurture.journey.handoff import roster
from nurture.reporting.leads import list_leads
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at
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
def ctx(sqlite_db: Database, tmp_path: Path) -> AppContext:
    return make_context(sqlite_db, tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "accounts.csv"
    path.write_text(FILE, "utf-8")
    return path


def test_accounts_are_imported_once_with_owners_kinds_and_parents(ctx: AppContext, file: Path) -> None:
    done = import_accounts(ctx, file, START)
    assert (done.rows, done.new, done.rejected) == (7, 3, 4)
    assert done.notes == ("Owners who are not reps in the policy get no leads: zoe.",)
    assert rows(ctx, "SELECT name, owner, kind, parent_id, domains FROM account ORDER BY id") == [
        ("Contoso Holding AG", "ana", "customer", None, '["contoso.example"]'),
        ("Contoso France SAS", "ben", "customer", 1, '["contoso.example"]'),
        ("Fabrikam", "zoe", "prospect", 1, "[]"),
    ]
    assert done.report_path is not None
    reasons = done.report_path.read_text("utf-8-sig")
    for reason in ("no name", "'not' is not a company domain", "not a kind of account", "is in the file twice"):
        assert reason in reasons
    again = import_accounts(ctx, file, START + timedelta(days=1))
    assert (again.new, again.updated, again.unchanged) == (0, 0, 3)


def test_an_updated_account_is_matched_at_once(ctx: AppContext, file: Path) -> None:
    import_accounts(ctx, file, START)
    lead = add_lead(ctx, company="Fabrikam", email="nora@fabrikam.example")
    assert accounts.find_assignment(ctx, lead).account is None
    file.write_text("id,name,domain,owner\n3,Fabrikam,fabrikam.example,ben\n", "utf-8")
    assert import_accounts(ctx, file, START + timedelta(hours=1)).updated == 1
    found = accounts.find_assignment(ctx, lead)
    assert found.account is not None
    assert (found.account.owner, found.reason) == ("ben", "the address is at its domain")
    assert [each.name for each in accounts.list_accounts(ctx, "contoso")] == [
        "Contoso France SAS",
        "Contoso Holding AG",
    ]


def test_a_file_without_names_is_refused_as_is_one_that_would_be_overwritten(ctx: AppContext, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("id,domain\n1,contoso.example\n", "utf-8")
    with pytest.raises(FileUnreadable, match="no column with account names"):
        import_accounts(ctx, path, START)
    path.write_text("id,name\n1,Contoso\n", "utf-8")
    with pytest.raises(InvalidState, match="Name another file"):
        import_accounts(ctx, path, START, report=path)


def test_assigning_an_ambiguous_lead_routes_it_at_once(ctx: AppContext, file: Path) -> None:
    import_accounts(ctx, file, START)
    lead = add_lead(ctx, company="Contoso", email="nora@contoso.example", demo_requested=True)
    run_at(ctx, START)
    assert custody(ctx, lead) == ("queue", "account-ambiguous")
    assert [each.id for each in accounts.find_assignment(ctx, lead).candidates] == [1, 2]
    assert [each.id for each in list_leads(ctx, START, queue="account-ambiguous")] == [lead]
    assert list_leads(ctx, START, queue="account-owner-unavailable") == []
    accounts.assign_account(ctx, lead, 2, START)
    assert custody(ctx, lead) == ("queue", "hand-off")
    run_at(ctx, START)
    assert one(ctx, "SELECT rep FROM offer WHERE lead_id = :id", id=lead) == "ben"
    assert accounts.find_assignment(ctx, lead).confirmed


def test_a_new_owner_in_a_file_gets_the_leads_that_waited_for_one(ctx: AppContext, file: Path) -> None:
    text = FILE.splitlines()[0] + "\n1;Contoso Holding AG;contoso.example;%s;Customer;\n"
    file.write_text(text % "zoe", "utf-8")
    import_accounts(ctx, file, START)
    lead = add_lead(ctx, company="Contoso Holding", email="nora@contoso.example", demo_requested=True)
    run_at(ctx, START)
    assert custody(ctx, lead) == ("queue", "account-owner-unavailable")
    file.write_text(text % "ben", "utf-8")
    import_accounts(ctx, file, START + timedelta(hours=1))
    run_at(ctx, *[START + timedelta(hours=1)] * 2)
    assert one(ctx, "SELECT rep FROM offer WHERE lead_id = :id", id=lead) == "ben"


def test_a_lead_that_belongs_to_no_account_goes_to_the_pool(ctx: AppContext, file: Path) -> None:
    import_accounts(ctx, file, START)
    lead = add_lead(ctx, company="Contoso", email="nora@contoso.example", demo_requested=True)
    run_at(ctx, START)
    accounts.assign_account(ctx, lead, None, START)
    run_at(ctx, START)
    assert one(ctx, "SELECT count(*) FROM offer WHERE lead_id = :id", id=lead) == 1
    with pytest.raises(NotFound, match="There is no account 99"):
        accounts.assign_account(ctx, lead, 99, START)


def test_leave_is_added_once_listed_and_removed(ctx: AppContext) -> None:
    first, last = date(2026, 1, 5), date(2026, 1, 9)
    roster.add_leave(ctx, "ana", first, last, "ben", START)
    ana = roster.load_roster(ctx, START)[0]
    assert (ana.absence_reason, ana.deputy) == ("on leave until 2026-01-09", "ben")
    with pytest.raises(InvalidState, match="on leave from 2026-01-05 to 2026-01-09 already"):
        roster.add_leave(ctx, "ana", last, last, None, START)
    roster.cancel_leave(ctx, "ana", first, START)
    assert roster.load_roster(ctx, START)[0].absence_reason == ""
    with pytest.raises(NotFound, match="no leave that begins"):
        roster.cancel_leave(ctx, "ana", first, START)


@pytest.mark.parametrize(
    ("rep", "days", "deputy", "message"),
    [
        ("zoe", (5, 9), None, "no rep 'zoe' in the policy. Reps: ana, ben"),
        ("ana", (5, 9), "zoe", "no rep 'zoe' in the policy"),
        ("ana", (5, 9), "ana", "cannot be their own deputy"),
        ("ana", (9, 5), None, "before it begins"),
    ],
)
def test_invalid_leave_is_refused(
    ctx: AppContext, rep: str, days: tuple[int, int], deputy: str | None, message: str
) -> None:
    first, last = (date(2026, 1, day) for day in days)
    with pytest.raises((NotFound, InvalidState), match=message):
        roster.add_leave(ctx, rep, first, last, deputy, START)
