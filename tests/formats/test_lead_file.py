from __future__ import annotations

import csv
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.errors import FileUnreadable
from nurture.formats.lead_file import BadRow, BadRowReport, ColumnMapping, LeadRow, open_leads
from nurture.formats.purchase_timeframe import Timeframe
from nurture.formats.row_plan import MAX_CUSTOM
from nurture.formats.status_mapping import ConsentBasis, LeadStatus


def saved(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "leads.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def leads(path: Path, mapping: ColumnMapping | None = None) -> list[LeadRow]:
    rows = list(open_leads(path, mapping))
    assert [row for row in rows if isinstance(row, BadRow)] == []
    return [row for row in rows if isinstance(row, LeadRow)]


def one(tmp_path: Path, header: str, row: str, mapping: ColumnMapping | None = None) -> LeadRow:
    return leads(saved(tmp_path, header, row), mapping)[0]


def reason(tmp_path: Path, header: str, row: str) -> str:
    (found,) = open_leads(saved(tmp_path, header, row))
    assert isinstance(found, BadRow)
    assert found.cells == tuple(next(csv.reader([row])))
    return found.reason


def given_fields(lead: LeadRow, *names: str) -> dict[str, Any]:
    return {name: getattr(lead, name) for name in names}


def test_a_salesforce_export_is_read(tmp_path: Path) -> None:
    lead = one(
        tmp_path,
        "Id,FirstName,LastName,Company,Email,Status,OwnerId,IsConverted,HasOptedOutOfEmail,"
        "IsDeleted,CreatedDate,"
        "Country,State,NumberOfEmployees,Timeframe__c,Color__c,SystemModstamp",
        "00Q1,Ann,Lee,Firm,Ann@Example.com,Working - Contacted,005,false,true,false,"
        "2026-01-02T03:04:05.000Z,"
        'United States,California,"1,200",Q3 2026,red,x',
    )
    assert given_fields(
        lead,
        "source",
        "external_id",
        "email",
        "status",
        "owner",
        "opted_out",
        "deleted",
        "country",
        "region",
        "zone",
        "employees",
        "created_at",
    ) == {
        "source": "salesforce",
        "external_id": "00Q1",
        "email": "ann@example.com",
        "status": LeadStatus.WORKING,
        "owner": "005",
        "opted_out": True,
        "deleted": False,
        "country": "US",
        "region": "California",
        "zone": "America/Los_Angeles",
        "employees": 1200,
        "created_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    }
    assert lead.timeframe is not None
    assert str(lead.timeframe.on) == "2026-09-30"
    assert lead.custom == {"color": "red", "system_modstamp": "x"}


def test_a_converted_lead_is_won_and_the_most_restrictive_status_is_used(tmp_path: Path) -> None:
    header = "Id,Email,Status,IsConverted,SystemModstamp,HasOptedOutOfEmail"
    assert one(tmp_path, header, "1,a@example.com,Strange,true,x,false").status is LeadStatus.WON
    assert one(tmp_path, header, "1,a@example.com,Strange,false,x,false").status is None
    lead = one(
        tmp_path, "Record ID,Email,Lifecycle Stage,Lead Status,Contact owner", "1,a@example.com,Lead,IN_PROGRESS,Bo"
    )
    assert (lead.source, lead.status, lead.status_text) == ("hubspot", LeadStatus.WORKING, "Lead")


def test_a_webinar_export_with_preamble_is_read(tmp_path: Path) -> None:
    path = saved(
        tmp_path,
        'Webinar Name,"Care, for leads"',
        "Generated,2026-08-05",
        "",
        "Email,First Name,Last Name,Registration Time,Attended,Time in Session (minutes),"
        "Country/Region Name,"
        "Purchasing Time Frame,Questions & Comments",
        'ann@example.com,Ann,Lee,"Aug 1, 2026 10:02:33 PM",Yes,41,Brazil,Within 3 months,How much?',
        'bo@example.com,Bo,,"Aug 2, 2026 9:00 AM",No,--,Germany,,0',
    )
    ann, bo = leads(path)
    assert given_fields(ann, "line", "source", "attended", "minutes_attended", "zone", "timeframe", "questions") == {
        "line": 5,
        "source": "webinar",
        "attended": True,
        "minutes_attended": 41,
        "zone": "America/Sao_Paulo",
        "timeframe": Timeframe(within_days=91),
        "questions": "How much?",
    }
    assert given_fields(bo, "attended", "minutes_attended", "last_name", "questions") == {
        "attended": False,
        "minutes_attended": None,
        "last_name": None,
        "questions": None,
    }


def test_a_mapping_applies_columns_constants_and_templates(tmp_path: Path) -> None:
    mapping = ColumnMapping(
        source="olist",
        columns={"mql_id": "external_id", "first_contact_date": "created_at", "origin": "lead_source", "noise": "skip"},
        constants={"consent_basis": "legitimate_interest", "country": "BR"},
        templates={"email": "{mql_id}@leads.example"},
        formats={"created_at": ("%d/%m/%Y",)},
        statuses={"in bob's hands": LeadStatus.WORKING},
    )
    lead = one(tmp_path, "mql_id,first_contact_date,origin,noise,status", "AB1,03/04/2018,,x,In Bob's hands", mapping)
    assert given_fields(
        lead,
        "source",
        "external_id",
        "email",
        "consent_basis",
        "country",
        "zone",
        "created_at",
        "lead_source",
        "custom",
        "status",
    ) == {
        "source": "olist",
        "external_id": "AB1",
        "email": "ab1@leads.example",
        "consent_basis": ConsentBasis.LEGITIMATE_INTEREST,
        "country": "BR",
        "zone": "America/Sao_Paulo",
        "created_at": datetime(2018, 4, 3, tzinfo=UTC),
        "lead_source": None,
        "custom": {},
        "status": LeadStatus.WORKING,
    }


def test_a_constant_fills_empty_cells_only(tmp_path: Path) -> None:
    mapping = ColumnMapping(constants={"consent_basis": "consent"})
    path = saved(tmp_path, "Email,Legal basis", "a@example.com,no", "b@example.com,", "c@example.com,contract")
    assert [lead.consent_basis for lead in leads(path, mapping)] == [None, ConsentBasis.CONSENT, ConsentBasis.CONTRACT]


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        (ColumnMapping(columns={"emial": "email"}), "did you mean email"),
        (ColumnMapping(templates={"email": "{idd}@leads.example"}), "not a column"),
        (ColumnMapping(constants={"zone": "Mars/Phobos"}), "does not exist"),
    ],
)
def test_a_mapping_that_does_not_fit_the_file_raises_one_error(
    tmp_path: Path, mapping: ColumnMapping, says: str
) -> None:
    with pytest.raises(FileUnreadable, match=says):
        open_leads(saved(tmp_path, "id,email", "1,a@example.com"), mapping)


def test_a_file_without_addresses_and_ids_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(FileUnreadable, match="columns: color, size"):
        open_leads(saved(tmp_path, "color,size", "red,1"))


@pytest.mark.parametrize(
    ("header", "row", "says"),
    [
        ("email,name", "ann.example.com,Ann", "not an email address"),
        ("email,name", "a@b@example.com,Ann", "not an email address"),
        ("email,name", "a@example.com; b@example.com,Ann", "several addresses"),
        ("email,name", "ann@firm,Ann", "not an email address"),
        ("email,name", f"{'x' * 65}@example.com,Ann", "not an email address"),
        ("email,created_at", "a@example.com,31/02/2026", "'created_at': '31/02/2026' is not a date"),
        ("email,created_at", "a@example.com,03/04/2026", "day or month first"),
        ("email,opted_out", "a@example.com,perhaps", "neither yes nor no"),
        ("email,consent", "a@example.com,perhaps", "consent 'perhaps'"),
        ("email,attended,minutes_attended", "a@example.com,no,40", "attended says no"),
        ("email,Email,name", "a@example.com,b@example.com,x", "disagree"),
        ("email,name", "a@example.com", "1 cells"),
        ("email,name", "a@example.com,b,c", "3 cells"),
    ],
)
def test_an_invalid_row_is_rejected_with_its_reason(tmp_path: Path, header: str, row: str, says: str) -> None:
    assert says in reason(tmp_path, header, row)


def test_an_unknown_zone_becomes_a_custom_field_and_the_place_decides(tmp_path: Path) -> None:
    lead = one(tmp_path, "email,zone,country", "a@example.com,North,Germany")
    assert (lead.zone, lead.custom) == ("Europe/Berlin", {"zone": "North"})
    assert one(tmp_path, "email,zone", "a@example.com,america_slash_new_york").zone == "America/New_York"
    assert one(tmp_path, "email,zone", "a@example.com,(GMT+01:00) CET (Europe/Berlin)").zone == "Europe/Berlin"


@pytest.mark.parametrize("blank", ["", "-", "n/a", "NULL"])
def test_a_row_without_an_address_is_not_bad(tmp_path: Path, blank: str) -> None:
    assert one(tmp_path, "email,name,id", f"{blank},Ann Lee,7").email is None


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("Ann+News@Example.com", "ann+news@example.com"),
        ("o'neil@example.com", "o'neil@example.com"),
        ("ann@bücher.example", "ann@xn--bcher-kva.example"),
        ("a!b@example.com", "a!b@example.com"),
        (" ann@example.com ", "ann@example.com"),
    ],
)
def test_addresses_are_normalized(tmp_path: Path, written: str, address: str) -> None:
    assert one(tmp_path, "email,name", f"{written},Ann").email == address


def test_the_preferred_of_two_columns_fills_the_field_and_the_other_is_custom(tmp_path: Path) -> None:
    path = saved(tmp_path, "Mobile Phone,Email,Phone", "1,a@example.com,2", "3,b@example.com,")
    first, second = leads(path)
    assert (first.phone, first.custom) == ("2", {"mobile_phone": "1"})
    assert second.phone == "3"


def test_an_opt_out_in_any_column_counts(tmp_path: Path) -> None:
    header = "Email,Opted out,Unsubscribed"
    assert one(tmp_path, header, "a@example.com,no,yes").opted_out is True
    assert one(tmp_path, header, "a@example.com,yes,no").opted_out is True
    assert one(tmp_path, header, "a@example.com,no,").opted_out is False
    assert one(tmp_path, header, "a@example.com,,").opted_out is None


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [("Ann Lee", "Ann", "Lee"), ("Lee, Ann", "Ann", "Lee"), ("Ann", "Ann", None), ("Ann van Lee", "Ann van", "Lee")],
)
def test_a_full_name_is_split(tmp_path: Path, name: str, first: str, last: str | None) -> None:
    lead = one(tmp_path, "email,name", f'a@example.com,"{name}"')
    assert (lead.first_name, lead.last_name) == (first, last)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("41", 41),
        ("41.5", 41),
        ("1:04:30", 64),
        ("12:30", 12),
        ("1 hour 4 minutes", 64),
        ("43 min", 43),
        ("2h", 120),
        ("a while", None),
    ],
)
def test_minutes_are_parsed(tmp_path: Path, text: str, minutes: int | None) -> None:
    lead = one(tmp_path, "email,minutes attended", f"a@example.com,{text}")
    assert (lead.minutes_attended, lead.attended) == (minutes, None if minutes is None else True)
    assert lead.custom == ({} if minutes is not None else {"minutes_attended": text})


def test_dates_are_decided_by_evidence_later_in_the_file(tmp_path: Path) -> None:
    rows = [f"a{i}@example.com,03/04/2026" for i in range(1_200)]
    path = saved(tmp_path, "email,created_at", *rows, "z@example.com,25/04/2026")
    assert leads(path)[0].created_at == datetime(2026, 4, 3, tzinfo=UTC)
    assert len(leads(path)) == 1_201


def test_a_column_with_ambiguous_dates_adds_a_note(tmp_path: Path) -> None:
    path = saved(tmp_path, "email,created_at", "a@example.com,03/04/2026", "b@example.com,2026-04-03")
    with open_leads(path) as file:
        assert any("created_at" in note for note in file.notes)
        assert [isinstance(row, BadRow) for row in file] == [True, False]


def test_excess_custom_fields_are_dropped_with_a_note(tmp_path: Path) -> None:
    names = [f"Fact {i}" for i in range(MAX_CUSTOM + 5)]
    with open_leads(saved(tmp_path, ",".join(["email", *names]), ",".join(["a@example.com", *names]))) as file:
        (lead,) = file
        assert isinstance(lead, LeadRow)
        assert len(lead.custom) == MAX_CUSTOM
        assert any("5 columns" in note for note in file.notes)


def test_columns_without_a_name_or_with_the_same_name_keep_their_values(tmp_path: Path) -> None:
    lead = one(tmp_path, "email,,color,color", "a@example.com,x,red,blue")
    assert lead.custom == {"column_2": "x", "color": "red", "color_2": "blue"}
    lead = one(tmp_path, "title,firstname,email,points,address1,zipcode", "Mr,Bo,a@example.com,4,,")
    assert (lead.source, lead.title, lead.custom) == ("mautic", None, {"title_2": "Mr", "points": "4"})


def test_a_corrected_report_of_bad_rows_can_be_imported(tmp_path: Path) -> None:
    path = saved(tmp_path, "email,name", "nobody,Ann", "b@example.com,Bo", "c@,Cy")
    target = tmp_path / "out" / "bad.csv"
    with open_leads(path) as file, BadRowReport(target, file.header) as report:
        for row in file:
            if isinstance(row, BadRow):
                report.add(row)
    assert report.count == 2
    text = target.read_text(encoding="utf-8-sig")
    assert text.splitlines()[0] == "line,reason,email,name"
    target.write_text(
        text.replace("nobody,", "ann@example.com,").replace("c@,", "c@example.com,"), encoding="utf-8-sig"
    )
    assert [(lead.email, lead.custom) for lead in leads(target)] == [("ann@example.com", {}), ("c@example.com", {})]


def test_a_report_that_cannot_be_written_raises_a_clear_error(tmp_path: Path) -> None:
    with (
        BadRowReport(saved(tmp_path, "x") / "bad.csv", ["email"]) as report,
        pytest.raises(FileUnreadable, match="cannot be written"),
    ):
        report.add(BadRow(2, "why", ("x",)))


def test_without_bad_rows_no_report_is_written(tmp_path: Path) -> None:
    with BadRowReport(tmp_path / "bad.csv", ["email"]):
        pass
    assert not (tmp_path / "bad.csv").exists()


LETTERS = 'ab@.,;"\n\t0123456789/-: émail'


@given(
    st.text(alphabet=LETTERS, max_size=200),
    st.sampled_from(
        ["email,name", "email,created_at,attended,employees,zone,country", "id;email;status;opted_out;minutes attended"]
    ),
)
@settings(max_examples=200, deadline=None)
def test_any_rows_below_a_header_are_leads_bad_rows_or_one_error(tmp_path: Path, text: str, header: str) -> None:
    path = saved(tmp_path, header, text)
    try:
        rows = list(open_leads(path))
    except FileUnreadable as error:
        assert "no rows" in str(error)  # noqa: PT017
    else:
        assert all(isinstance(row, LeadRow | BadRow) for row in rows)


def test_memory_is_flat_from_10_000_to_100_000_rows(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        path = saved(tmp_path, "id,email", *(f"{i},lead{i}@example.com" for i in range(count)))
        tracemalloc.start()
        seen = sum(isinstance(row, LeadRow) for row in open_leads(path))
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert seen == count
        return highest

    small = peak(10_000)
    assert peak(100_000) < small * 1.5 + 1_000_000
