"""Builders for tests: definitions with two tracks, a context in which they are published, leads."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import insert

from nurture.db import clock_row, lead_counts
from nurture.db.engine import Database
from nurture.db.lead_counts import CountedLead
from nurture.db.tables import leads as lead_tables
from nurture.db.tables.base import table
from nurture.definitions.folder import write_texts
from nurture.domain.address import normalize_address
from nurture.domain.consent.statements import grant
from nurture.domain.lead import Closing
from nurture.journey import run_once
from nurture.journey.erasures import ERASURES
from nurture.journey.leads import consent_queries
from nurture.journey.leads.custody import JournalEntry, write_journal
from nurture.journey.message_kinds import MESSAGE_KINDS
from nurture.journey.outcomes import outcomes
from nurture.journey.outcomes.outcomes import OutcomeReport
from nurture.mail.providers.maildir.provider import MaildirProvider
from nurture.publishing import approval, publish
from nurture.runtime.context import AppContext

START: Final = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
"""A Monday morning, before the send window of `sample_rules` opens."""

_TEMPLATES: Final = Path(__file__).parents[2] / "templates"
_numbers = itertools.count(1)

_DEFAULTS = """
sender:
  name: Ada
  email: ada@house.example
  postal_address: 1 Harbour Lane, Exampleton
send:
  days: [mon, tue, wed, thu, fri]
  between: 09:00-17:00
  zone_fallback: UTC
  skip_holidays: no
  grace: 3 days
cap: {touches: 2, per: 7 days}
layout: plain
"""

_WELCOME = """
name: welcome
goal: Say hello, and see who answers
audience: {field: title, contains: [head]}
priority: 10
re_entry: after 30 days
takes_over: no
steps:
  - email: 01-hello
    after: 1 hour
  - wait_for: {did: clicked, email: 01-hello}
    id: wait-for-click
    up_to: 5 days
    then: continue
    otherwise: continue
  - email: 02-more
    after: 3 days
finally: keep
"""

_KEEP = """
name: keep
goal: Be remembered
audience: everybody
priority: 0
re_entry: after 1 day
steps:
  - repeat:
      every: 20 days
      steps:
        - email: 01-news
          after: 10 days
    id: go-round
finally: {close: unreachable}
"""

_POLICY = """
approved: {by: "Sam, sales", on: 2026-01-01}
points: {clicked: 10, replied: 40, deciding: 30, half_life: 30 days}
readiness:
  - name: student
    when: {field: title, contains: [student]}
    then: {discard: not a buyer}
  - name: ready
    when: {field: demo_requested, is: yes}
    then: hand_off
  - name: nurture
    when: always
    then: enroll
hand_off_when:
  - name: replied
    when: {did: replied}
  - name: decides-soon
    when: {timeline: {decides_within: 90 days}}
  - name: engaged
    when: {score: {at_least: 25}}
reps:
  - {id: ana, name: Ana, email: ana@house.example, capacity: 5}
  - {id: ben, name: Ben, email: ben@house.example, capacity: 5}
accept_within: 1 day
follow_up_within: 2 days
max_silence: 60 days
one_rep_per_company: no
reject_reasons:
  not-now: {label: Not now, then: {track: keep}, cool_off: 30 days}
  wrong-person: {label: Has no say, then: resume, cool_off: 7 days}
  bad-fit: {label: Nothing for them, then: {close: discarded}}
  please-check: {label: Please check, then: {queue: needs-a-look}}
queues: {others: {owner: ana, within: 30 business days}}
on_expiry: {label: Nobody answered, then: resume, cool_off: 7 days}
"""


def sample_rules() -> dict[str, str]:
    """Return tracks `welcome` (two emails, heads only) and `keep` (endless), and a policy with two reps."""
    sources = {
        "defaults.yaml": _DEFAULTS,
        "sales/policy.yaml": _POLICY,
        "tracks/welcome/track.yaml": _WELCOME,
        "tracks/welcome/01-hello.md": _email("Hello"),
        "tracks/welcome/02-more.md": _email("More"),
        "tracks/keep/track.yaml": _KEEP,
        "tracks/keep/01-news.md": _email("News"),
    }
    for folder, pattern in (("layouts", "*.mjml"), ("handoff", "*.md")):
        for path in sorted((_TEMPLATES / folder).glob(pattern)):
            sources[f"{folder}/{path.name}"] = path.read_text("utf-8")
    return sources


def _email(subject: str) -> str:
    return (
        f"---\nsubject: {subject}\npreheader: From us\n---\n"
        'Hello {{ lead.first_name or "there" }},\n\n[read on](https://www.example.com/guide)\n'
    )


def make_context(
    db: Database, tmp_path: Path, now: datetime = START, rules: dict[str, str] | None = None
) -> AppContext:
    """Return a context in virtual time in which *rules* (default: `sample_rules`) are published."""
    clock_row.bind_mode(db, "virtual", now)
    ctx = AppContext(db, MaildirProvider(tmp_path / "maildir"), message_kinds=MESSAGE_KINDS, erasures=ERASURES)
    publish.publish(ctx, rules or sample_rules(), now)
    return ctx


def make_context_with_folder(db: Database, tmp_path: Path) -> AppContext:
    """Return a context whose folder of templates holds what is published."""
    made = make_context(db, tmp_path)
    made.templates = tmp_path / "templates"
    write_texts(made.templates, sample_rules())
    return made


def publish_approved(ctx: AppContext, rules: dict[str, str], now: datetime) -> None:
    """Publish *rules*, and approve their policy as its approver."""
    for change in publish.publish(ctx, rules, now):
        if change.activation == approval.PENDING:
            approval.approve(ctx, change.approver, now)


def add_lead(
    ctx: AppContext,
    *,
    at: datetime = START,
    email: str | None = "",
    source: str = "test",
    external_id: str | None = None,
    zone: str = "UTC",
    country: str = "",
    consent_basis: str | None = "consent",
    first_contact_at: datetime | None = None,
    **fields: Any,
) -> int:
    """Insert a lead in intake as an import does; return its id. *email* "" generates one, None leaves it out."""
    number = next(_numbers)
    address = f"lead{number}@people.example" if email == "" else email
    with ctx.database.write() as tx:
        address_id = None
        if address is not None:
            spelled = {"email": address, "normalized": normalize_address(address)}
            address_id = tx.execute(_ADD_ADDRESS, spelled).inserted_primary_key[0]
        values = {
            "address_id": address_id,
            "source": source,
            "fields": fields,
            "zone": zone,
            "country": country,
            "consent_basis": consent_basis,
            "engagement": 0.0,
            "readiness": "",
            "first_contact_at": first_contact_at or at,
            "created_at": at,
            "updated_at": at,
        }
        if address_id is not None and consent_basis is not None:
            given = grant(consent_basis, source, None, at)
            consent_queries.append_statements(tx, [(address_id, given)])
        lead_id: int = tx.execute(_ADD_LEAD, values).inserted_primary_key[0]
        identity = {"source": source, "external_id": external_id or f"x{number}", "lead_id": lead_id}
        tx.execute(_ADD_IDENTITY, identity)
        custody = {
            "lead_id": lead_id,
            "kind": "intake",
            "ref": source,
            "since": at,
            "next_action": "classify",
            "due_at": at,
            "version": 1,
        }
        tx.execute(_ADD_CUSTODY, custody)
        lead_counts.count_new(tx, [CountedLead(first_contact_at or at, source, "", "intake", source)])
        entry = JournalEntry(lead_id, at, "intake", "imported", f"from {source}", custody_to="intake", ref=source)
        write_journal(tx, [entry])
    return lead_id


def close_lead(
    ctx: AppContext,
    lead_id: int,
    closing: Closing,
    now: datetime,
    *,
    happened_at: datetime | None = None,
    amount: float | None = None,
    reason: str = "",
    source: str = "cli",
) -> None:
    """Close a lead as `nurture handoffs close` does."""
    report = OutcomeReport(lead_id, closing, happened_at, amount, reason)
    (verdict,) = outcomes.record_outcomes(ctx, [report], source, now)
    outcomes.refuse_contradiction(verdict, lead_id)


def run_at(ctx: AppContext, *times: datetime) -> None:
    """Run every stage once at each of these times."""
    for at in times:
        run_once.run_once(ctx, at)


_ADD_ADDRESS = insert(table(lead_tables.Address))
_ADD_LEAD = insert(table(lead_tables.Lead))
_ADD_IDENTITY = insert(table(lead_tables.Identity))
_ADD_CUSTODY = insert(table(lead_tables.Custody))
