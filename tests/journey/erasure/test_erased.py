"""Tests that an erased lead stays erased: it is never reopened, and no new data of it is stored."""

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

from nurture.crm.base import RemoteRecord
from nurture.db.engine import Database
from nurture.db.metadata import metadata
from nurture.domain.lead import Closing
from nurture.domain.signals import SignalKind
from nurture.errors import NotFound
from nurture.journey.consent import suppression, suppression_files
from nurture.journey.crm_sync import pull, push
from nurture.journey.engagement import click_filtering, provider_events, signals
from nurture.journey.engagement.click_filtering import EngagementEvent
from nurture.journey.erasure import erase
from nurture.journey.intake import import_file
from nurture.journey.intake.api import batches
from nurture.journey.outcomes import outcomes
from nurture.journey.tracks import manual
from nurture.reporting import audit
from nurture.runtime.context import AppContext
from tests.doubles.crm import ScriptedCrm
from tests.doubles.sendgrid_events import encode_events, event
from tests.journey.builders import close_lead, run_at
from tests.journey.engagement.test_replies import DAY, HOUR, NOW, process_replies, reply_address
from tests.journey.erasure.test_erase import (
    ADDRESS,
    create_full_history,
    find_secrets,
    import_person,
    make_erasure_context,
)
from tests.journey.erasure.test_erase import ctx as ctx  # noqa: PLC0414 - the fixture
from tests.journey.observe import all_rows, custody, one, rows, write
from tests.mail.inbound.replying import mail

ERASED_AT = NOW + DAY
LATER = NOW + 2 * DAY


def import_row(ctx: AppContext, folder: Path, now: Any, *cells: str) -> None:
    file = folder / "more.csv"
    with file.open("w", newline="", encoding="utf-8") as written:
        csv.writer(written).writerows([("Id", "Email", "First Name", "Company", "Consent"), cells])
    import_file.import_file(ctx, file, now, source="crm")


def test_ambiguous_rows_that_may_be_the_lead_are_erased_with_it(ctx: AppContext, tmp_path: Path) -> None:
    lead = create_full_history(ctx, tmp_path)
    import_row(ctx, tmp_path, NOW, "c-1", ADDRESS, "Mia", "Quayside", "Yes")
    import_row(ctx, tmp_path, NOW, "c-4711", "noor@other.example", "Mia", "Quayside", "Yes")
    ambiguous = [row[0] for row in rows(ctx, "SELECT lead_id FROM custody WHERE ref = 'ambiguous'")]
    assert len(ambiguous) == 2
    done = erase.erase_person(ctx, ADDRESS, ERASED_AT)
    assert list(done.ambiguous_leads) == ambiguous
    assert find_secrets(ctx) == {}
    assert {custody(ctx, one) for one in (lead, *ambiguous)} == {("closed", "discarded")}
    assert custody(ctx, one(ctx, "SELECT lead_id FROM identity WHERE external_id = 'c-1'"))[0] != "closed"


def _answers(ctx: AppContext, folder: Path, lead: int, to: str) -> None:
    for number, item in enumerate(("Please confirm: my data are gone.", "I am out of office until 30 June 2026.")):
        process_replies(ctx, mail(item, to=to, sender=f"Mia <{ADDRESS}>", number=f"late{number}"), now=LATER)


def _signals(ctx: AppContext, folder: Path, lead: int, to: str) -> None:
    item = {"kind": "requested_demo", "occurred_at": ERASED_AT.isoformat(), "value": "I am Mia Holm", "link": "/mia"}
    lead_refs: list[dict[str, Any]] = [{"id": lead}, {"email": ADDRESS}, {"external_id": "c-4711", "source": "crm"}]
    done = batches.post_signals(ctx, [item | {"lead": lead_ref} for lead_ref in lead_refs], LATER)
    assert (done.accepted, len(done.rejected)) == (0, 3)


def _outcomes(ctx: AppContext, folder: Path, lead: int, to: str) -> None:
    item = {"closing": "lost", "happened_at": ERASED_AT.isoformat(), "reason": "Mia Holm left Quayside"}
    assert batches.post_outcomes(ctx, [item | {"lead": {"id": lead}}], LATER).accepted == 0
    with pytest.raises(NotFound):
        outcomes.record_outcomes(
            ctx, [outcomes.OutcomeReport(lead, Closing.LOST, None, None, "Mia left")], "crm", LATER
        )


def _manual_actions(ctx: AppContext, folder: Path, lead: int, to: str) -> None:
    for action in (
        lambda: manual.enroll(ctx, lead, "welcome", LATER),
        lambda: manual.pause(ctx, lead, None, LATER),
        lambda: manual.qualify(ctx, lead, {"need": "Mia needs it"}, LATER, source="call"),
        lambda: close_lead(ctx, lead, Closing.WON, LATER, reason="Mia Holm bought"),
    ):
        with pytest.raises(NotFound):
            action()


def _record(ctx: AppContext, folder: Path, lead: int, to: str) -> None:
    reported = signals.build_reported_signal(lead, SignalKind.SUBMITTED, "I am Mia Holm", ERASED_AT, LATER)
    assert signals.record(ctx, [reported], LATER) == 0


def _provider(ctx: AppContext, folder: Path, lead: int, to: str) -> None:
    key = one(ctx, "SELECT send_key FROM message WHERE kind = 'touch' AND lead_id = :id ORDER BY id LIMIT 1", id=lead)
    said = [
        event("bounce", f"0badcafe:{key}", ERASED_AT, email=ADDRESS, reason="550 no Mia Holm here"),
        event("click", f"0badcafe:{key}", ERASED_AT, email=ADDRESS, url="https://www.example.com/for/mia"),
        event("spamreport", None, ERASED_AT, email=ADDRESS),
        event("bounce", f"0badcafe:{key}", ERASED_AT, email="mia.holm@home.example"),
    ]
    provider_events.receive(ctx, "sendgrid", encode_events(said), LATER)
    provider_events.process_pending(ctx, LATER)


def _clicks(ctx: AppContext, folder: Path, lead: int, to: str) -> None:
    message = one(ctx, "SELECT min(id) FROM message WHERE kind = 'touch' AND lead_id = :id", id=lead)
    clicks = [EngagementEvent(SignalKind.CLICKED, message, ERASED_AT, link="guide", agent="Firefox")]
    with ctx.database.write() as tx:
        assert click_filtering.record_clicks(tx, clicks, LATER) == 0


def _suppressions(ctx: AppContext, folder: Path, lead: int, to: str) -> None:
    suppression.suppress(ctx, [ADDRESS], LATER)
    listed = folder / "theirs.csv"
    listed.write_text(f"email\n{ADDRESS}\n")
    suppression_files.import_suppressions(ctx, listed, LATER)


def _crm(ctx: AppContext, folder: Path, lead: int, to: str) -> None:
    ctx.crm = ScriptedCrm()
    keys = (push.lead_key(ctx, lead), ADDRESS, "c-4711")
    values = {"owner": "mia@home.example", "crm_status": "Sold to Mia", "closing": "won", "reason": "Mia Holm"}
    ctx.crm.pages = [[RemoteRecord(key, f"r{number}", ERASED_AT, **values) for number, key in enumerate(keys)]]
    read = pull.pull(ctx, LATER)
    assert len(read.problems) == len(read.skipped) == 3
    assert not re.search("(?i)mia|c-4711", "".join(read.skipped))


SOURCES: list[Callable[[AppContext, Path, int, str], None]] = [
    _answers, _signals, _outcomes, _manual_actions, _record, _provider, _clicks, _suppressions, _crm,
]  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
def test_no_source_reopens_an_erased_lead_or_stores_data_of_it(
    ctx: AppContext, tmp_path: Path, source: Callable[[AppContext, Path, int, str], None]
) -> None:
    lead = create_full_history(ctx, tmp_path)
    to = reply_address(ctx, tmp_path, "people.example")
    erase.erase_person(ctx, ADDRESS, ERASED_AT)
    source(ctx, tmp_path, lead, to)
    run_at(ctx, LATER, LATER + 9 * DAY)
    assert find_secrets(ctx) == {}
    assert custody(ctx, lead) == ("closed", "discarded")
    for query in (
        "SELECT count(*) FROM reply WHERE lead_id = :id",
        "SELECT count(*) FROM message WHERE lead_id = :id AND state IN ('planned', 'claimed')",
        "SELECT count(*) FROM signal WHERE lead_id = :id AND recorded_at > :at",
    ):
        assert one(ctx, query, id=lead, at=ERASED_AT.isoformat()) == 0


def test_the_audit_still_passes(ctx: AppContext, tmp_path: Path) -> None:
    create_full_history(ctx, tmp_path)
    erase.erase_person(ctx, ADDRESS, ERASED_AT)
    run_at(ctx, LATER)
    report = audit.run_audit(ctx, LATER)
    assert (report.ok, report.findings) == (True, ())


def test_its_links_are_revoked_except_to_unsubscribe(ctx: AppContext, tmp_path: Path) -> None:
    lead = create_full_history(ctx, tmp_path)
    erase.erase_person(ctx, str(lead), ERASED_AT)
    purposes = rows(ctx, "SELECT DISTINCT purpose FROM link_token WHERE lead_id = :id", id=lead)
    assert purposes == [("unsubscribe",)]


def test_other_people_s_rows_lose_the_address(ctx: AppContext, tmp_path: Path) -> None:
    create_full_history(ctx, tmp_path)
    noor: int = one(ctx, "SELECT lead_id FROM identity WHERE external_id = 'c-1'")
    to = reply_address(ctx, tmp_path, "noor@other.example")
    process_replies(
        ctx,
        mail(f"Ask {ADDRESS} instead, please.", to=to, sender="Noor <noor@other.example>", number="3"),
        mail("I do it from now on.", to=to, sender=f"Mia <{ADDRESS}>", number="4"),
        now=NOW + HOUR,
    )
    manual.qualify(ctx, noor, {"authority": f"with {ADDRESS.upper()}"}, NOW + HOUR, source="call")
    link = f"/thanks?email={ADDRESS.replace('@', '%40')}"
    said = {"lead": {"id": noor}, "kind": "submitted", "occurred_at": NOW.isoformat(), "link": link}
    batches.post_signals(ctx, [said], NOW + HOUR)
    erase.erase_person(ctx, ADDRESS, ERASED_AT)
    assert find_secrets(ctx) == {}
    assert rows(ctx, "SELECT text FROM reply") == [("Ask [erased] instead, please.",)]
    assert one(ctx, "SELECT link FROM signal WHERE link LIKE '/thanks%'") == "/thanks?email=[erased]"
    assert custody(ctx, noor)[0] != "closed"


RETAINED_TEXTS = {
    "custody": {"kind", "ref", "next_action"},
    "enrollment": {"track", "step", "end_reason"},
    "message": {"send_key", "kind", "recipient", "track", "step", "email", "rep", "state", "provider",
                "sender_domain", "lease_token", "link_digest"},
    "signal": {"kind", "verdict", "verdict_reason", "source", "link", "track", "step"},  # from definitions
    "offer": {"rep", "rule", "state", "reason", "tier"},
    "outcome": {"closing", "source"},
    "outcome_report": {"closing", "source", "verdict", "resolution"},
    "journal": {"stage", "event", "track", "step", "custody_from", "custody_to", "ref"},
    "link_token": {"digest", "purpose"},
    "crm_record": {"send_key", "target_state", "pushed_state", "state", "lease_token", "provider"},
    "queue_priority": {"rule"},
    "lead": {"source", "points_key", "readiness"},
    "routing_decision": {"queue"},  # its rows are deleted; it contains a rep or a queue
    "reply": {"kind"},
    "lead_account": {"method"},
    "provider_event": {"natural_key", "event_key", "provider", "event_type", "raw_event_type",
                       "installation_id", "ref"},
}  # fmt: skip
"""Texts that are retained: ids, states, and names from definitions, sales or the CRM type."""


def test_every_other_text_about_a_lead_is_erased(ctx: AppContext, tmp_path: Path) -> None:
    lead = create_full_history(ctx, tmp_path)
    mails = {row[0] for row in rows(ctx, "SELECT id FROM message WHERE lead_id = :id", id=lead)}
    filled = []
    for table in metadata.sorted_tables:
        condition = table.c.id == lead if table.name == "lead" else None
        if condition is None and "lead_id" in table.c:
            condition = table.c.lead_id == lead
        elif condition is None and "message_id" in table.c:
            condition = table.c.message_id.in_(mails)
        if condition is None or table.name == "journal":
            continue
        for column in table.c:
            if column.name in RETAINED_TEXTS.get(table.name, ()) or column.primary_key or column.unique:
                continue
            if isinstance(column.type, AutoString | JSON):
                with ctx.database.write() as tx:
                    value = ["canary"] if isinstance(column.type, JSON) else "canary"
                    tx.execute(update(table).where(condition).values({column.name: value}))
                filled.append(f"{table.name}.{column.name}")
    assert {"lead.zone", "offer.handoff_reason", "reply.text", "provider_event.reason"} <= set(filled)
    erase.erase_person(ctx, str(lead), ERASED_AT)
    remaining = {name for name, found in all_rows(ctx).items() if "canary" in str(found)}
    assert remaining == set()


def test_the_journal_keeps_events_and_no_texts(ctx: AppContext, tmp_path: Path) -> None:
    lead = create_full_history(ctx, tmp_path)
    before = rows(ctx, "SELECT event, ref FROM journal WHERE lead_id = :id ORDER BY id", id=lead)
    erase.erase_person(ctx, str(lead), ERASED_AT)
    after = rows(ctx, "SELECT event, ref FROM journal WHERE lead_id = :id ORDER BY id", id=lead)
    assert after[: len(before)] == before
    words = rows(ctx, "SELECT DISTINCT reason, detail FROM journal WHERE lead_id = :id", id=lead)
    assert words == [("", None)]


def test_no_page_of_the_sqlite_file_contains_the_person(sqlite_db: Database, tmp_path: Path) -> None:
    ctx = make_erasure_context(sqlite_db, tmp_path)
    create_full_history(ctx, tmp_path)
    key = "SELECT lead_id FROM identity WHERE external_id = 'c-4711'"
    names = "natural_key, lead_id, kind, received_at, sent_at, sender, text, evidence, contact, attachments"
    insert = f"INSERT INTO reply ({names}) VALUES (:key, ({key}), 'unclear', :at, :at, '', :text, '', '', '[]')"
    for number in range(300):  # of all lengths and in no order, so that pages are split
        text = f"Mia.Holm {number} " + "x" * (number * 37 % 900)
        write(ctx, insert, key=f"{number * 7919 % 300:04}", at=NOW.isoformat(), text=text)
    path = Path(str(ctx.database.url.database))
    files = (path, path.with_name(f"{path.name}-wal"))
    person = re.compile(rb"mia.holm|c-4711|quayside|49 30 1234")
    assert any(person.search(file.read_bytes().lower()) for file in files)
    done = erase.erase_person(ctx, ADDRESS, ERASED_AT)
    assert [file.name for file in files if person.search(file.read_bytes().lower())] == []
    assert not any("free pages" in line for line in done.systems)


def test_a_reader_that_blocks_the_overwriting_is_reported(sqlite_db: Database, tmp_path: Path) -> None:
    ctx = make_erasure_context(sqlite_db, tmp_path)
    create_full_history(ctx, tmp_path)
    with closing(sqlite3.connect(str(ctx.database.url.database), isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM address").fetchone()
        done = erase.erase_person(ctx, ADDRESS, ERASED_AT)
    assert any("free pages" in line and "run `nurture leads erase` again" in line for line in done.systems)
    assert find_secrets(ctx) == {}


def test_files_and_systems_that_still_contain_the_person_are_listed(ctx: AppContext, tmp_path: Path) -> None:
    lead = create_full_history(ctx, tmp_path)
    (tmp_path / "crm" / "out").mkdir(parents=True)
    (tmp_path / "crm" / "out" / "handoffs-000001.csv").write_text(f"email\n{ADDRESS.lower()}\n")
    (tmp_path / "crm" / "out" / "handoffs-000002.csv").write_text("email\nnoor@other.example\n")
    (tmp_path / "leads.bad-rows.csv").write_text(f"line,reason,Email\n2,odd,{ADDRESS.upper()}\n")
    done = erase.erase_person(ctx, ADDRESS, ERASED_AT, folders=[tmp_path])
    names = {Path(file).name for file in done.files}
    assert {"handoffs-000001.csv", "leads.bad-rows.csv", "leads.csv"} <= names
    assert "handoffs-000002.csv" not in names
    assert {Path(file).parent.name for file in done.files} >= {"new", "out"}
    sent = "SELECT count(*) FROM message WHERE lead_id = :id AND state IN ('accepted', 'delivered')"
    assert sum("/maildir/" in file for file in done.files) == one(ctx, sent, id=lead)
    assert all(Path(file).exists() for file in done.files)
    assert any("backups" in line for line in done.systems)
    assert any("PostgreSQL" in line for line in done.systems) is not ctx.database.is_sqlite


def test_a_lead_that_is_imported_again_can_be_erased_again(ctx: AppContext, tmp_path: Path) -> None:
    lead = create_full_history(ctx, tmp_path)
    erase.erase_person(ctx, ADDRESS, ERASED_AT)
    import_person(ctx, tmp_path, LATER)
    again: int = one(ctx, "SELECT lead_id FROM identity WHERE external_id = 'c-4711'")
    assert erase.erase_person(ctx, ADDRESS, LATER + HOUR).lead == again
    assert find_secrets(ctx) == {}
    assert {custody(ctx, id_) for id_ in (lead, again)} == {("closed", "discarded")}
