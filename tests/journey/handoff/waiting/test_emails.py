"""Lists of what waits: who gets them, also with a policy that was published before `queues:` was required."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import insert, select

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.db.tables.publishing import approval, publication
from nurture.definitions.policy.queues import WAITING
from nurture.mail.providers.maildir.provider import MaildirProvider
from nurture.operations.check_internal import check_queues
from nurture.operations.doctor import DoctorContext
from nurture.reporting.audit import run_audit
from nurture.runtime.context import AppContext
from nurture.runtime.published import PublishedDefinitions
from nurture.settings import Settings
from tests.journey.builders import add_lead, make_context, run_at
from tests.journey.handoff.test_sla_sweep import PEOPLE
from tests.journey.handoff.waiting.test_lists import DAY, DECISION, MONDAY, QUEUES, waiting_rules
from tests.journey.observe import custody, rows

LENA = "{id: lena, name: Lena, email: lena@house.example}"
TWO_MANAGERS = PEOPLE.replace(LENA, f"{{id: omar, name: Omar, email: omar@house.example}}, {LENA}")


def _older(db: Database, folder: Path, *, managers: bool = True) -> AppContext:
    """Return an installation whose policy says nothing about queues, and has no email that lists leads."""
    ctx = make_context(db, folder, MONDAY, waiting_rules(TWO_MANAGERS))
    with db.write() as tx:
        row = tx.execute(select(publication).where(publication.c.kind == "policy")).one()
        sources = dict(row.sources)
        policy = sources["sales/policy.yaml"].replace(QUEUES, "")
        if not managers:
            people = policy[policy.index("managers:") : policy.index("reps:")]
            policy = policy.replace(people, "").replace(", manager: lena", "").replace("escalate:", "remind:")
            policy = policy.replace("remind: 2 business hours, remind: 4 business hours", "remind: 2 business hours")
            policy = policy.replace("remind: 1 business day, remind: 2 business days", "remind: 1 business day")
        sources["sales/policy.yaml"] = policy
        del sources[WAITING]
        older = {"kind": "policy", "name": row.name, "version": 2, "digest": "older", "published_at": MONDAY}
        (id_,) = tx.execute(insert(publication).values(sources=sources, **older)).inserted_primary_key
        approved = {"approved_by": "Sam", "approved_on": MONDAY.date(), "recorded_at": MONDAY, "method": "approved"}
        tx.execute(insert(approval).values(policy_version=2, publication_id=id_, **approved))
    return replace(ctx, definitions=PublishedDefinitions())


def _doctor(database_url: str, folder: Path) -> DoctorContext:
    settings = Settings(database_url=SecretStr(database_url))
    return DoctorContext(settings, VirtualClock(MONDAY), lambda: MaildirProvider(folder), "/health", "")


def test_without_queues_in_the_policy_every_manager_is_notified_of_a_hot_lead_that_nobody_answers(
    db: Database, database_url: str, tmp_path: Path
) -> None:
    ctx = _older(db, tmp_path)
    lead = add_lead(ctx, demo_requested=True, title="Head", at=MONDAY)
    run_at(ctx, MONDAY, MONDAY + DAY, MONDAY + 2 * DAY)
    assert custody(ctx, lead) == DECISION
    mails = "SELECT rep, state FROM message WHERE kind = 'waiting' ORDER BY rep"
    assert rows(ctx, mails) == [("lena", "accepted"), ("omar", "accepted")]
    run_at(ctx, MONDAY + 4 * DAY)
    (found,) = run_audit(ctx, MONDAY + 4 * DAY).findings
    assert (found.kind, found.lead_ids) == ("queue-overdue", (lead,))
    assert len(rows(ctx, mails)) == 4  # listed again, as too late
    (checked,) = check_queues(_doctor(database_url, tmp_path))
    assert checked.state == "warning"
    assert "lena, omar" in checked.message
    assert "others: {owner: lena" in checked.remedy


def test_without_queues_and_managers_the_doctor_fails_and_names_the_line_to_add(
    db: Database, database_url: str, tmp_path: Path
) -> None:
    ctx = _older(db, tmp_path, managers=False)
    lead = add_lead(ctx, email=None, at=MONDAY)
    run_at(ctx, MONDAY)
    (checked,) = check_queues(_doctor(database_url, tmp_path))
    assert checked.state == "failed"
    assert "others: {owner: lena, within: 2 business days}" in checked.remedy
    (found,) = run_audit(ctx, MONDAY).findings
    assert (found.kind, found.lead_ids) == ("queue-overdue", (lead,))
    assert "others: {owner: lena, within: 2 business days}" in found.remedy


@pytest.mark.parametrize("owner", ["lena", "ana"])
def test_a_stated_owner_is_the_only_one(sqlite_db: Database, tmp_path: Path, owner: str) -> None:
    rules = waiting_rules(TWO_MANAGERS)
    policy = rules["sales/policy.yaml"]
    rules["sales/policy.yaml"] = policy.replace(
        QUEUES, f"queues: {{others: {{owner: {owner}, within: 5 business days}}}}\n"
    )
    ctx = make_context(sqlite_db, tmp_path, MONDAY, rules)
    add_lead(ctx, email=None, at=MONDAY)
    run_at(ctx, MONDAY, MONDAY + DAY)
    assert {rep for (rep,) in rows(ctx, "SELECT rep FROM message WHERE kind = 'waiting'")} == {owner}
