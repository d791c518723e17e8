"""Lists of opt-outs from other systems, and back."""

from __future__ import annotations

import csv
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nurture.db import schema
from nurture.db.engine import Database
from nurture.domain.consent.suppression import Scope
from nurture.errors import FileUnreadable, Refused
from nurture.journey.consent import opt_in
from nurture.journey.consent.suppression import EVERYTHING, About, suppress
from nurture.journey.consent.suppression_files import Listed, export, export_to, import_suppressions, listed
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, tick_at, tiny_rules
from tests.journey.observe import counted, crowd, custody, rows

DAY = timedelta(days=1)
NOW = START + DAY
SAID = "asked for it again at the fair in May"


def a_house(db: Database, tmp_path: Path) -> House:
    rules = tiny_rules()
    rules["tracks/keep/track.yaml"] += "topic: News and guides\n"
    return make_house(db, tmp_path, rules=rules)


@pytest.fixture
def house(db: Database, tmp_path: Path) -> House:
    return a_house(db, tmp_path)


@pytest.fixture
def lite(sqlite_db: Database, tmp_path: Path) -> House:
    return a_house(sqlite_db, tmp_path)


def _file(tmp_path: Path, content: str | bytes, name: str = "list.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _standing(house: House) -> list[tuple[str, str, str, str]]:
    return [each[:4] for each in listed(house)]


def _counts(house: House, path: Path, now: datetime = NOW) -> tuple[int, int, int, int]:
    done = import_suppressions(house, path, now)
    return done.rows, done.new, done.known, done.bad


def test_good_rows_go_in_and_bad_ones_are_reported_with_line_and_reason(house: House, tmp_path: Path) -> None:
    lead = add_lead(house, title="Head", email="ana@people.example")
    tick_at(house, START)
    file = _file(
        tmp_path,
        "E-Mail;Scope;Ref;Source;Date\n"
        "Ana@People.example;;;;2026-01-02\n"
        "bo@people.example;topic;news AND guides;reply;2026-01-03T10:00:00+01:00\n"
        "not an address;;;;\n"
        "cy@people.example;track;welcom;;\n"
        "di@people.example;galaxy;;;\n"
        "ed@people.example;topic;;;\n"
        "fi@people.example;track;keep;somebody;when?\n",
    )
    done = import_suppressions(house, file, NOW)
    assert (done.rows, done.new, done.known, done.bad) == (7, 3, 0, 4)
    assert _standing(house) == [
        ("ana@people.example", "global", "", "import"),
        ("bo@people.example", "topic", "News and guides", "reply"),
        ("fi@people.example", "track", "keep", "import"),
    ]
    assert "1 dates could not be read" in done.notes[0]
    assert done.report_path is not None
    with done.report_path.open(encoding="utf-8-sig", newline="") as report:
        bad = {row["line"]: row["reason"] for row in csv.DictReader(report)}
    assert set(bad) == {"4", "5", "6", "7"}
    assert "welcome" in bad["5"]
    tick_at(house, NOW)
    assert custody(house, lead) == ("queue", "suppressed")


def test_the_same_file_again_changes_nothing(house: House, tmp_path: Path) -> None:
    file = _file(
        tmp_path, "email,date\nana@people.example,2026-01-02\nbo@people.example,\nana@people.example,\n"
    )
    assert _counts(house, file) == (3, 2, 1, 0)
    before = rows(house, "SELECT * FROM suppression ORDER BY id")
    assert _counts(house, file, NOW + DAY) == (3, 0, 3, 0)
    assert rows(house, "SELECT * FROM suppression ORDER BY id") == before


@pytest.mark.parametrize(
    ("content", "source", "since"),
    [
        (
            "status,reason,email,created\n5.1.1,550 5.1.1 unknown user,ana@people.example,1767312000\n",
            "bounce",
            datetime(2026, 1, 2, tzinfo=UTC),
        ),
        ("email,created,reason,status\nana@people.example,1767312000,550 no such user,\n", "bounce", None),
        ("email,created,ip\nana@people.example,1767312000,192.0.2.1\n", "complaint", None),
        ("email,created\nana@people.example,1767312000\n", "import", datetime(2026, 1, 2, tzinfo=UTC)),
        ("created,email,reason\n1767312000,ana@people.example,Known bad domain\n", "import", None),
        (
            "email,created,reason,status\nana@people.example,1767312000,too many mails,unsubscribed\n",
            "import",
            None,
        ),
    ],
)
def test_exports_of_sendgrid_are_read_as_they_are(
    lite: House, tmp_path: Path, content: str, source: str, since: datetime | None
) -> None:
    assert _counts(lite, _file(tmp_path, content)) == (1, 1, 0, 0)
    (found,) = listed(lite)
    assert (found.scope, found.source) == ("global", source)
    assert since is None or found.since == since


@pytest.mark.parametrize(
    "content",
    [
        "ana@people.example\nbo@people.example\n",
        "\r\nana@people.example\r\n\r\nBo <bo@people.example>",
        "E-posta adresi\nana@people.example\nbo@people.example\n",
        '\ufeffEMAIL ADDRESS\n"ana@people.example"\nbo@people.example\n',
        "Email\tName\nana@people.example\tAna\nbo@people.example\tBo\n".encode("utf-16"),
        "ana@people.example;Ana\nbo@people.example;Bo\n",
        "mail,name\nana@people.example,Jos\xe9\nbo@people.example,Bj\xf6rn\n".encode("cp1252"),
        "line,reason,email\n3,typo,ana@people.example\n4,typo,bo@people.example\n",
    ],
)
def test_lists_are_read_in_any_shape(lite: House, tmp_path: Path, content: str | bytes) -> None:
    assert _counts(lite, _file(tmp_path, content)) == (2, 2, 0, 0)
    assert [each[0] for each in _standing(lite)] == ["ana@people.example", "bo@people.example"]


def test_a_bare_list_may_hold_one_address_and_its_bad_rows_come_back(lite: House, tmp_path: Path) -> None:
    assert _counts(lite, _file(tmp_path, "ana@people.example")) == (1, 1, 0, 0)
    done = import_suppressions(lite, _file(tmp_path, "x@@people.example\nbo@people.example\n"), NOW)
    assert (done.new, done.bad) == (1, 1)
    assert done.report_path is not None
    assert done.report_path.read_text("utf-8-sig").startswith("line,reason,email\n")


def test_who_is_still_subscribed_is_not_suppressed_by_a_list_of_everybody(
    lite: House, tmp_path: Path
) -> None:
    file = _file(tmp_path, "Email,Status\nana@people.example,subscribed\nbo@people.example,unsubscribed\n")
    assert _counts(lite, file) == (2, 1, 0, 1)
    assert [each[0] for each in _standing(lite)] == ["bo@people.example"]


@pytest.mark.parametrize("content", ["Name,City\nAna,Rio\n", "", "Email,Name\n"])
def test_a_file_without_addresses_says_what_it_needs(lite: House, tmp_path: Path, content: str) -> None:
    with pytest.raises(FileUnreadable):
        import_suppressions(lite, _file(tmp_path, content), NOW)


def test_a_report_never_overwrites_the_list(lite: House, tmp_path: Path) -> None:
    file = _file(tmp_path, "email\nnobody\n")
    with pytest.raises(Refused, match="itself"):
        import_suppressions(lite, file, NOW, report=file)


def test_what_is_exported_reads_back_to_the_same_state(house: House, tmp_path: Path) -> None:
    suppress(house, ["zoe@people.example", "ana@people.example"], START)
    suppress(house, ["ana@people.example"], START + DAY)
    suppress(house, ["bo@people.example"], START, about=About(Scope.TOPIC, "News and guides"))
    suppress(house, ["cy@people.example"], START)
    opt_in.opt_in(house, "cy@people.example", EVERYTHING, SAID, START + DAY)
    bounced = _file(tmp_path, "email,source,date\nana@people.example,bounce,2026-01-04T10:00:00.123456\n")
    import_suppressions(house, bounced, NOW)
    out = tmp_path / "out.csv"
    assert export_to(house, out) == 5
    other = Database(f"sqlite:///{tmp_path / 'other.db'}")
    try:
        schema.upgrade(other)
        again = a_house(other, tmp_path / "other")
        assert _counts(again, out, NOW + DAY) == (5, 4, 1, 0)
        assert list(listed(again)) == list(listed(house))
        assert _counts(again, out, NOW + 2 * DAY) == (5, 0, 5, 0)
        with (tmp_path / "again.csv").open("w", newline="") as copy:
            export(again, copy)
        assert (tmp_path / "again.csv").read_text() == out.read_text()
    finally:
        other.close()


def test_an_export_that_cannot_be_written_leaves_what_was_there(lite: House, tmp_path: Path) -> None:
    with pytest.raises(FileUnreadable, match="cannot be written"):
        export_to(lite, tmp_path / "none" / "out.csv")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileUnreadable, match="cannot be written"):
        export_to(lite, tmp_path / "folder")
    assert not list(tmp_path.glob("*.part"))


def test_an_import_of_an_older_list_does_not_undo_a_newer_opt_in_and_an_undated_one_does(
    house: House, tmp_path: Path
) -> None:
    suppress(house, ["ana@people.example"], START - DAY)
    opt_in.opt_in(house, "ana@people.example", EVERYTHING, SAID, START)
    older = _file(tmp_path, "email,date\nana@people.example,2026-01-04T12:00\n")
    assert _counts(house, older) == (1, 0, 1, 0)
    assert _standing(house) == []
    assert _counts(house, _file(tmp_path, "ana@people.example\n")) == (1, 1, 0, 0)
    assert [Listed(*each).source for each in listed(house)] == ["import"]


def test_a_batch_costs_the_same_statements_for_twenty_rows_and_two_thousand(
    house: House, tmp_path: Path
) -> None:
    taken = {}
    for count in (20, 2_000):
        crowd(house, count, title="Head")
        tick_at(house, START)
        names = [
            row[0] for row in rows(house, "SELECT email FROM address ORDER BY id DESC LIMIT :n", n=count)
        ]
        strangers = [f"{count}.{number}@people.example" for number in range(count // 2)]
        file = _file(tmp_path, "email\n" + "\n".join([*names[: count // 2], *strangers]) + "\n")
        with counted(house.database) as seen:
            assert _counts(house, file)[1] == count
        taken[count] = len([each for each in seen if not each.startswith(("BEGIN", "PRAGMA"))])
    assert taken[20] == taken[2_000] <= 11


def test_memory_stays_flat_however_long_the_list(sqlite_url: str, tmp_path: Path) -> None:
    lite = a_house(Database(sqlite_url), tmp_path)  # one that nobody has used: its statements cost memory too
    lite.batch = 300
    most = {}
    for count in (4_000, 12_000):  # both longer than what is read at once
        names = "".join(f"{'x' * 50}{count}.{number}@people.example\n" for number in range(count))
        file = _file(tmp_path, f"email\n{names}")
        tracemalloc.start()
        try:
            assert _counts(lite, file) == (count, count, 0, 0)
            most[count] = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert most[12_000] < most[4_000] + 400_000
    assert export_to(lite, tmp_path / "out.csv") == 16_000
    lite.database.close()


def test_an_address_that_begins_like_a_formula_goes_out_guarded_and_comes_in_as_it_was(
    house: House, tmp_path: Path
) -> None:
    evil = (
        "=cmd|'/ccalc'!a0@evil.example",
        "+sum@people.example",
        "-bo@people.example",
        "'=x@people.example",
    )
    suppress(house, evil, NOW)
    out = tmp_path / "out.csv"
    assert export_to(house, out) == len(evil)
    with out.open(encoding="utf-8", newline="") as file:
        assert sorted(row["email"] for row in csv.DictReader(file)) == sorted(f"'{one}" for one in evil)
    assert _counts(house, out) == (4, 0, 4, 0)
    assert rows(house, "SELECT count(*) FROM address") == [(4,)]
