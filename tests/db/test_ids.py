"""Ids have 64 bits, and rows that arrive again use none."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.errors import InvalidState
from nurture.journey.accounts import import_file
from nurture.journey.consent import suppression, suppression_files
from nurture.journey.engagement import provider_events, signal_files
from nurture.journey.erasure import erase
from nurture.journey.handoff import responses
from nurture.journey.intake import import_file as intake_import_file
from nurture.journey.intake.api import batches, tokens
from nurture.journey.outcomes import import_file as outcomes_import_file
from nurture.outbox import circuit_breakers
from nurture.outbox.circuit_breakers import Breaker
from nurture.reporting import audit, explain
from nurture.runtime.context import AppContext
from tests.doubles.sendgrid_events import encode_events, event
from tests.journey.builders import START, add_lead, close_lead, make_context, run_at
from tests.journey.engagement.test_replies import DAY, HOUR, NOW, SENT, process_replies, reply_address
from tests.journey.erasure.test_erase import create_full_history
from tests.journey.observe import custody, one, rows
from tests.mail.inbound.replying import mail

PAST = 2**31
_SEQUENCES = """
SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL
"""


@pytest.fixture
def ctx(postgres_db: Database, tmp_path: Path) -> AppContext:
    ctx = make_context(postgres_db, tmp_path)
    ctx.reply_domain, ctx.base_url, ctx.installation_id = ("in.example.com", "https://go.example.com", "0badcafe")
    return ctx


def test_a_lead_goes_its_whole_way_with_ids_past_32_bits(postgres_db: Database, tmp_path: Path) -> None:
    past = text("SELECT setval(oid, :past + oid::bigint) FROM pg_class WHERE relkind = 'S'")
    with postgres_db.write() as tx:
        tx.execute(past, {"past": PAST})
    ctx = make_context(postgres_db, tmp_path)
    ctx.reply_domain, ctx.base_url, ctx.installation_id = ("in.example.com", "https://go.example.com", "0badcafe")
    lead = create_full_history(ctx, tmp_path)
    responses.accept(ctx, one(ctx, "SELECT id FROM offer"), NOW + 2 * HOUR)
    close_lead(ctx, lead, Closing.WON, NOW + 3 * HOUR)
    run_at(ctx, NOW + 4 * HOUR, NOW + DAY)
    assert custody(ctx, lead) == ("resting", "customer")
    assert explain.explain(ctx, lead, NOW + DAY).lead_id == lead
    assert audit.run_audit(ctx, NOW + DAY).ok
    erase.erase_person(ctx, str(lead), NOW + 2 * DAY)
    for table in ("lead", "address", "signal", "message", "offer", "enrollment", "journal"):
        assert rows(ctx, f"SELECT min(id) > {PAST} FROM {table}") == [(True,)], table


def _file(folder: Path, name: str, *lines: tuple[object, ...]) -> Path:
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
    return folder / name


def bring_everything(ctx: AppContext, folder: Path) -> None:
    """Send through each intake path what a system sends again every night, each item twice in one call."""
    head = ("Id", "Email", "Consent", "Registration Time", "Attended", "Demo Requested")
    lines = [(f"c{n}", f"a{n}@people.example", "Yes", "2026-01-02", "Yes", "Yes") for n in range(20)]
    intake_import_file.import_file(ctx, _file(folder, "leads.csv", head, *lines, *lines), NOW, source="crm")
    file_signals = [(f"c{n}", "visited", "2026-01-03", "x") for n in range(20)]
    signal_files.import_signals(
        ctx, _file(folder, "signals.csv", ("lead", "kind", "at", "value"), *file_signals, *file_signals), NOW
    )
    api_signals = [
        {"lead": {"external_id": f"c{n}", "source": "crm"}, "kind": "visited", "occurred_at": "2026-01-04T08:00Z"}
        for n in range(20)
    ]
    assert batches.post_signals(ctx, api_signals + api_signals, NOW).rejected == []
    items = [{"external_id": f"c{n}", "email": f"a{n}@people.example"} for n in range(20)]
    batches.post_leads(ctx, "crm", items + items, "a program", NOW)
    accounts = [(f"k{n}", f"Company {n}", f"k{n}.example") for n in range(5)]
    file = _file(folder, "accounts.csv", ("id", "name", "domain"), *accounts)
    import_file.import_accounts(ctx, file, NOW)
    lost = [(f"c{n}", "lost", "2026-01-04", "price") for n in range(5)]
    file = _file(folder, "outcomes.csv", ("lead", "outcome", "date", "reason"), *lost, *lost)
    assert outcomes_import_file.import_outcomes(ctx, file, NOW).rejected == 0
    gone = [(f"s{n}@people.example",) for n in range(5)]
    suppression_files.import_suppressions(ctx, _file(folder, "stop.csv", ("email",), *gone, *gone), NOW)
    suppression.suppress(ctx, ["s1@people.example"], NOW)
    with ctx.database.write() as tx:
        circuit_breakers.trip(tx, Breaker("provider", "sendgrid", "it is down", NOW, NOW + HOUR))


def _mail_comes(ctx: AppContext, body: bytes, reply: bytes) -> None:
    for _ in range(2):
        provider_events.receive(ctx, "sendgrid", body, NOW)
    provider_events.apply_pending(ctx, NOW)
    process_replies(ctx, reply, reply)


def test_what_comes_in_again_uses_no_id(ctx: AppContext, tmp_path: Path) -> None:
    lead = add_lead(ctx, title="Head", email="mia@people.example")
    run_at(ctx, START, START + 2 * HOUR, SENT)
    key: str = one(ctx, "SELECT send_key FROM message WHERE lead_id = :id", id=lead)
    body = encode_events([event("delivered", f"0badcafe:{key}", SENT, email="mia@people.example")] * 2)
    reply = mail("Thank you", to=reply_address(ctx, tmp_path), sender="Mia <mia@people.example>")
    tokens.create_token(ctx, "website", ["signals:write"], NOW)
    bring_everything(ctx, tmp_path)
    _mail_comes(ctx, body, reply)

    before = dict(rows(ctx, _SEQUENCES))
    bring_everything(ctx, tmp_path)
    _mail_comes(ctx, body, reply)
    with pytest.raises(InvalidState, match="website"):
        tokens.create_token(ctx, "website", ["signals:write"], NOW)
    after = dict(rows(ctx, _SEQUENCES))
    filled = (
        "signal",
        "outcome_report",
        "raw_batch",
        "provider_event",
        "reply",
        "circuit_breaker",
        "api_token",
        "account",
    )
    assert {f"{table}_id_seq" for table in filled} <= set(before)
    assert after.pop("import_file_id_seq") == before.pop("import_file_id_seq") + 5  # one row per file
    assert after == before
    for sequence, newest in after.items():
        assert one(ctx, f"SELECT max(id) FROM {sequence.removesuffix('_id_seq')}") == newest, sequence


def test_leads_that_find_no_rep_with_room_use_no_id(ctx: AppContext, tmp_path: Path) -> None:
    for _ in range(40):
        add_lead(ctx, title="x", demo_requested=True)
    run_at(ctx, START)
    newest: Any = one(ctx, "SELECT max(id) FROM offer")
    run_at(ctx, START + HOUR, START + 2 * HOUR)
    assert one(ctx, "SELECT count(*) FROM custody WHERE kind = 'queue' AND ref = 'hand-off'") > 0
    assert one(ctx, "SELECT last_value FROM pg_sequences WHERE sequencename = 'offer_id_seq'") == newest
