"""An erased lead stays erased: nothing brings it back, nothing more is kept of it, no page holds it."""

from __future__ import annotations

import csv
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import JSON, update
from sqlmodel import AutoString

from nurture.crm.base import Seen
from nurture.db.engine import Database
from nurture.db.tables import core
from nurture.domain.lead import Closing
from nurture.domain.signals import SignalKind
from nurture.errors import NotFound
from nurture.journey.consent import suppression, suppression_files
from nurture.journey.crm_sync import pull, push
from nurture.journey.engagement import click_filtering, provider_events, signals
from nurture.journey.engagement.click_filtering import Visited
from nurture.journey.erasure import erase
from nurture.journey.intake import import_file
from nurture.journey.intake.api import batches, outcome_batches
from nurture.journey.outcomes import close, outcomes
from nurture.journey.tracks import manual
from nurture.reporting import audit
from nurture.runtime.context import House
from tests.doubles.crm import ScriptedCrm
from tests.doubles.events import body_of, event
from tests.journey.builders import tick_at
from tests.journey.engagement.test_replies import DAY, HOUR, NOW, reply_address, take
from tests.journey.erasure.test_erase import ADDRESS, bring_in, everything_happens, found_in, made
from tests.journey.erasure.test_erase import house as house  # noqa: PLC0414 - the fixture
from tests.journey.observe import custody, everything, one, rows, write
from tests.mail.inbound.replying import mail

GONE = NOW + DAY
LATER = NOW + 2 * DAY


def import_row(house: House, folder: Path, now: Any, *cells: str) -> None:
    file = folder / "more.csv"
    with file.open("w", newline="", encoding="utf-8") as written:
        csv.writer(written).writerows([("Id", "Email", "First Name", "Company", "Consent"), cells])
    import_file.import_file(house, file, now, source="crm")


def test_rows_that_may_be_about_the_lead_go_with_it(house: House, tmp_path: Path) -> None:
    lead = everything_happens(house, tmp_path)
    import_row(house, tmp_path, NOW, "c-1", ADDRESS, "Mia", "Quayside", "Yes")
    import_row(house, tmp_path, NOW, "c-4711", "noor@other.example", "Mia", "Quayside", "Yes")
    doubtful = [row[0] for row in rows(house, "SELECT lead_id FROM custody WHERE ref = 'ambiguous'")]
    assert len(doubtful) == 2
    done = erase.forget(house, ADDRESS, GONE)
    assert list(done.also) == doubtful
    assert found_in(house) == {}
    assert {custody(house, one) for one in (lead, *doubtful)} == {("closed", "discarded")}
    assert custody(house, one(house, "SELECT lead_id FROM identity WHERE external_id = 'c-1'"))[0] != "closed"


def _answers(house: House, folder: Path, lead: int, to: str) -> None:
    for number, said in enumerate(
        ("Please confirm: my data are gone.", "I am out of office until 30 June 2026.")
    ):
        take(house, mail(said, to=to, sender=f"Mia <{ADDRESS}>", number=f"late{number}"), now=LATER)


def _signals(house: House, folder: Path, lead: int, to: str) -> None:
    said = {
        "kind": "requested_demo",
        "occurred_at": GONE.isoformat(),
        "value": "I am Mia Holm",
        "link": "/mia",
    }
    names: list[dict[str, Any]] = [
        {"id": lead},
        {"email": ADDRESS},
        {"external_id": "c-4711", "source": "crm"},
    ]
    done = batches.post_signals(house, [said | {"lead": name} for name in names], LATER)
    assert (done.accepted, len(done.rejected)) == (0, 3)


def _outcomes(house: House, folder: Path, lead: int, to: str) -> None:
    said = {"closing": "lost", "happened_at": GONE.isoformat(), "reason": "Mia Holm left Quayside"}
    assert outcome_batches.post_outcomes(house, [said | {"lead": {"id": lead}}], LATER).accepted == 0
    with pytest.raises(NotFound):
        outcomes.tell(house, [outcomes.Telling(lead, Closing.LOST, None, None, "Mia left")], "crm", LATER)


def _by_hand(house: House, folder: Path, lead: int, to: str) -> None:
    for act in (
        lambda: manual.enrol(house, lead, "welcome", LATER),
        lambda: manual.pause(house, lead, None, LATER),
        lambda: manual.qualify(house, lead, {"need": "Mia needs it"}, LATER, source="call"),
        lambda: close.close(house, lead, Closing.WON, LATER, reason="Mia Holm bought"),
    ):
        with pytest.raises(NotFound):
            act()


def _record(house: House, folder: Path, lead: int, to: str) -> None:
    told = signals.told(lead, SignalKind.SUBMITTED, "I am Mia Holm", GONE, LATER)
    assert signals.record(house, [told], LATER) == 0


def _provider(house: House, folder: Path, lead: int, to: str) -> None:
    key = one(
        house,
        "SELECT send_key FROM message WHERE kind = 'touch' AND lead_id = :id ORDER BY id LIMIT 1",
        id=lead,
    )
    said = [
        event("bounce", f"0badcafe:{key}", GONE, email=ADDRESS, reason="550 no Mia Holm here"),
        event("click", f"0badcafe:{key}", GONE, email=ADDRESS, url="https://www.example.com/for/mia"),
        event("spamreport", None, GONE, email=ADDRESS),
        event("bounce", f"0badcafe:{key}", GONE, email="mia.holm@home.example"),
    ]
    provider_events.receive(house, provider_events.SENDGRID, body_of(said), LATER)
    provider_events.sweep(house, LATER)


def _clicks(house: House, folder: Path, lead: int, to: str) -> None:
    message = one(house, "SELECT min(id) FROM message WHERE kind = 'touch' AND lead_id = :id", id=lead)
    came = [Visited(SignalKind.CLICKED, message, GONE, link="guide", agent="Firefox")]
    with house.database.write() as connection:
        assert click_filtering.take_down(house, connection, came, LATER) == 0


def _suppressions(house: House, folder: Path, lead: int, to: str) -> None:
    suppression.suppress(house, [ADDRESS], LATER)
    listed = folder / "theirs.csv"
    listed.write_text(f"email\n{ADDRESS}\n")
    suppression_files.import_suppressions(house, listed, LATER)


def _crm(house: House, folder: Path, lead: int, to: str) -> None:
    house.crm = ScriptedCrm()
    keys = (push.person_key(house, lead), ADDRESS, "c-4711")
    words = {"owner": "mia@home.example", "status": "Sold to Mia", "closing": "won", "reason": "Mia Holm"}
    house.crm.pages = [[Seen(key, f"r{number}", GONE, **words) for number, key in enumerate(keys)]]
    read = pull.read_back(house, LATER)
    assert len(read.faults) == len(read.unused) == 3
    assert not re.search("(?i)mia|c-4711", "".join(read.unused))


WAYS: list[Callable[[House, Path, int, str], None]] = [
    _answers, _signals, _outcomes, _by_hand, _record, _provider, _clicks, _suppressions, _crm,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_nothing_brings_an_erased_lead_back_or_leaves_anything_of_it(
    house: House, tmp_path: Path, way: Callable[[House, Path, int, str], None]
) -> None:
    lead = everything_happens(house, tmp_path)
    to = reply_address(house, tmp_path, "people.example")
    erase.forget(house, ADDRESS, GONE)
    way(house, tmp_path, lead, to)
    tick_at(house, LATER, LATER + 9 * DAY)
    assert found_in(house) == {}
    assert custody(house, lead) == ("closed", "discarded")
    for left in (
        "SELECT count(*) FROM reply WHERE lead_id = :id",
        "SELECT count(*) FROM message WHERE lead_id = :id AND state IN ('planned', 'claimed')",
        "SELECT count(*) FROM signal WHERE lead_id = :id AND recorded_at > :at",
    ):
        assert one(house, left, id=lead, at=GONE.isoformat()) == 0


def test_the_ledger_still_closes(house: House, tmp_path: Path) -> None:
    everything_happens(house, tmp_path)
    erase.forget(house, ADDRESS, GONE)
    tick_at(house, LATER)
    seen = audit.audit(house, LATER)
    assert (seen.ok, seen.findings) == (True, ())


def test_its_links_end_but_for_unsubscribing(house: House, tmp_path: Path) -> None:
    lead = everything_happens(house, tmp_path)
    erase.forget(house, str(lead), GONE)
    kept = rows(house, "SELECT DISTINCT purpose FROM token WHERE lead_id = :id", id=lead)
    assert kept == [("unsubscribe",)]


def test_other_people_s_rows_lose_the_address(house: House, tmp_path: Path) -> None:
    everything_happens(house, tmp_path)
    noor: int = one(house, "SELECT lead_id FROM identity WHERE external_id = 'c-1'")
    to = reply_address(house, tmp_path, "noor@other.example")
    take(
        house,
        mail(f"Ask {ADDRESS} instead, please.", to=to, sender="Noor <noor@other.example>", number="3"),
        mail("I do it from now on.", to=to, sender=f"Mia <{ADDRESS}>", number="4"),
        now=NOW + HOUR,
    )
    manual.qualify(house, noor, {"authority": f"with {ADDRESS.upper()}"}, NOW + HOUR, source="call")
    link = f"/thanks?email={ADDRESS.replace('@', '%40')}"
    said = {"lead": {"id": noor}, "kind": "submitted", "occurred_at": NOW.isoformat(), "link": link}
    batches.post_signals(house, [said], NOW + HOUR)
    erase.forget(house, ADDRESS, GONE)
    assert found_in(house) == {}
    assert rows(house, "SELECT text FROM reply") == [("Ask [erased] instead, please.",)]
    assert one(house, "SELECT link FROM signal WHERE link LIKE '/thanks%'") == "/thanks?email=[erased]"
    assert custody(house, noor)[0] != "closed"


KEPT_WORDS = {
    "custody": {"kind", "ref", "next_action"},
    "enrollment": {"track", "step", "end_reason"},
    "message": {"send_key", "kind", "track", "step", "email", "rep", "state", "provider",
                "sender_domain", "lease_token"},
    "signal": {"kind", "verdict", "verdict_because", "source", "link", "track", "step"},  # of our own mail
    "offer": {"rep", "rule", "state", "reason"},
    "outcome": {"closing", "source"},
    "outcome_told": {"closing", "source", "verdict", "settled"},
    "journal": {"stage", "event", "track", "step", "custody_from", "custody_to", "ref"},
    "token": {"digest", "purpose"},
    "crm_record": {"key", "wanted", "written", "state", "lease_token", "crm"},
    "urgency": {"rule"},
    "lead": {"source", "scored_under", "readiness"},
    "routing": {"queue"},  # its rows go, and hold a rep or a queue
    "reply": {"kind"},
    "lead_account": {"how"},
    "mail_event": {"natural_key", "event_key", "door", "told", "named", "origin", "ref"},
}  # fmt: skip
"""Texts that stay: ids, states, and names that the rules, sales or the CRM's type gave."""


def test_every_other_text_about_a_lead_is_gone(house: House, tmp_path: Path) -> None:
    lead = everything_happens(house, tmp_path)
    mails = {row[0] for row in rows(house, "SELECT id FROM message WHERE lead_id = :id", id=lead)}
    filled = []
    for table in core.metadata.sorted_tables:
        own = table.c.id == lead if table.name == "lead" else None
        if own is None and "lead_id" in table.c:
            own = table.c.lead_id == lead
        elif own is None and "message_id" in table.c:
            own = table.c.message_id.in_(mails)
        if own is None or table.name == "journal":
            continue
        for column in table.c:
            if column.name in KEPT_WORDS.get(table.name, ()) or column.primary_key or column.unique:
                continue
            if isinstance(column.type, AutoString | JSON):
                with house.database.write() as connection:
                    value = ["canary"] if isinstance(column.type, JSON) else "canary"
                    connection.execute(update(table).where(own).values({column.name: value}))
                filled.append(f"{table.name}.{column.name}")
    assert {"lead.zone", "offer.because", "reply.text", "mail_event.reason"} <= set(filled)
    erase.forget(house, str(lead), GONE)
    left = {name for name, found in everything(house).items() if "canary" in str(found)}
    assert left == set()


def test_the_journal_keeps_what_happened_and_no_words(house: House, tmp_path: Path) -> None:
    lead = everything_happens(house, tmp_path)
    before = rows(house, "SELECT event, ref FROM journal WHERE lead_id = :id ORDER BY id", id=lead)
    erase.forget(house, str(lead), GONE)
    after = rows(house, "SELECT event, ref FROM journal WHERE lead_id = :id ORDER BY id", id=lead)
    assert after[: len(before)] == before
    words = rows(house, "SELECT DISTINCT because, detail FROM journal WHERE lead_id = :id", id=lead)
    assert words == [("", None)]


def test_no_page_of_sqlite_holds_the_person(sqlite_db: Database, tmp_path: Path) -> None:
    house = made(sqlite_db, tmp_path)
    everything_happens(house, tmp_path)
    key = "SELECT lead_id FROM identity WHERE external_id = 'c-4711'"
    names = "natural_key, lead_id, kind, received_at, sent_at, sender, text, attachments"
    insert = f"INSERT INTO reply ({names}) VALUES (:key, ({key}), 'reply', :at, :at, '', :text, 0)"
    for number in range(300):  # of all lengths and in no order, so that pages are split
        text = f"Mia.Holm {number} " + "x" * (number * 37 % 900)
        write(house, insert, key=f"{number * 7919 % 300:04}", at=NOW.isoformat(), text=text)
    path = Path(str(house.database.url.database))
    files = (path, path.with_name(f"{path.name}-wal"))
    person = re.compile(rb"mia.holm|c-4711|quayside|49 30 1234")
    assert any(person.search(file.read_bytes().lower()) for file in files)
    done = erase.forget(house, ADDRESS, GONE)
    assert [file.name for file in files if person.search(file.read_bytes().lower())] == []
    assert not any("free pages" in line for line in done.systems)


def test_a_reader_that_holds_up_the_overwriting_is_told_of(sqlite_db: Database, tmp_path: Path) -> None:
    house = made(sqlite_db, tmp_path)
    everything_happens(house, tmp_path)
    with closing(sqlite3.connect(str(house.database.url.database), isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM address").fetchone()
        done = erase.forget(house, ADDRESS, GONE)
    assert any("free pages" in line and "run `nurture leads erase` again" in line for line in done.systems)
    assert found_in(house) == {}


def test_files_and_systems_that_hold_the_person_still_are_named(house: House, tmp_path: Path) -> None:
    lead = everything_happens(house, tmp_path)
    (tmp_path / "crm" / "out").mkdir(parents=True)
    (tmp_path / "crm" / "out" / "handoffs-000001.csv").write_text(f"email\n{ADDRESS.lower()}\n")
    (tmp_path / "crm" / "out" / "handoffs-000002.csv").write_text("email\nnoor@other.example\n")
    (tmp_path / "leads.bad-rows.csv").write_text(f"line,reason,Email\n2,odd,{ADDRESS.upper()}\n")
    done = erase.forget(house, ADDRESS, GONE, folders=[tmp_path])
    names = {Path(file).name for file in done.files}
    assert {"handoffs-000001.csv", "leads.bad-rows.csv", "leads.csv"} <= names
    assert "handoffs-000002.csv" not in names
    assert {Path(file).parent.name for file in done.files} >= {"new", "out"}
    gone = "SELECT count(*) FROM message WHERE lead_id = :id AND state IN ('accepted', 'delivered')"
    assert sum("/mailbox/" in file for file in done.files) == one(house, gone, id=lead)
    assert all(Path(file).exists() for file in done.files)
    assert any("backups" in line for line in done.systems)
    assert any("PostgreSQL" in line for line in done.systems) is not house.database.is_sqlite


def test_an_erased_lead_stays_erased_when_it_comes_in_again_and_is_erased_again(
    house: House, tmp_path: Path
) -> None:
    lead = everything_happens(house, tmp_path)
    erase.forget(house, ADDRESS, GONE)
    bring_in(house, tmp_path, LATER)
    again: int = one(house, "SELECT lead_id FROM identity WHERE external_id = 'c-4711'")
    assert erase.forget(house, ADDRESS, LATER + HOUR).lead == again
    assert found_in(house) == {}
    assert {custody(house, id_) for id_ in (lead, again)} == {("closed", "discarded")}
