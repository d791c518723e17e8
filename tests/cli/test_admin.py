"""The commands for backups, restores and moves, with mail to a double of SendGrid."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from nurture.clock import RealClock
from tests.cli.conftest import CliSession
from tests.doubles.sendgrid import KEY, Account, SendGridDouble

LEADS = "Id,Email,First Name,Title\n" + "".join(f"c{n},p{n}@people.example,P,Head {n}\n" for n in range(20))
MAPPING = (
    "columns: {Id: external_id, Email: email, First Name: first_name, Title: title}\n"
    "constants: {consent_basis: consent, consent_source: the form}\n"
)


@pytest.fixture
def live(cli: CliSession) -> Iterator[tuple[CliSession, SendGridDouble]]:
    """Twenty leads whose first email is due at any hour of the week, with SendGrid as provider."""
    defaults = cli.templates / "defaults.yaml"
    text = defaults.read_text("utf-8").replace("[mon, tue, wed, thu, fri]", "[mon, tue, wed, thu, fri, sat, sun]")
    defaults.write_text(text.replace("09:00-17:00", "00:00-00:00"), "utf-8")
    track = cli.templates / "tracks/welcome/track.yaml"
    track.write_text(track.read_text("utf-8").replace("after: 1 hour", "after: 0 hours"), "utf-8")
    cli.environment.setenv("NURTURE_JOURNAL_DIR", str(cli.folder.parent / "machine"))
    with SendGridDouble(cli.folder / "sendgrid.log") as double:
        cli.environment.setenv("NURTURE_PROVIDER", "sendgrid")
        cli.environment.setenv("NURTURE_SENDGRID_URL", double.url)
        cli.environment.setenv("NURTURE_SENDGRID_KEY", KEY)
        cli.ok("publish")
        cli.ok("import", cli.write("leads.csv", LEADS), "--mapping", cli.write("m.yaml", MAPPING))
        yield cli, double


def file() -> Path:
    return Path(os.environ["NURTURE_DATABASE_URL"].removeprefix("sqlite:///"))


def restore_file(backup: Path) -> None:
    for end in ("-wal", "-shm"):
        Path(f"{file()}{end}").unlink(missing_ok=True)
    shutil.copyfile(backup, file())


def since() -> str:
    return RealClock().now().isoformat()


def times(double: SendGridDouble) -> Counter[int]:
    """Count the leads by the number of emails they got."""
    return Counter(Counter(one.to for one in double.accepted() if one.to.endswith("@people.example")).values())


def test_backup_prints_its_content_and_how_to_restore_it(live: tuple[CliSession, SendGridDouble]) -> None:
    cli, _ = live
    result = cli.ok("admin", "backup", "kept/backup.db")
    assert "20 leads" in result.out
    assert "nurture admin restored --since" in result.out
    assert cli.ok("admin", "backup", "kept/second.db", "--json").json["rows"]["lead"] == 20
    assert "exists" in cli.fails("admin", "backup", "kept/backup.db").err


def test_a_restored_backup_sends_nothing_twice_and_keeps_the_opt_out(live: tuple[CliSession, SendGridDouble]) -> None:
    cli, double = live
    cli.ok("admin", "backup", "backup.db")
    then = since()
    cli.ok("run")
    assert times(double) == {1: 20}
    cli.ok("leads", "suppress", "p3@people.example")
    restore_file(cli.folder / "backup.db")
    refused = cli.run("mail", "run")
    assert refused.code == 4
    assert "older than what this machine has seen" in refused.err
    assert cli.ok("run", "--json").json["quarantine"]
    assert "quarantine" in cli.ok("reports", "deliverability").out
    assert cli.run("doctor").code == 6
    result = cli.ok("admin", "restored", "--since", then)
    assert "1 opt-out" in result.out
    assert "19 emails with an unknown result" in result.out
    cli.ok("run")
    cli.ok("mail", "run")
    assert times(double) == {1: 20}
    assert "p3@people.example" in cli.ok("leads", "suppressions", "list").out
    assert "This restore was finished" in cli.ok("admin", "restored", "--since", then).out


def test_suppressions_of_sendgrid_are_restored(live: tuple[CliSession, SendGridDouble]) -> None:
    cli, double = live
    cli.ok("admin", "backup", "backup.db")
    then = since()
    cli.ok("run")
    created = int((RealClock().now() - timedelta(minutes=1)).timestamp())
    double.suppress("/v3/suppression/bounces", [{"email": "p5@people.example", "created": created}])
    restore_file(cli.folder / "backup.db")
    cli.ok("admin", "restored", "--since", then)
    assert "p5@people.example" in cli.ok("leads", "suppressions", "list").out


def test_a_key_that_cannot_read_lists_is_reported(live: tuple[CliSession, SendGridDouble]) -> None:
    cli, double = live
    double.configure(Account(can_read_suppressions=False))
    result = cli.ok("admin", "restored", "--since", since())
    assert "Suppressions, Read Access" in " ".join(result.out.split())


def test_a_copied_folder_sends_nothing_until_it_is_adopted(live: tuple[CliSession, SendGridDouble]) -> None:
    cli, double = live
    there = cli.folder.parent / "there"
    shutil.copytree(file().parent, there)
    cli.environment.setenv("NURTURE_DATABASE_URL", f"sqlite:///{there / file().name}")
    result = cli.run("mail", "run")
    assert result.code == 4
    assert "it was copied or moved" in result.err
    cli.ok("run")
    assert times(double) == {}
    assert "Sending resumes." in cli.ok("admin", "adopt").out
    assert "not in quarantine" in cli.ok("admin", "adopt").out
    cli.ok("run")
    assert times(double) == {1: 20}


def test_without_its_journal_a_restore_is_refused_unless_a_reason_is_given(
    live: tuple[CliSession, SendGridDouble],
) -> None:
    cli, _ = live
    cli.ok("admin", "backup", "backup.db")
    then = since()
    cli.ok("run")
    shutil.rmtree(cli.folder.parent / "machine")
    restore_file(cli.folder / "backup.db")
    result = cli.run("admin", "restored", "--since", then)
    assert result.code == 4
    assert "--journal FILE" in result.err
    cli.ok("admin", "restored", "--since", then, "--without-journal", "the disk was lost")


def test_in_virtual_time_there_is_nothing_to_restore(seeded_cli: CliSession) -> None:
    assert "virtual time" in seeded_cli.fails("admin", "adopt").err
