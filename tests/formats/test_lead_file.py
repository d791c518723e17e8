from __future__ import annotations

import csv
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
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
    [
        ("Ann Lee", "Ann", "Lee"),
        ("Lee, Ann", "Ann", "Lee"),
        ("Ann", "Ann", None),
        ("Ann van Lee", "Ann van", "Lee"),
        ("山田 太郎", "太郎", "山田"),
    ],
)
def test_a_full_name_is_split(tmp_path: Path, name: str, first: str, last: str | None) -> None:
    lead = one(tmp_path, "email,name", f'a@example.com,"{name}"')
    assert (lead.first_name, lead.last_name) == (first, last)


@pytest.mark.parametrize("name", ["Weber", "Eva Weber", "Weber, Eva", "Weber Eva"])
def test_a_name_beside_a_first_name_gives_the_last_name(tmp_path: Path, name: str) -> None:
    lead = one(tmp_path, "Email,Vorname,Name", f'a@example.com,Eva,"{name}"')
    assert (lead.first_name, lead.last_name) == ("Eva", "Weber")


def test_a_name_that_only_repeats_the_last_name_gives_no_first_name(tmp_path: Path) -> None:
    lead = one(tmp_path, "Email,Nachname,Name", "a@example.com,Weber,Weber")
    assert (lead.first_name, lead.last_name) == (None, "Weber")


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
        assert [row.created_at for row in file if isinstance(row, LeadRow)] == [None, datetime(2026, 4, 3, tzinfo=UTC)]


def test_an_unreadable_date_costs_the_date_and_not_the_lead(tmp_path: Path) -> None:
    dates = ["31/02/2026", "31/02/2026", "2026-05-05 08:19 IST", "0000-00-00", "1900-01-01", "46157"]
    path = saved(tmp_path, "email,Created Time", *(f"a{at}@example.com,{text}" for at, text in enumerate(dates)))
    with open_leads(path) as file:
        rows = [row for row in file if isinstance(row, LeadRow)]
        assert [row.created_at for row in rows] == [*[None] * 5, datetime(2026, 5, 15, tzinfo=UTC)]
        assert [row.custom for row in rows] == [*({"created_time": text} for text in dates[:3]), {}, {}, {}]
        dates_left_out, zones_left_out = file.describe_noted()
        assert dates_left_out.startswith(
            "column 'Created Time': 2 cells without a clear date, left out: '31/02/2026' (2); write dates like"
        )
        assert zones_left_out.startswith(
            "column 'Created Time': 1 cell in a time zone with several meanings, left out: '2026-05-05 08:19 IST' (1); "
            "name the zone of the file"
        )


@pytest.mark.parametrize(
    ("first", "last", "names"),
    [
        ("null", "Lima", (None, "Lima")),
        ("N/A", "-", (None, None)),
        ("(not set)", "Please select", (None, None)),
        ("#REF!", "?", (None, None)),
        ("-None-", "xxx", (None, None)),
        ("[not provided]", "TBD", (None, None)),
        ("{{first_name}}", "%LASTNAME%", (None, None)),
        ("*|FNAME|*", "<last name>", (None, None)),
        ("${first}", "$lastname", (None, None)),
        ("M\ufffdller", "Lima", (None, "Lima")),
        ("Ana", "Null", ("Ana", "Null")),
        ("Ana", "None", ("Ana", "None")),
        ("Ana", "null", ("Ana", None)),
        ("", "Null", (None, None)),
        ("NULL", "Null", (None, None)),
        ("Na", "Nan", ("Na", "Nan")),
        ("A\u202ena", "Li\u200bma", ("Ana", "Lima")),
        ("Zo&euml;", "K&ouml;hler &amp; Dahl", ("Zoë", "Köhler & Dahl")),
        ("मे\u200cघना", "AT&T", ("मे\u200cघना", "AT&T")),
    ],
)
def test_names_are_free_of_placeholders_entities_and_invisible_characters(
    tmp_path: Path, first: str, last: str, names: tuple[str | None, str | None]
) -> None:
    lead = one(tmp_path, "email,first_name,last_name", f"a@example.com,{first},{last}")
    assert (lead.first_name, lead.last_name) == names


@pytest.mark.parametrize(
    "text",
    [
        "Select",
        "Please select",
        "-None-",
        "--None--",
        "TBD",
        ".",
        "#REF!",
        "?",
        "xxx",
        "{{city}}",
        "%CITY%",
        "*|CITY|*",
        "${city}",
        "{!Lead.City}",
        "[%City%]",
    ],
)
def test_placeholders_of_forms_are_empty_in_every_text_column(tmp_path: Path, text: str) -> None:
    header = "email,city,job title,industry,company,country,employees,status"
    lead = one(tmp_path, header, f"a@example.com{f',{text}' * 7}")
    assert (lead.city, lead.title, lead.industry, lead.company, lead.country) == (None,) * 5
    assert (lead.employees, lead.status_text, lead.custom) == (None, None, {})


@pytest.mark.parametrize("text", ["[solidcore]", "100%", "$100M Company", "{code}", "<3 Labs"])
def test_a_name_in_brackets_is_no_placeholder(tmp_path: Path, text: str) -> None:
    assert one(tmp_path, "email,company", f"a@example.com,{text}").company == text


def test_na_is_namibia_in_a_country_column_alone(tmp_path: Path) -> None:
    lead = one(tmp_path, "email,country,city", "a@example.com,NA,NA")
    assert (lead.country, lead.zone, lead.city) == ("NA", "Africa/Windhoek", None)
    assert one(tmp_path, "email,country", "a@example.com,N/A").country is None


def test_contact_name_is_the_person_and_a_title_of_address_is_no_job_title(tmp_path: Path) -> None:
    lead = one(tmp_path, "Email,Name,Contact Name,Title", "a@example.com,Souza Foods,Ana Lima,Dr.")
    assert (lead.first_name, lead.last_name, lead.title) == ("Ana", "Lima", None)
    assert lead.custom == {"name": "Souza Foods", "salutation": "Dr."}
    assert one(tmp_path, "Email,Title", "a@example.com,Director").title == "Director"


def test_a_postcode_gets_back_the_zeros_that_a_spreadsheet_took(tmp_path: Path) -> None:
    rows = ["1067,DE", "601,US", "800,AU", "12,DE", "01067,DE", "1010,AT", "SW1,GB"]
    with open_leads(
        saved(tmp_path, "email,PLZ,country", *(f"a{at}@example.com,{row}" for at, row in enumerate(rows)))
    ) as file:
        found = [row.postcode for row in file if isinstance(row, LeadRow)]
        assert found == ["01067", "00601", "0800", "12", "01067", "1010", "SW1"]
        assert file.describe_noted() == [
            "column 'PLZ': 3 cells had lost leading zeros, which were restored: '1067' (1), '601' (1), '800' (1)",
            "column 'PLZ': 1 cell with too few digits for the country: '12' (1); correct the postcodes at the source",
        ]


@pytest.mark.parametrize(
    "text",
    ["Ana <a@c1.example>", '"Lima, Ana" <a@c1.example>', "mailto:a@c1.example", "a@c1.example.", "<A@c1.example>;",
     "mailto:a@c1.example?subject=Hi", "a@c1.\u200bexample"],
)  # fmt: skip
def test_an_address_is_read_in_the_writing_of_mail_programs(tmp_path: Path, text: str) -> None:
    quoted = '"' + text.replace('"', '""') + '"'
    assert one(tmp_path, "email,first_name", f"{quoted},Ana").email == "a@c1.example"


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


def test_an_unknown_status_word_is_kept_and_counted(tmp_path: Path) -> None:
    path = saved(tmp_path, "Email,Status", "a@example.com,Galactic", "b@example.com,Galactic", "c@example.com,cleaned")
    with open_leads(path) as file:
        found = [row.custom for row in file if isinstance(row, LeadRow)]
        assert found == [{"status_text": word} for word in ("Galactic", "Galactic", "cleaned")]
        assert file.unknown_statuses == {"Galactic": 2}


@pytest.mark.parametrize("owner", ["Unassigned", "none", "Niemand", "-", "House account"])
def test_words_for_nobody_name_no_owner(tmp_path: Path, owner: str) -> None:
    assert one(tmp_path, "Email,Owner", f"a@example.com,{owner}").owner is None


@pytest.mark.parametrize(
    ("column", "text", "customer"),
    [
        ("Customer", "Souza Foods Ltd", True),
        ("Customer", "yes", True),
        ("Customer", "No", False),
        ("Customer", "not yet", False),
        ("Customer", "Prospect", False),
        ("Converted", "1", True),
        ("Converted", "2026-02-03", True),
        ("Converted", "0", False),
        ("Type", "Customer", True),
        ("Type", "Retail", None),
    ],
)
def test_who_is_a_customer_is_read_from_any_column_that_says_so(
    tmp_path: Path, column: str, text: str, customer: bool | None
) -> None:
    path = tmp_path / "leads.csv"
    path.write_text(f"Email,First Name,{column}\nana@example.com,Ana,{text}\n")
    with open_leads(path) as file:
        (row,) = file
    assert isinstance(row, LeadRow)
    assert row.customer is customer


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from([b"email,first_name,country,created_at,employees\n", b'[{"email":"', b"<table><tr><td>email"]),
    st.binary(max_size=200),
)
def test_any_bytes_are_leads_or_rejected_rows_or_the_documented_error(
    tmp_path: Path, start: bytes, content: bytes
) -> None:
    path = tmp_path / "any.csv"
    path.write_bytes(start + content)
    try:
        with open_leads(path, attended=False) as file:
            assert all(isinstance(row, LeadRow | BadRow) for row in file)
    except FileUnreadable:
        return
