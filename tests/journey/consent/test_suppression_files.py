"""Tests of importing and exporting lists of opt-outs."""

from __future__ import annotations

import csv
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nurture.db import schema
from nurture.db.engine import Database
from nurture.domain.consent.statements import grant, withdrawal
from nurture.domain.consent.suppression import SuppressionScope
from nurture.errors import FileUnreadable, InvalidState
from nurture.journey.consent import opt_in, statements
from nurture.journey.consent.suppression import ALL_MAIL, SuppressionTarget, get_or_create_addresses, suppress
from nurture.journey.consent.suppression_files import ListedOptOut, export, export_to, import_suppressions, list_current
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import add_leads, custody, recorded_statements, rows

DAY = timedelta(days=1)
NOW = START + DAY
SAID = "asked for it again at the fair in May"


def topic_context(db: Database, tmp_path: Path) -> AppContext:
    rules = sample_rules()
    rules["tracks/keep/track.yaml"] += "topic: News and guides\n"
    return make_context(db, tmp_path, rules=rules)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return topic_context(db, tmp_path)


@pytest.fixture
def sqlite_ctx(sqlite_db: Database, tmp_path: Path) -> AppContext:
    return topic_context(sqlite_db, tmp_path)


def _file(tmp_path: Path, content: str | bytes, name: str = "list.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _current(ctx: AppContext) -> list[tuple[str, str, str, str]]:
    return [each[:4] for each in list_current(ctx)]


def _counts(ctx: AppContext, path: Path, now: datetime = NOW) -> tuple[int, int, int, int]:
    done = import_suppressions(ctx, path, now)
    return done.rows, done.new, done.unchanged, done.rejected


def test_good_rows_go_in_and_bad_ones_are_reported_with_line_and_reason(ctx: AppContext, tmp_path: Path) -> None:
    lead = add_lead(ctx, title="Head", email="ana@people.example")
    run_at(ctx, START)
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
    done = import_suppressions(ctx, file, NOW)
    assert (done.rows, done.new, done.unchanged, done.rejected) == (7, 3, 0, 4)
    assert _current(ctx) == [
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
    run_at(ctx, NOW)
    assert custody(ctx, lead) == ("queue", "suppressed")


def test_the_same_file_again_changes_nothing(ctx: AppContext, tmp_path: Path) -> None:
    file = _file(tmp_path, "email,date\nana@people.example,2026-01-02\nbo@people.example,\nana@people.example,\n")
    assert _counts(ctx, file) == (3, 2, 1, 0)
    before = rows(ctx, "SELECT * FROM suppression ORDER BY id")
    assert _counts(ctx, file, NOW + DAY) == (3, 0, 3, 0)
    assert rows(ctx, "SELECT * FROM suppression ORDER BY id") == before


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
        ("email,created,reason,status\nana@people.example,1767312000,too many mails,unsubscribed\n", "import", None),
    ],
)
def test_sendgrid_exports_are_imported_unchanged(
    sqlite_ctx: AppContext, tmp_path: Path, content: str, source: str, since: datetime | None
) -> None:
    assert _counts(sqlite_ctx, _file(tmp_path, content)) == (1, 1, 0, 0)
    (found,) = list_current(sqlite_ctx)
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
        "address,code,error,created_at\nana@people.example,550,No user,2026-08-03\nbo@people.example,550,,2026-08-03\n",
    ],
)
def test_lists_are_imported_in_any_layout(sqlite_ctx: AppContext, tmp_path: Path, content: str | bytes) -> None:
    assert _counts(sqlite_ctx, _file(tmp_path, content)) == (2, 2, 0, 0)
    assert [each[0] for each in _current(sqlite_ctx)] == ["ana@people.example", "bo@people.example"]


def test_a_list_without_header_may_have_one_address_and_reports_its_bad_rows(
    sqlite_ctx: AppContext, tmp_path: Path
) -> None:
    assert _counts(sqlite_ctx, _file(tmp_path, "ana@people.example")) == (1, 1, 0, 0)
    done = import_suppressions(sqlite_ctx, _file(tmp_path, "x@@people.example\nbo@people.example\n"), NOW)
    assert (done.new, done.rejected) == (1, 1)
    assert done.report_path is not None
    assert done.report_path.read_text("utf-8-sig").startswith("line,reason,email\n")


def test_a_list_of_all_contacts_does_not_suppress_those_still_subscribed(
    sqlite_ctx: AppContext, tmp_path: Path
) -> None:
    file = _file(tmp_path, "Email,Status\nana@people.example,subscribed\nbo@people.example,unsubscribed\n")
    done = import_suppressions(sqlite_ctx, file, NOW)
    assert (done.rows, done.new, done.unchanged, done.rejected, done.left_out) == (2, 1, 0, 0, 1)
    assert [each[0] for each in _current(sqlite_ctx)] == ["bo@people.example"]


@pytest.mark.parametrize(
    ("header", "no", "yes", "source"),
    [
        ("Email Opt Out", "No", "Yes", "import"),
        ("Unsubscribed from all email", "", "true", "import"),
        ("EMAIL_BLACKLISTED", "No", "Yes", "import"),
        ("Email Marketing Consent", "SUBSCRIBED", "UNSUBSCRIBED", "import"),
        ("Accepts Marketing", "TRUE", "FALSE", "import"),
        ("Status", "enabled", "blocklisted", "import"),
        ("Email hard bounce reason", "", "550 no such user", "bounce"),
        ("Bounce type", "Soft", "Hard", "bounce"),
        ("Status", "soft bounced", "hard bounced", "bounce"),
        ("Spam complaint", "no", "x", "complaint"),
        ("Abgemeldet am", "", "3. März 2026", "import"),
    ],
)
def test_an_export_of_contacts_suppresses_only_rows_that_say_no(
    sqlite_ctx: AppContext, tmp_path: Path, header: str, no: str, yes: str, source: str
) -> None:
    file = _file(tmp_path, f"Email,First Name,{header}\nana@people.example,Ana,{no}\nbo@people.example,Bo,{yes}\n")
    done = import_suppressions(sqlite_ctx, file, NOW)
    assert (done.rows, done.new, done.left_out) == (2, 1, 1)
    assert any("1 row is left out" in note for note in done.notes)
    assert _current(sqlite_ctx) == [("bo@people.example", "global", "", source)]


@pytest.mark.parametrize(
    "content",
    [
        "a@people.example; b@people.example\nc@people.example\n",
        "a@people.example, b@people.example\nc@people.example\n",
        "a@people.example\tb@people.example\nc@people.example\n",
        "Email,Secondary Email\na@people.example,b@people.example\nc@people.example,\n",
        'Email,Owner Email\n"a@people.example; b@people.example",rep@firm.example\nc@people.example,rep@firm.example\n',
    ],
)
def test_every_address_of_a_line_is_suppressed(sqlite_ctx: AppContext, tmp_path: Path, content: str) -> None:
    done = import_suppressions(sqlite_ctx, _file(tmp_path, content), NOW)
    assert (done.rows, done.new, done.rejected) == (2, 3, 0)
    assert [each[0][0] for each in _current(sqlite_ctx)] == ["a", "b", "c"]


@pytest.mark.parametrize("rule", ["*@other.example", "@other.example"])
def test_a_rule_for_a_domain_is_refused_clearly_and_the_addresses_beside_it_count(
    sqlite_ctx: AppContext, tmp_path: Path, rule: str
) -> None:
    done = import_suppressions(sqlite_ctx, _file(tmp_path, f"a@people.example; {rule}\n"), NOW)
    assert (done.rows, done.new, done.rejected) == (1, 1, 1)
    assert done.report_path is not None
    assert "is a rule for a domain" in done.report_path.read_text("utf-8-sig")


def test_dates_count_and_one_row_decides_whether_the_day_comes_first(sqlite_ctx: AppContext, tmp_path: Path) -> None:
    file = _file(tmp_path, "Email Address,UNSUB_TIME\na@people.example,03/01/2026\nb@people.example,25/01/2026\n")
    done = import_suppressions(sqlite_ctx, file, NOW + 90 * DAY)
    assert (done.new, done.notes) == (2, ())
    assert [each.since for each in list_current(sqlite_ctx)] == [
        datetime(2026, 1, 3, tzinfo=UTC),
        datetime(2026, 1, 25, tzinfo=UTC),
    ]


def test_a_topic_that_a_column_names_is_suppressed_alone(ctx: AppContext, tmp_path: Path) -> None:
    run_at(ctx, START)
    header = "Email,Opted out of email: News and Guides,Opted out of email: Unknown"
    _counts(ctx, _file(tmp_path, f"{header}\na@people.example,Yes,\nb@people.example,,Yes\nc@people.example,,\n"))
    assert [each[:3] for each in _current(ctx)] == [
        ("a@people.example", "topic", "News and guides"),
        ("b@people.example", "global", ""),
    ]


def test_a_dry_run_writes_nothing(sqlite_ctx: AppContext, tmp_path: Path) -> None:
    done = import_suppressions(sqlite_ctx, _file(tmp_path, "a@people.example\n"), NOW, dry_run=True)
    assert (done.new, done.import_id) == (1, 0)
    assert _current(sqlite_ctx) == []


@pytest.mark.parametrize("content", ["Name,City\nAna,Rio\n", "", "Email,Name\n"])
def test_a_file_without_addresses_says_what_it_needs(sqlite_ctx: AppContext, tmp_path: Path, content: str) -> None:
    with pytest.raises(FileUnreadable):
        import_suppressions(sqlite_ctx, _file(tmp_path, content), NOW)


def test_a_report_never_overwrites_the_list(sqlite_ctx: AppContext, tmp_path: Path) -> None:
    file = _file(tmp_path, "email\nnobody\n")
    with pytest.raises(InvalidState, match=r"would overwrite .*Name another file"):
        import_suppressions(sqlite_ctx, file, NOW, report=file)


def test_an_export_can_be_imported_to_the_same_state(ctx: AppContext, tmp_path: Path) -> None:
    suppress(ctx, ["zoe@people.example", "ana@people.example"], START)
    suppress(ctx, ["ana@people.example"], START + DAY)
    suppress(ctx, ["bo@people.example"], START, target=SuppressionTarget(SuppressionScope.TOPIC, "News and guides"))
    suppress(ctx, ["cy@people.example"], START)
    opt_in.opt_in(ctx, "cy@people.example", ALL_MAIL, SAID, START + DAY)
    bounced = _file(tmp_path, "email,source,date\nana@people.example,bounce,2026-01-04T10:00:00.123456\n")
    import_suppressions(ctx, bounced, NOW)
    out = tmp_path / "out.csv"
    with ctx.database.write() as tx:
        addresses = get_or_create_addresses(tx, ["bo@people.example", "di@people.example"])
        no, yes = (withdrawal("crm", at, START) for at in (None, START)), grant("consent", "crm", START + DAY, NOW)
        said = [*((addresses["di@people.example"], one) for one in no), (addresses["bo@people.example"], yes)]
        statements.record(tx, [*said, (addresses["bo@people.example"], withdrawal("api", START, START))], NOW)
    assert export_to(ctx, out) == 6
    other = Database(f"sqlite:///{tmp_path / 'other.db'}")
    try:
        schema.upgrade(other)
        again = topic_context(other, tmp_path / "other")
        assert _counts(again, out, NOW + DAY) == (6, 5, 1, 0)
        assert list(list_current(again)) == list(list_current(ctx))
        assert _counts(again, out, NOW + 2 * DAY) == (6, 0, 6, 0)
        with (tmp_path / "again.csv").open("w", newline="") as copy:
            export(again, copy)
        assert (tmp_path / "again.csv").read_text() == out.read_text()
    finally:
        other.close()


def test_an_export_that_cannot_be_written_keeps_the_existing_file(sqlite_ctx: AppContext, tmp_path: Path) -> None:
    with pytest.raises(FileUnreadable, match="cannot be written"):
        export_to(sqlite_ctx, tmp_path / "none" / "out.csv")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileUnreadable, match="cannot be written"):
        export_to(sqlite_ctx, tmp_path / "folder")
    assert not list(tmp_path.glob("*.part"))


def test_an_import_of_an_older_list_does_not_undo_a_newer_opt_in_and_an_undated_one_does(
    ctx: AppContext, tmp_path: Path
) -> None:
    suppress(ctx, ["ana@people.example"], START - DAY)
    opt_in.opt_in(ctx, "ana@people.example", ALL_MAIL, SAID, START)
    older = _file(tmp_path, "email,date\nana@people.example,2026-01-04T12:00\n")
    assert _counts(ctx, older) == (1, 0, 1, 0)
    assert _current(ctx) == []
    assert _counts(ctx, _file(tmp_path, "ana@people.example\n")) == (1, 1, 0, 0)
    assert [ListedOptOut(*each).source for each in list_current(ctx)] == ["import"]


def test_a_batch_costs_the_same_statements_for_twenty_rows_and_two_thousand(ctx: AppContext, tmp_path: Path) -> None:
    costs = {}
    for count in (20, 2_000):
        add_leads(ctx, count, title="Head")
        run_at(ctx, START)
        names = [row[0] for row in rows(ctx, "SELECT email FROM address ORDER BY id DESC LIMIT :n", n=count)]
        strangers = [f"{count}.{number}@people.example" for number in range(count // 2)]
        file = _file(tmp_path, "email\n" + "\n".join([*names[: count // 2], *strangers]) + "\n")
        with recorded_statements(ctx.database) as statements:
            assert _counts(ctx, file)[1] == count
        costs[count] = len([each for each in statements if not each.startswith(("BEGIN", "PRAGMA"))])
    assert costs[20] == costs[2_000] <= 13  # one reserves the id of the import


def test_an_import_runs_in_constant_memory(sqlite_url: str, tmp_path: Path) -> None:
    sqlite_ctx = topic_context(Database(sqlite_url), tmp_path)  # a fresh one, because cached statements use memory too
    sqlite_ctx.batch_size = 300
    peaks = {}
    for count in (4_000, 12_000):  # both longer than one page of the log
        names = "".join(f"{'x' * 50}{count}.{number}@people.example\n" for number in range(count))
        file = _file(tmp_path, f"email\n{names}")
        tracemalloc.start()
        try:
            assert _counts(sqlite_ctx, file) == (count, count, 0, 0)
            peaks[count] = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peaks[12_000] < peaks[4_000] + 400_000
    assert export_to(sqlite_ctx, tmp_path / "out.csv") == 16_000
    sqlite_ctx.database.close()


def test_an_address_that_looks_like_a_formula_is_exported_escaped_and_imported_unescaped(
    ctx: AppContext, tmp_path: Path
) -> None:
    evil = ("=cmd|'/ccalc'!a0@evil.example", "+sum@people.example", "-bo@people.example", "'=x@people.example")
    suppress(ctx, evil, NOW)
    out = tmp_path / "out.csv"
    assert export_to(ctx, out) == len(evil)
    with out.open(encoding="utf-8", newline="") as file:
        assert sorted(row["email"] for row in csv.DictReader(file)) == sorted(f"'{one}" for one in evil)
    assert _counts(ctx, out) == (4, 0, 4, 0)
    assert rows(ctx, "SELECT count(*) FROM address") == [(4,)]
