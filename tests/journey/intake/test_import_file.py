"""Tests of importing rows: lead, identity, address and consent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert

from nurture.db.engine import Database
from nurture.db.metadata import metadata
from nurture.db.tables import consent as consent_tables
from nurture.db.tables import leads as lead_tables
from nurture.domain.consent.statements import grant
from nurture.journey.intake.import_file import import_file
from nurture.journey.leads import consent_queries
from nurture.reporting.audit import run_audit
from tests.journey.intake.lead_files import (
    LEAD,
    NOW,
    custody_of,
    fields_of,
    import_leads,
    plain_context,
    row,
    rows_of,
    statements_of,
    write_file,
)


@pytest.mark.parametrize(
    ("cells", "custodian"),
    [
        ({}, ("intake", "import")),
        ({"Consent": ""}, ("queue", "no-consent-basis")),
        ({"Email": "", "Lead ID": "7"}, ("queue", "no-address")),
        ({"Opted Out": "yes"}, ("queue", "suppressed")),
        ({"Status": "Working", "Owner": "Bo"}, ("rep", "Bo")),
        ({"Status": "Working"}, ("queue", "owner-unknown")),
        ({"Status": "Working", "Owner": "Unassigned"}, ("queue", "owner-unknown")),
        ({"Status": "Working", "Owner": "Bo", "Opted Out": "yes"}, ("rep", "Bo")),
        ({"Status": "Closed Won"}, ("resting", "customer")),
        ({"Customer": "yes"}, ("resting", "customer")),
        ({"Status": "Lost"}, ("closed", "lost")),
        ({"Status": "Unqualified"}, ("closed", "lost")),
    ],
)
def test_a_new_lead_goes_to_the_custodian_that_its_row_implies(
    db: Database, tmp_path: Path, cells: dict[str, str], custodian: tuple[str, str]
) -> None:
    done = import_leads(plain_context(db, tmp_path), tmp_path, row() | cells)
    assert (done.rows, done.new, dict(done.by_custodian)) == (1, 1, {custodian[0]: 1})
    assert dict(done.by_queue) == ({custodian[1]: 1} if custodian[0] == "queue" else {})
    assert custody_of(db) == [custodian]
    assert rows_of(db, "SELECT custody_from, custody_to, event, ref FROM journal") == [
        (None, custodian[0], "imported", custodian[1])
    ]
    if custodian[0] == "closed":
        assert rows_of(db, "SELECT closing, source FROM outcome") == [(custodian[1], "import")]
    if "Opted Out" in cells:
        assert statements_of(db) == [("ann@example.com", "global", None, "crm")]


def test_a_row_becomes_fields_country_zone_and_consent_basis(db: Database, tmp_path: Path) -> None:
    import_leads(
        plain_context(db, tmp_path),
        tmp_path,
        row(
            "Ann@Example.com ",
            Lead_ID="7",
            First_Name="Ann",
            Job_Title="Head of Ops",
            Country="Brazil",
            Created_At="2026-02-01",
            Consent_Date="2026-02-02",
            Purchase_Timeframe="within 3 months",
            Shoe_Size="38",
            Attended="no",
        ),
    )
    assert fields_of(db) == [
        {
            "first_name": "Ann",
            "title": "Head of Ops",
            "country": "BR",
            "shoe_size": "38",
            "attended": False,
            "purchase_timeframe": "within 3 months",
            "purchase_timeframe_days": 91,
        }
    ]
    with db.read() as tx:
        lead = tx.execute(LEAD.select()).one()
    assert (lead.country, lead.zone, lead.consent_basis) == (
        "BR",
        "America/Sao_Paulo",
        "consent",
    )
    with db.read() as tx:
        (statement,) = consent_queries.load_statements(tx, [1])[1]
    assert statement == grant("consent", "crm", datetime(2026, 2, 2, tzinfo=UTC), NOW, evidence=statement.evidence)
    assert statement.evidence.startswith("line 2 of leads-")
    assert (lead.first_contact_at, lead.created_at) == (datetime(2026, 2, 1, tzinfo=UTC), NOW)
    assert rows_of(db, "SELECT source, external_id FROM identity") == [("crm", "7")]
    assert rows_of(db, "SELECT normalized FROM address") == [("ann@example.com",)]


def test_importing_the_same_file_again_records_only_the_import(db: Database, tmp_path: Path) -> None:
    ctx = plain_context(db, tmp_path)
    path = write_file(
        tmp_path,
        [
            row(Lead_ID="1", Registered_On="2026-02-01", Attended="yes", Purchase_Timeframe="3 months"),
            row("bo@example.com", Status="Lost", Registered_On="2026-02-01"),
            row("cy@example.com", Opted_Out="yes", Customer="yes"),
            row("", First_Name="Di"),
            row("", First_Name="Ed", Company="Firm"),
        ],
    )
    assert import_file(ctx, path, NOW).new == 5
    tables_but = [table for table in metadata.sorted_tables if table.name != "import_file"]
    with db.read() as tx:
        before = {table.name: tx.execute(table.select()).all() for table in tables_but}
    again = import_file(ctx, path, NOW + timedelta(days=40))
    assert (again.rows, again.new, again.updated, again.unchanged, again.signals) == (5, 0, 0, 5, 0)
    with db.read() as tx:
        assert {table.name: tx.execute(table.select()).all() for table in tables_but} == before
    assert rows_of(db, "SELECT rows, created, updated, rejected FROM import_file ORDER BY id") == [
        (5, 5, 0, 0),
        (5, 0, 0, 0),
    ]
    assert len(set(rows_of(db, "SELECT digest FROM import_file"))) == 1


def test_a_lead_is_matched_by_its_id_first_then_by_its_address(db: Database, tmp_path: Path) -> None:
    ctx = plain_context(db, tmp_path)
    import_leads(ctx, tmp_path, row(Lead_ID="1"), row("bo@example.com"))
    done = import_leads(
        ctx, tmp_path, row("BO@example.com", Lead_ID="2", Company="Firm"), row("new@example.com", Lead_ID="1")
    )
    assert (done.new, done.updated) == (0, 2)
    assert rows_of(db, "SELECT external_id, lead_id FROM identity ORDER BY external_id") == [("1", 1), ("2", 2)]
    assert rows_of(db, "SELECT lead.id, normalized FROM lead JOIN address ON address.id = address_id ORDER BY 1") == [
        (1, "new@example.com"),
        (2, "bo@example.com"),
    ]


def test_the_ids_of_two_systems_do_not_mix(db: Database, tmp_path: Path) -> None:
    ctx = plain_context(db, tmp_path)
    import_leads(ctx, tmp_path, row(Lead_ID="1"))
    import_file(ctx, write_file(tmp_path, [row("bo@example.com", Lead_ID="1")]), NOW, source="other")
    assert rows_of(db, "SELECT source, external_id, lead_id FROM identity ORDER BY lead_id") == [
        ("crm", "1", 1),
        ("other", "1", 2),
    ]


def test_ids_of_an_unknown_system_recognize_nobody(db: Database, tmp_path: Path) -> None:
    ctx = plain_context(db, tmp_path)
    fair, forum = tmp_path / "fair.csv", tmp_path / "forum.csv"
    fair.write_text("ID,Email,First Name,Consent\n1,ana@example.com,Ana,Yes\n1,bo@example.com,Bo,Yes\n")
    forum.write_text("ID,Email,First Name,Consent\n1,cy@example.net,Cy,No\n2,ANA@example.com,Ana,\n")
    assert import_file(ctx, fair, NOW).new == 2
    done = import_file(ctx, forum, NOW)
    assert done.new == 1
    assert "--source" in done.notes[0]
    assert rows_of(db, "SELECT count(*) FROM identity") == [(0,)]
    people = rows_of(
        db, "SELECT normalized, consent_basis FROM lead JOIN address ON address.id = address_id ORDER BY 1"
    )
    assert people == [("ana@example.com", "consent"), ("bo@example.com", "consent"), ("cy@example.net", None)]


def test_an_id_with_another_address_and_another_name_waits_for_a_person(db: Database, tmp_path: Path) -> None:
    ctx = plain_context(db, tmp_path)
    import_leads(ctx, tmp_path, row(Lead_ID="1", First_Name="Ann"))
    other = row("cy@example.com", Lead_ID="1", First_Name="Cy", Opted_Out="yes")
    done = import_leads(ctx, tmp_path, other)
    assert (done.new, done.updated, dict(done.by_queue)) == (1, 0, {"ambiguous": 1})
    assert import_leads(ctx, tmp_path, row("ann@example.net", Lead_ID="1", First_Name="ann")).updated == 1
    assert import_leads(ctx, tmp_path, other).unchanged == 1
    assert custody_of(db) == [("queue", "suppressed"), ("queue", "ambiguous")]
    assert fields_of(db) == [
        {"first_name": "ann"},
        {"first_name": "Cy", "email": "cy@example.com", "external_id": "1", "candidates": "1"},
    ]
    assert ("cy@example.com", "global", None, "crm") in statements_of(db)
    assert run_audit(ctx, NOW).ok


def test_a_row_that_matches_two_leads_waits_once_in_a_queue(db: Database, tmp_path: Path) -> None:
    ctx = plain_context(db, tmp_path)
    import_leads(ctx, tmp_path, row(Lead_ID="1"), row("bo@example.com", Lead_ID="2"))
    both = row("bo@example.com", Lead_ID="1", Company="Firm", Opted_Out="yes")
    done = import_leads(ctx, tmp_path, both, both)
    assert (done.new, done.unchanged, dict(done.by_queue)) == (1, 1, {"ambiguous": 1})
    assert import_leads(ctx, tmp_path, both).unchanged == 1
    assert custody_of(db)[2:] == [("queue", "ambiguous")]
    assert fields_of(db)[2] == {"company": "Firm", "email": "bo@example.com", "external_id": "1", "candidates": "1 2"}
    assert rows_of(db, "SELECT address_id FROM lead WHERE id = 3") == [(None,)]
    stopped = {email for email, _, basis, _ in statements_of(db) if basis is None}
    assert stopped == {"ann@example.com", "bo@example.com"}  # it is unknown which of them opted out


def test_an_id_with_two_addresses_in_one_file_waits_for_a_person(db: Database, tmp_path: Path) -> None:
    ctx = plain_context(db, tmp_path, batch=1)
    rows = [row("a@example.com", Lead_ID="1"), row("b@example.com", Lead_ID="1")]
    assert dict(import_leads(ctx, tmp_path, *rows).by_queue) == {"ambiguous": 1}
    assert import_leads(ctx, tmp_path, *rows).unchanged == 2
    assert custody_of(db) == [("intake", "import"), ("queue", "ambiguous")]
    assert rows_of(db, "SELECT normalized FROM lead JOIN address ON address.id = address_id") == [("a@example.com",)]


def test_two_leads_may_swap_addresses(db: Database, tmp_path: Path) -> None:
    ctx = plain_context(db, tmp_path)
    import_leads(ctx, tmp_path, row("a@example.com", Lead_ID="1"), row("b@example.com", Lead_ID="2"))
    import_leads(
        ctx,
        tmp_path,
        row("c@example.com", Lead_ID="1"),
        row("a@example.com", Lead_ID="2"),
    )
    import_leads(ctx, tmp_path, row("b@example.com", Lead_ID="1"))
    assert rows_of(db, "SELECT lead.id, normalized FROM lead JOIN address ON address.id = address_id ORDER BY 1") == [
        (1, "b@example.com"),
        (2, "a@example.com"),
    ]


def test_new_fields_win_and_empty_cells_remove_nothing(db: Database, tmp_path: Path) -> None:
    ctx = plain_context(db, tmp_path)
    import_leads(ctx, tmp_path, row(Company="Firm", Job_Title="Clerk", Country="Germany"))
    done = import_leads(ctx, tmp_path, row(Job_Title="Head"), row(Country="France"), now=NOW + timedelta(days=1))
    assert (done.updated, done.unchanged) == (2, 0)
    assert fields_of(db) == [{"company": "Firm", "title": "Head", "country": "FR"}]
    assert rows_of(db, "SELECT zone, country FROM lead") == [("Europe/Paris", "FR")]
    assert rows_of(db, "SELECT event FROM journal ORDER BY id") == [("imported",), ("updated",)]


def test_the_journal_contains_no_cell_of_the_file(db: Database, tmp_path: Path) -> None:
    ctx = plain_context(db, tmp_path)
    import_leads(ctx, tmp_path, row(First_Name="Ann"))
    import_leads(ctx, tmp_path, row(First_Name="Anna", Company="Firm"))
    text = " ".join(reason for (reason,) in rows_of(db, "SELECT reason FROM journal"))
    assert "new: first_name, company" in text
    assert not {"Ann", "Anna", "Firm", "ann@example.com"} & set(text.replace(",", " ").split())


def test_a_re_import_never_lifts_a_withdrawal_and_adds_one_once(db: Database, tmp_path: Path) -> None:
    ctx = plain_context(db, tmp_path)
    import_leads(ctx, tmp_path, row(Opted_Out="yes"))
    import_leads(ctx, tmp_path, row(Opted_Out="no"), row(Opted_Out="yes"))
    assert statements_of(db) == [("ann@example.com", "global", None, "crm")]
    assert custody_of(db) == [("queue", "suppressed")]
    import_leads(ctx, tmp_path, row("bo@example.com"))
    assert import_leads(ctx, tmp_path, row("bo@example.com", Opted_Out="yes")).updated == 1
    assert custody_of(db)[1] == ("queue", "suppressed")


def test_an_address_that_was_suppressed_before_its_lead_came_stays_suppressed(db: Database, tmp_path: Path) -> None:
    with db.write() as tx:
        tx.execute(insert(lead_tables.Address).values(id=5, email="ann@example.com", normalized="ann@example.com"))
        tx.execute(
            insert(consent_tables.Suppression).values(
                address_id=5, action="suppress", scope="global", ref="", source="complained", recorded_at=NOW
            )
        )
    import_leads(plain_context(db, tmp_path), tmp_path, row())
    assert custody_of(db) == [("queue", "suppressed")]
    assert rows_of(db, "SELECT address_id FROM lead") == [(5,)]


def test_an_opt_out_follows_its_lead_to_a_new_address_and_a_bounce_does_not(db: Database, tmp_path: Path) -> None:
    ctx = plain_context(db, tmp_path)
    import_leads(ctx, tmp_path, row("a@example.com", Lead_ID="1"), row("b@example.com", Lead_ID="2"))
    with db.write() as tx:
        tx.execute(
            insert(consent_tables.Suppression).values(
                [
                    {
                        "address_id": id_,
                        "action": "suppress",
                        "scope": "global",
                        "ref": "",
                        "source": source,
                        "recorded_at": NOW,
                    }
                    for id_, source in ((1, "unsubscribed"), (2, "bounced"))
                ]
            )
        )
    import_leads(ctx, tmp_path, row("a2@example.com", Lead_ID="1"), row("b2@example.com", Lead_ID="2"))
    suppressions = rows_of(db, "SELECT normalized, source FROM suppression JOIN address ON address.id = address_id")
    assert sorted(suppressions) == [
        ("a2@example.com", "import"),
        ("a@example.com", "unsubscribed"),
        ("b@example.com", "bounced"),
    ]


def test_a_lead_without_address_leaves_its_queue_when_one_comes(db: Database, tmp_path: Path) -> None:
    ctx = plain_context(db, tmp_path)
    import_leads(ctx, tmp_path, row("", Lead_ID="1"), row("", Lead_ID="2", Consent=""))
    import_leads(ctx, tmp_path, row(Lead_ID="1"), row("bo@example.com", Lead_ID="2", Consent=""))
    assert custody_of(db) == [("intake", "import"), ("queue", "no-consent-basis")]
