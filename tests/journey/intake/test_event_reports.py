"""Reports of webinars and fairs are imported as the platforms write them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nurture.db.engine import Database
from nurture.journey.intake.import_file import LeadImportResult, import_file
from tests.journey.intake.lead_files import fields_of, plain_context, rows_of

NOW = datetime(2026, 11, 29, 9, tzinfo=UTC)

GOTO = """\
Attendee Report,,,,,
"Actual Start Date/Time",,"Actual Duration (minutes)",,,
"Jun 17, 2026 02:00 PM EDT",,50,,,
Session Details,,,,,
Attended,First Name,Last Name,Email,Registration Date,In Session Duration* (minutes)
Yes,Ana,Souza,ana@example.com,"Jun 3, 2026 09:12 AM EDT",42.10
No,Bo,Lima,bo@example.com,"Jun 4, 2026 09:12 AM EDT",
Yes,Guest,,,"Jun 4, 2026 09:12 AM EDT",12
"""
ZOOM = """\
Attendee Report
Report Generated:,"Jun 18, 2026 08:00 AM"
Topic,Webinar ID,Actual Start Time,Actual Duration (minutes),# Registered
Forecasting,811 222 333,"06/17/2026 02:00:00 PM",60,3
Host Details,
Attended,User Name (Original Name),Email,Join Time,Leave Time,Time in Session (minutes),Is Guest,Country/Region Name
Yes,Mara,mara@house.example,"06/17/2026 01:55:00 PM","06/17/2026 03:00:00 PM",65,No,Germany
Attendee Details,
Attended,User Name (Original Name),First Name,Last Name,Email,Registration Time,Approval Status,Join Time,Leave Time,\
Time in Session (minutes),Is Guest,Country/Region Name
Yes,Ana,Ana,Souza,ana@example.com,"06/03/2026 09:12:00 AM",approved,"06/17/2026 02:01:00 PM",\
"06/17/2026 02:32:00 PM",31,Yes,Brazil
Yes,Ana,Ana,Souza,ana@example.com,"06/03/2026 09:12:00 AM",approved,"06/17/2026 02:40:00 PM",\
"06/17/2026 02:52:00 PM",12,Yes,Brazil
No,Bo,Bo,Lima,bo@example.com,"06/04/2026 09:12:00 AM",approved,--,--,--,--,
Other Attended,
User Name,Join Time,Leave Time,Time in Session (minutes),Is Guest,Country/Region Name
4915112345,"06/17/2026 02:01:00 PM","06/17/2026 02:32:00 PM",31,Yes,Germany
"""
TEAMS = """\
1. Summary
Meeting title\tForecasting
Attended participants\t3
Start time\t6/17/26, 2:00:00 PM
End time\t6/17/26, 3:00:00 PM
Meeting duration\t1h

2. Participants
Name\tFirst Join\tLast Leave\tIn-Meeting Duration\tEmail\tParticipant ID (UPN)\tRole
Ana Souza\t6/17/26, 2:01:00 PM\t6/17/26, 2:53:10 PM\t52m 10s\tana@example.com\tana@example.com\tAttendee
Bo Lima (Guest)\t6/17/26, 2:05:00 PM\t6/17/26, 2:06:00 PM\t1m 2s\t\t\tAttendee

3. In-Meeting Activities
Name\tJoin Time\tLeave Time\tDuration\tEmail\tRole
Ana Souza\t6/17/26, 2:01:00 PM\t6/17/26, 2:32:00 PM\t31m\tana@example.com\tAttendee
Ana Souza\t6/17/26, 2:33:00 PM\t6/17/26, 2:53:10 PM\t21m\tana@example.com\tAttendee
"""
TEAMS_GERMAN = """\
1. Zusammenfassung
Startzeit\t17.06.26, 14:00:00

2. Teilnehmer
Name\tErste Teilnahme\tLetztes Verlassen\tDauer der Teilnahme\tE-Mail\tTeilnehmer-ID (UPN)\tRolle
Ana Souza\t17.06.26, 14:01:00\t17.06.26, 14:53:10\t52 Min. 10 s\tana@example.com\tana@example.com\tTeilnehmer

3. Aktivitäten in der Besprechung
Name\tBeitrittszeit\tVerlassen um\tDauer\tE-Mail\tRolle
Ana Souza\t17.06.26, 14:01:00\t17.06.26, 14:32:00\t31 Min.\tana@example.com\tTeilnehmer
"""
ZOOM_MEETING = """\
Meeting ID,Topic,Start Time,End Time,User Email,Duration (Minutes),Participants
811,Forecasting,06/17/2026 02:00:00 PM,06/17/2026 03:00:00 PM,mara@house.example,60,2

Name (Original Name),User Email,Join Time,Leave Time,Duration (Minutes),Guest
Ana Souza,ana@example.com,06/17/2026 02:01:00 PM,06/17/2026 02:32:00 PM,31,Yes
Ana Souza,ana@example.com,06/17/2026 02:40:00 PM,06/17/2026 02:52:00 PM,12,Yes
"""
SCANNER = """\
Lead Retrieval Export
Show: Trade Fair 2026

Scan Date/Time,Badge Number,First Name,Last Name,Company,Email,Qualifier 1
06/17/2026 2:00 PM,B1,Ana,Souza,Souza Foods,ana@example.com,hot
"""
ON24 = """\
Email,First Name,Last Name,Company,Registration Date,Live Minutes,Archive Minutes,Asked Questions,Engagement Score,\
Event Date
ana@example.com,Ana,Souza,Souza Foods,2026-06-03 09:00,42,0,1,7.1,2026-06-17
bo@example.com,Bo,Lima,Lima Ltd,2026-06-04 09:00,0,0,0,0,2026-06-17
"""
WEBEX = """\
Name,Email,Session Name,Join Time,Leave Time,Attendance Duration,Connection Type,Registration Status
Ana Souza,ana@example.com,Forecasting,2026-06-17 14:00:00,2026-06-17 14:42:00,42 mins,Desktop,approved
"""
EVENTBRITE = """\
Order #,Order Date,First Name,Last Name,Email,Quantity,Ticket Type,Attendee #,Order Type,Attendee Status,Check-In Date
11,2026-06-03,Ana,Souza,ana@example.com,1,Free,21,Free Order,Checked In,2026-06-17 14:00
12,2026-06-04,Bo,Lima,bo@example.com,1,Free,22,Free Order,Not Attending,
13,2026-06-04,Cy,Reis,cy@example.com,1,Free,23,Free Order,Attending,
"""
BADGES = """\
Badge ID,First Name,Last Name,Company,Email,Scan Time,Scanned By,Lead Rating,Notes
A1,Ana,Souza,Souza Foods,ana@example.com,17/06/2026 14:00,mara,hot,asked for prices
A2,Bo,Lima,Lima Ltd,,18/06/2026 10:00,mara,cold,
"""
META = """\
id\tcreated_time\tad_id\tad_name\tcampaign_id\tform_id\tform_name\tis_organic\tplatform\temail\tfull_name\tlead_status
l:991\t2026-06-17T14:00:00+0000\tag:1\tAd\tc:1\tf:1\tForm\tfalse\tfb\tana@example.com\tAna Souza\tCREATED
"""
LINKEDIN = """\
Lead ID,Submitted At,Campaign Name,Form Name,First Name,Last Name,Email Address,Job Title,Company Name
77,2026-06-17 14:00:00,Campaign,Form,Ana,Souza,ana@example.com,Head of Ops,Souza Foods
"""


def _import(db: Database, folder: Path, text: str, encoding: str = "utf-8") -> LeadImportResult:
    path = folder / "report.csv"
    path.write_bytes(text.encode(encoding))
    return import_file(plain_context(db, folder), path, NOW)


def _attended(db: Database) -> list[Any]:
    query = (
        "SELECT normalized, occurred_at FROM signal JOIN lead ON lead.id = lead_id "
        "JOIN address ON address.id = address_id WHERE kind = 'attended' ORDER BY 1"
    )
    return [(email, f"{at}"[:10]) for email, at in rows_of(db, query)]


@pytest.mark.parametrize(
    ("text", "encoding", "people", "rejected", "minutes"),
    [
        (GOTO, "utf-8", 2, 1, 42),
        (ZOOM, "utf-8-sig", 2, 0, 43),
        (TEAMS, "utf-16", 1, 1, 52),
        (TEAMS_GERMAN, "utf-16", 1, 0, 52),
        (ZOOM_MEETING, "utf-8", 1, 0, 43),
        (SCANNER, "cp1252", 1, 0, None),
        (ON24, "utf-8", 2, 0, 42),
        (WEBEX, "utf-8", 1, 0, 42),
        (EVENTBRITE, "utf-8", 3, 0, None),
        (BADGES, "utf-8", 1, 1, None),
    ],
    ids=("goto", "zoom", "teams", "teams german", "zoom meeting", "scanner", "on24", "webex", "eventbrite", "badges"),
)
def test_attendance_is_dated_at_the_event_and_a_second_import_changes_nothing(
    db: Database, tmp_path: Path, text: str, encoding: str, people: int, rejected: int, minutes: int | None
) -> None:
    done = _import(db, tmp_path, text, encoding)
    assert (done.new, done.rejected) == (people, rejected)
    assert _attended(db) == [("ana@example.com", "2026-06-17")]
    ana = fields_of(db)[0]
    assert (ana["attended"], ana.get("minutes_attended"), ana["last_name"]) == (True, minutes, "Souza")
    assert "title" not in ana
    if people > 1:
        assert fields_of(db)[1]["attended"] is False
    before = fields_of(db)
    again = _import(db, tmp_path, text, encoding)
    assert (again.new, again.updated, again.unchanged, again.signals) == (0, 0, done.rows - rejected, 0)
    assert fields_of(db) == before


def test_parts_of_a_report_that_list_no_people_are_passed_over_and_named(sqlite_db: Database, tmp_path: Path) -> None:
    zoom = _import(sqlite_db, tmp_path, ZOOM)
    assert any("'Other Attended' (2 rows)" in note for note in zoom.notes)
    teams = _import(sqlite_db, tmp_path, TEAMS, "utf-16")
    assert any("'3. In-Meeting Activities' (3 rows)" in note for note in teams.notes)
    assert teams.report_path is not None
    assert "the guest has no email address" in teams.report_path.read_text("utf-8-sig")


def test_of_several_columns_on_attendance_the_one_that_knows_counts(sqlite_db: Database, tmp_path: Path) -> None:
    rows = "Ana,ana@example.com,Attending,Yes\nBo,bo@example.com,Attending,No\n"
    _import(sqlite_db, tmp_path, f"First Name,Email,Attendee Status,Checked In\n{rows}")
    assert [fields["attended"] for fields in fields_of(sqlite_db)] == [True, False]


def test_who_is_registered_at_an_event_has_neither_attended_nor_missed_it(sqlite_db: Database, tmp_path: Path) -> None:
    _import(sqlite_db, tmp_path, EVENTBRITE)
    assert fields_of(sqlite_db)[2]["attended"] == "Attending"
    query = "SELECT kind, occurred_at FROM signal JOIN lead ON lead.id = lead_id WHERE lead_id = 3"
    assert [(kind, f"{at}"[:10]) for kind, at in rows_of(sqlite_db, query)] == [("registered", "2026-06-04")]


@pytest.mark.parametrize("text", [META, LINKEDIN], ids=("meta", "linkedin"))
def test_lead_forms_are_dated_when_they_were_sent(sqlite_db: Database, tmp_path: Path, text: str) -> None:
    assert _import(sqlite_db, tmp_path, text).new == 1
    ((first_contact,),) = rows_of(sqlite_db, "SELECT first_contact_at FROM lead")
    assert f"{first_contact}"[:10] == "2026-06-17"
