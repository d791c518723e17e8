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
    assert (done.rows, done.new, done.rejected) == (7, 5, 2)
    owners, kinds, websites = done.notes
    assert owners == "Owners who are not reps in the policy get no leads: zoe."
    assert kinds.startswith("Unknown kinds count as prospects: 'Unheard-of' (1).")
    assert websites == "Websites without a domain are left out: 'not a domain' (1)."
    assert done.mapped["Account Owner"] == "owner"
    assert rows(ctx, "SELECT name, owner, kind, parent_id, domains FROM account ORDER BY id") == [
        ("Contoso Holding AG", "ana", "customer", None, '["contoso.example"]'),
        ("Contoso France SAS", "ben", "customer", 1, '["contoso.example"]'),
        ("Fabrikam", "zoe", "prospect", 1, "[]"),
        ("Northwind", "ana", "prospect", None, "[]"),
        ("Tailspin", "ana", "prospect", None, "[]"),
    ]
    assert done.report_path is not None
    reasons = done.report_path.read_text("utf-8-sig")
    for reason in ("no name", "is in the file twice"):
        assert reason in reasons
    again = import_accounts(ctx, file, START + timedelta(days=1))
    assert (again.new, again.updated, again.unchanged) == (0, 0, 5)


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


def write(folder: Path, text: str) -> Path:
    path = folder / "accounts.csv"
    path.write_text(text, "utf-8")
    return path


def test_a_page_at_a_platform_is_not_the_domain_of_a_company(ctx: AppContext, tmp_path: Path) -> None:
    text = (
        "id,name,website\n1,Ledgerleaf,https://play.google.com/store/apps/x\n2,Pin Works,linkedin.com/company/pin\n"
        "3,Google,google.com\n4,Shop,https://www.amazon.co.uk/shops/9\n5,Acme,acme.wixsite.com/home\n"
    )
    import_accounts(ctx, write(tmp_path, text), START)
    assert rows(ctx, "SELECT name, domains FROM account WHERE domains <> '[]' ORDER BY id") == [
        ("Google", '["google.com"]'),
        ("Acme", '["acme.wixsite.com"]'),
    ]


def test_companies_of_one_name_come_in_with_their_domains(ctx: AppContext, tmp_path: Path) -> None:
    colleges = "name,website,owner\nCity College,citycollege.example,ana\nCity College,cc-north.example,ben\n"
    file = write(tmp_path, colleges)
    assert import_accounts(ctx, file, START).new == 2
    again = import_accounts(ctx, file, START)
    assert (again.new, again.updated, again.unchanged) == (0, 0, 2)
    lead = add_lead(ctx, company="City College", email="nora@gmail.com")
    assert len(accounts.find_assignment(ctx, lead).candidates) == 2


def test_an_id_of_an_unknown_system_overwrites_no_other_company(ctx: AppContext, tmp_path: Path) -> None:
    import_accounts(ctx, write(tmp_path, "id,name,website\n1,Contoso,contoso.example\n"), START)
    other = write(tmp_path, "id,name,website\n1,Fabrikam,fabrikam.example\n")
    assert import_accounts(ctx, other, START).new == 1
    assert import_accounts(ctx, other, START).unchanged == 1
    assert rows(ctx, "SELECT name FROM account ORDER BY id") == [("Contoso",), ("Fabrikam",)]


def test_a_company_of_two_sources_is_one_account_if_name_and_domain_agree(ctx: AppContext, tmp_path: Path) -> None:
    import_accounts(ctx, write(tmp_path, "name,website,owner\nContoso,contoso.example,ana\n"), START)
    text = "Id,Name,Website,Type,ParentId\n9,Contoso Ltd,www.contoso.example,Customer,8\n8,Top,contoso.example,,\n"
    done = import_accounts(ctx, write(tmp_path, text), START, source="sf")
    assert (done.new, done.updated) == (1, 1)
    found = rows(ctx, "SELECT name, owner, kind, parent_id FROM account ORDER BY id")
    assert found == [("Contoso", "ana", "customer", 2), ("Top", "", "prospect", None)]
    again = import_accounts(ctx, tmp_path / "accounts.csv", START, source="sf")
    assert (again.new, again.updated, again.unchanged) == (0, 0, 2)


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("Channel Partner / Reseller", "partner"),
        ("Installation Partner", "partner"),
        ("Competitor", "prospect"),
        ("Pending", "prospect"),
        ("Marketing Qualified Lead", "prospect"),
        ("Evangelist", "customer"),
        ("Retail", "prospect"),
    ],
)
def test_no_kind_refuses_an_account(ctx: AppContext, tmp_path: Path, word: str, kind: str) -> None:
    path = tmp_path / "kinds.csv"
    path.write_text(f"name,Category\nContoso,{word}\n", "utf-8")
    assert import_accounts(ctx, path, START).rejected == 0
    assert rows(ctx, "SELECT kind FROM account") == [(kind,)]


def test_a_mapping_names_the_columns_and_the_kinds_of_accounts(ctx: AppContext, tmp_path: Path) -> None:
    mapping = tmp_path / "accounts.yaml"
    mapping.write_text("source: erp\ncolumns: {Firm: name, Art: kind}\nkinds: {Abnehmer: customer}\n", "utf-8")
    done = import_accounts(ctx, write(tmp_path, "Firm,Art,Land\nContoso,Abnehmer,DE\n"), START, mapping=mapping)
    assert (done.source, done.mapped, done.unmapped) == ("erp", {"Firm": "name", "Art": "kind"}, ("Land",))
    assert rows(ctx, "SELECT name, kind FROM account") == [("Contoso", "customer")]


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
        ("zoe", (5, 9), None, "no rep or manager 'zoe' in the policy. Known: ana, ben"),
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
