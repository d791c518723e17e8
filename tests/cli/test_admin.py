"""The commands for backups, restores and moves, as a person types them, with real mail to a double."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from nurture.clock import RealClock
from tests.cli.conftest import Place
from tests.doubles.sendgrid import KEY, Account, SendGridDouble

LEADS = "Id,Email,First Name,Title\n" + "".join(f"c{n},p{n}@people.example,P,Head {n}\n" for n in range(20))
MAPPING = (
    "columns: {Id: external_id, Email: email, First Name: first_name, Title: title}\n"
    "constants: {consent_basis: consent, consent_source: the form}\n"
)


@pytest.fixture
def live(place: Place) -> Iterator[tuple[Place, SendGridDouble]]:
    """Twenty leads whose first email is due, at any hour of the week, by SendGrid."""
    defaults = place.templates / "defaults.yaml"
    text = defaults.read_text("utf-8").replace(
        "[mon, tue, wed, thu, fri]", "[mon, tue, wed, thu, fri, sat, sun]"
    )
    defaults.write_text(text.replace("09:00-17:00", "00:00-00:00"), "utf-8")
    track = place.templates / "tracks/welcome/track.yaml"
    track.write_text(track.read_text("utf-8").replace("after: 1 hour", "after: 0 hours"), "utf-8")
    place.environment.setenv("NURTURE_JOURNAL_DIR", str(place.folder.parent / "machine"))
    with SendGridDouble(place.folder / "sendgrid.log") as double:
        place.environment.setenv("NURTURE_PROVIDER", "sendgrid")
        place.environment.setenv("NURTURE_SENDGRID_URL", double.url)
        place.environment.setenv("NURTURE_SENDGRID_KEY", KEY)
        place.ok("publish")
        place.ok("import", place.write("leads.csv", LEADS), "--mapping", place.write("m.yaml", MAPPING))
        yield place, double


def file() -> Path:
    return Path(os.environ["NURTURE_DATABASE_URL"].removeprefix("sqlite:///"))


def put_back(backup: Path) -> None:
    for end in ("-wal", "-shm"):
        Path(f"{file()}{end}").unlink(missing_ok=True)
    shutil.copyfile(backup, file())


def since() -> str:
    return RealClock().now().isoformat()


def times(double: SendGridDouble) -> Counter[int]:
    """Count how many people got how many emails."""
    return Counter(Counter(one.to for one in double.accepted()).values())


def test_backup_says_what_it_holds_and_how_to_come_back(live: tuple[Place, SendGridDouble]) -> None:
    place, _ = live
    said = place.ok("admin", "backup", "kept/backup.db")
    assert "20 leads" in said.out
    assert "nurture admin restored --since" in said.out
    assert place.ok("admin", "backup", "kept/second.db", "--json").json["rows"]["lead"] == 20
    assert "exists" in place.fails("admin", "backup", "kept/backup.db").err


def test_a_restored_backup_sends_nothing_twice_and_keeps_the_opt_out(
    live: tuple[Place, SendGridDouble],
) -> None:
    place, double = live
    place.ok("admin", "backup", "backup.db")
    then = since()
    place.ok("run")
    assert times(double) == {1: 20}
    place.ok("leads", "suppress", "p3@people.example")
    put_back(place.folder / "backup.db")
    refused = place.run("delivery", "run")
    assert refused.code == 4
    assert "older than what this machine has seen" in refused.err
    assert place.ok("run", "--json").json["quarantine"]
    assert "quarantine" in place.ok("reports", "deliverability").out
    assert place.run("doctor").code == 6
    said = place.ok("admin", "restored", "--since", then)
    assert "1 opt-out" in said.out
    assert "19 emails in doubt" in said.out
    place.ok("run")
    place.ok("delivery", "run")
    assert times(double) == {1: 20}
    assert "p3@people.example" in place.ok("leads", "suppressions", "list").out
    assert "done before" in place.ok("admin", "restored", "--since", then).out


def test_what_sendgrid_keeps_comes_back(live: tuple[Place, SendGridDouble]) -> None:
    place, double = live
    place.ok("admin", "backup", "backup.db")
    then = since()
    place.ok("run")
    created = int((RealClock().now() - timedelta(minutes=1)).timestamp())
    double.suppress("/v3/suppression/bounces", [{"email": "p5@people.example", "created": created}])
    put_back(place.folder / "backup.db")
    place.ok("admin", "restored", "--since", then)
    assert "p5@people.example" in place.ok("leads", "suppressions", "list").out


def test_a_key_that_reads_no_lists_is_said(live: tuple[Place, SendGridDouble]) -> None:
    place, double = live
    double.configure(Account(reads_lists=False))
    said = place.ok("admin", "restored", "--since", since())
    assert "Suppressions, Read Access" in " ".join(said.out.split())


def test_a_copied_folder_sends_nothing_until_it_is_adopted(live: tuple[Place, SendGridDouble]) -> None:
    place, double = live
    there = place.folder.parent / "there"
    shutil.copytree(file().parent, there)
    place.environment.setenv("NURTURE_DATABASE_URL", f"sqlite:///{there / file().name}")
    said = place.run("delivery", "run")
    assert said.code == 4
    assert "it is a copy, or was moved" in said.err
    place.ok("run")
    assert times(double) == {}
    assert "sends again" in place.ok("admin", "adopt").out
    assert "not in quarantine" in place.ok("admin", "adopt").out
    place.ok("run")
    assert times(double) == {1: 20}


def test_without_its_journal_it_is_refused_unless_told_why(live: tuple[Place, SendGridDouble]) -> None:
    place, _ = live
    place.ok("admin", "backup", "backup.db")
    then = since()
    place.ok("run")
    shutil.rmtree(place.folder.parent / "machine")
    put_back(place.folder / "backup.db")
    said = place.run("admin", "restored", "--since", then)
    assert said.code == 4
    assert "--journal FILE" in said.err
    place.ok("admin", "restored", "--since", then, "--without-journal", "the disk was lost")


def test_in_virtual_time_there_is_nothing_to_restore(running: Place) -> None:
    assert "virtual time" in running.fails("admin", "adopt").err
