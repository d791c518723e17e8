"""The leak report on exports of three systems, in their own columns and without a mapping; counted by hand."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from nurture.errors import FileUnreadable, InvalidDefinitions, NotFound
from nurture.reporting.leaks.business_case import GivenInputs, Range
from nurture.reporting.leaks.facts import Touch
from nurture.reporting.leaks.figures import FirstTouches, OwnerFigures
from nurture.reporting.leaks.lists import LISTS
from nurture.reporting.leaks.sections import make_sections
from tests.formats.workbooks import write_workbook
from tests.reporting.leaks.builders import FILES, SHIPPED, make_report, write_templates

CONTACTS, DEALS = FILES / "hubspot-contacts.csv", FILES / "hubspot-deals.csv"
LEADS, PEOPLE = FILES / "salesforce-leads.csv", FILES / "pipedrive-people.csv"


def test_contacts_and_deals_give_every_figure_and_the_business_case() -> None:
    report = make_report(CONTACTS, DEALS)
    assert [(one.kind, one.system, one.rows) for one in report.files] == [("leads", "hubspot", 12), ("deals", "", 4)]
    assert (report.leads, report.untouched, report.by_status) == (12, 6, 0)
    assert (report.touches[Touch.RECORDED], report.touches[Touch.UNKNOWN]) == (6, 0)
    ages = {one.name: (one.leads, one.untouched) for one in report.by_age}
    assert ages == {"up to 7 days": (1, 1), "8 to 30 days": (1, 1), "31 to 90 days": (2, 2), "181 to 365 days": (8, 2)}
    assert report.owners == OwnerFigures(9, 1, 1, 1, None, None)
    found = report.duplicates
    assert (found.people, found.extra_addresses, found.companies, found.company_leads) == (1, 1, 1, 2)
    assert report.replay.nurture == 5
    assert report.replay.rules == (("nurture", 5), ("student", 1))
    # Ana, Dev and Eva; not Ana's second address, not Ines of yesterday, not Finn, who studies.
    assert (report.leaked, report.lead_days) == (3, 272 + 181 + 80)
    assert report.case.win_rate is not None
    assert report.case.win_rate.source.startswith("2 of 6 leads")
    assert report.case.deal_value is not None
    assert report.case.deal_value.value == Range(12_000, 18_000, 24_000)
    assert report.case.currency == "EUR"
    assert report.case.value is not None
    assert report.case.value.mid == pytest.approx(18_000)


def test_the_time_to_the_first_touch_is_a_distribution() -> None:
    found = make_report(CONTACTS).first_touches
    speeds = (("within 5 minutes", 1), ("within an hour", 1), ("within a day", 2), ("within 7 days", 0))
    slow = (("within 30 days", 2), ("after more than 30 days", 0))
    assert found is not None
    assert found == FirstTouches((*speeds, *slow), 6, pytest.approx(18.0), pytest.approx(604.9167), 0, by_day=False)


def test_a_report_of_leads_counts_its_queue_and_never_takes_converted_for_won() -> None:
    report = make_report(LEADS)
    assert [(one.system, one.rows, one.rejected) for one in report.files] == [("salesforce", 7, 1)]
    assert (report.untouched, report.owners.queue, report.touches[Touch.GIVEN_UP]) == (3, 1, 1)
    assert report.first_touches is None
    assert report.case.win_rate is None
    assert "--win-rate" in report.case.missing[0]


def test_a_planned_activity_is_no_touch() -> None:
    report = make_report(PEOPLE)
    assert [one.system for one in report.files] == ["pipedrive"]
    assert (report.leads, report.untouched, report.touches[Touch.RECORDED]) == (3, 2, 1)


def test_a_workbook_is_read_as_the_same_rows_are(tmp_path: Path) -> None:
    with CONTACTS.open(encoding="utf-8", newline="") as file:
        book = write_workbook(tmp_path / "contacts.xlsx", list(csv.reader(file)))
    plain, read = make_report(CONTACTS), make_report(book)
    assert (read.untouched, read.by_age, read.owners, read.replay) == (
        plain.untouched, plain.by_age, plain.owners, plain.replay,
    )  # fmt: skip


def test_a_lead_in_two_files_counts_once_and_any_touch_counts(tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text(
        "Email,First Name,Last Name,Lead Status,Last Contacted\nana@souza.example,Ana,Souza,Open,2026-04-01\n", "utf-8"
    )
    report = make_report(CONTACTS, other)
    assert (report.leads, report.untouched, report.duplicates.extra_rows) == (12, 5, 1)


def test_without_a_column_of_touches_the_status_decides_and_the_report_says_so(tmp_path: Path) -> None:
    file = tmp_path / "leads.csv"
    rows = ["a@a1.example,New", "b@b1.example,Working", "c@c1.example,Blue", "d@d1.example,Nurture", "e@e1.example,"]
    file.write_text("Email,Lead Status\n" + "\n".join(rows) + "\n", "utf-8")
    report = make_report(file)
    assert list(report.touches.values()) == [0, 1, 1, 1, 2]
    assert (report.untouched, report.by_status) == (1, 1)
    figures = [gap.figure for gap in report.gaps]
    assert any("judged by the status alone" in one for one in figures)
    assert report.lead_days is None
    assert report.owners.wrong is None


def test_a_file_that_says_nothing_of_touches_gives_no_number_of_untouched_leads(tmp_path: Path) -> None:
    (file := tmp_path / "leads.csv").write_text("Email,Name\na@a1.example,Ana Lima\n", "utf-8")
    report = make_report(file, given=GivenInputs(Range(0.1, 0.1, 0.1), Range(1, 1, 1)))
    assert (report.untouched, report.leaked, report.lead_days, report.case.value) == (None, None, None, None)
    assert [section.lead_in.count("cannot be computed") for section in make_sections(report)[:4]] == [1, 1, 1, 1]


def test_a_webinar_of_250_is_sorted_as_intake_sorts_it() -> None:
    places = {one.place: one.leads for one in make_report(SHIPPED / "examples/webinar.csv").replay.places}
    assert places == {
        "queue hand-off": 21, "track webinar-attended": 42, "track webinar-no-show": 125, "closed discarded": 62,
    }  # fmt: skip


def test_what_also_changes_by_edits_is_no_touch(tmp_path: Path) -> None:
    file = tmp_path / "zoho.csv"
    file.write_text(
        "Record Id,Lead Owner,First Name,Last Name,Email,Lead Status,Created Time,Modified Time,Last Activity Time\n"
        "1,Mara,Ana,Lima,ana@lima.example,Not Contacted,2026-04-01 10:00:00,2026-05-01 10:00:00,2026-05-01 10:00:00\n",
        "utf-8",
    )
    report = make_report(file)
    assert report.files[0].not_counted == ("Last Activity Time",)
    assert (report.untouched, report.by_status) == (1, 1)


def test_owners_who_left_and_owners_outside_their_territory_are_found_by_ones_own_policy(tmp_path: Path) -> None:
    file = tmp_path / "leads.csv"
    rows = [
        "a@a1.example,Mara Lindqvist,Germany", "b@b1.example,tomas@larkfield.example,Germany",
        "c@c1.example,Mara Lindqvist,Brazil", "d@d1.example,Yuki Tanabe,Brazil", "e@e1.example,Uli Unknown,Brazil",
    ]  # fmt: skip
    file.write_text("Email,Lead Owner,Country\n" + "\n".join(rows) + "\n", "utf-8")
    report = make_report(file, templates=write_templates(tmp_path), lists=["wrong-territory", "owner-left"])
    assert report.own_policy
    assert report.owners == OwnerFigures(5, 0, 0, 1, 2, 1)
    assert [row[2] for row in report.lists[0].rows] == ["b@b1.example", "c@c1.example"]
    assert [row[2] for row in report.lists[1].rows] == ["d@d1.example"]


def test_ready_leads_go_to_reps_by_the_real_router_within_their_capacity(tmp_path: Path) -> None:
    file = tmp_path / "leads.csv"
    rows = [f"p{number}@firm{number}.example,New,yes,{'Germany' if number % 3 else 'Brazil'}" for number in range(12)]
    file.write_text("Email,Lead Status,Request a Demo,Country\n" + "\n".join(rows) + "\n", "utf-8")
    replay = make_report(file, templates=write_templates(tmp_path)).replay
    assert replay.ready == 12
    assert dict(replay.by_rep) == {"mara": 8, "tomas": 4}
    assert (replay.days, replay.unrouted) == (4, 0)


def test_given_inputs_replace_those_of_the_files() -> None:
    case = make_report(CONTACTS, given=GivenInputs(Range(0.1, 0.2, 0.3), Range(1_000, 1_500, 2_000), "USD")).case
    assert case.value == pytest.approx((3 * 0.1 * 1_000, 3 * 0.2 * 1_500, 3 * 0.3 * 2_000))
    assert case.currency == "USD"


@pytest.mark.parametrize("name", LISTS)
def test_each_list_has_as_many_rows_as_its_figure(name: str) -> None:
    report = make_report(CONTACTS, DEALS, lists=[name])
    (found,) = report.lists
    figures = {
        "never-touched": report.untouched, "leaked": report.leaked, "not-known": report.touches[Touch.UNKNOWN],
        "slow": 2, "no-owner": report.owners.nobody, "queue-owner": report.owners.queue,
        "owner-left": report.owners.left, "wrong-territory": 0,
        "same-address": report.duplicates.leads_in_several_rows, "same-person": 2,
        "company-owners": report.duplicates.company_leads, "ready": report.replay.ready,
        "nurture": report.replay.nurture, "discard": report.replay.discard, "worked": 6, "won": 2, "won-deals": 2,
    }  # fmt: skip
    assert len(found.rows) == figures[name]
    assert all(len(row) == len(found.columns) for row in found.rows)


def test_what_cannot_be_read_is_named_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(FileUnreadable, match="no file holds leads"):
        make_report(DEALS)
    with pytest.raises(FileUnreadable, match="does not exist"):
        make_report(tmp_path / "none.csv")
    with pytest.raises(NotFound, match="never-touched"):
        make_report(CONTACTS, lists=["never-touch"])
    templates = write_templates(tmp_path)
    (templates / "sales/policy.yaml").write_text("readiness: [\n", "utf-8")
    with pytest.raises(InvalidDefinitions, match=r"policy\.yaml"):
        make_report(CONTACTS, templates=templates)


def test_titles_and_totals_around_the_rows_of_a_report_are_no_leads(tmp_path: Path) -> None:
    """A report that a spreadsheet saved again: every line has all columns, and a merged header is above the columns."""
    header = "First Name,Last Name,Email,Lead Owner,Lead Status,Create Date"
    people = [
        f"Bob,Ray{number},bob{number}@firm{number}.example,Mara Lindqvist,Open - Not Contacted,10/13/2026"
        for number in range(3)
    ]
    above = ["New Leads by Owner,,,,,", "As of 2026-11-30 09:00:00,,,,,", ",,,,,", "Person,,,Ownership,,"]
    below = ["Grand Totals (3 records),,,,,", ",,,,,", "Confidential Information - Do Not Distribute,,,,,"]
    path = tmp_path / "report.csv"
    path.write_text("\n".join([*above, header, *people, *below]), "utf-8")
    report = make_report(path)
    assert (report.leads, report.untouched) == (3, 3)
    assert report.touches[Touch.UNKNOWN] == 0


def test_a_utf16_export_with_german_columns_dates_and_two_address_columns_is_read(tmp_path: Path) -> None:
    header = "Lead-ID;Vorname;Nachname;E-Mail;E-Mail;Firma;Status;Besitzer;Erstellt am;Letzter Kontakt am"
    rows = [
        "L1;Anna;M\u00fcller;anna@firma.example;;Firma GmbH;Neu;Mara Lindqvist;13.02.2026 08:15;",
        "L2;J\u00fcrgen;Wei\u00df;;juergen@werk.example;Werk AG;Neu;;14.02.2026 09:00;",
        "L3;Eva;Gro\u00df;eva@haus.example;;Haus KG;Kontaktiert;Tomas Berg;15.02.2026 09:00;01.10.2026",
    ]
    path = tmp_path / "kontakte.csv"
    path.write_text("\r\n".join([header, *rows]), "utf-16")
    report = make_report(path)
    assert (report.leads, report.untouched, report.owners.nobody) == (3, 2, 1)
    assert report.touches[Touch.RECORDED] == 1
    assert report.lead_days == 289 + 288
