"""Build a lead with a long history, offered to Ana, whose time zone is Berlin."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.db.metadata import metadata
from nurture.domain.signals import SignalKind, SignalVerdict
from nurture.journey.delivery.run import deliver
from nurture.journey.engagement import signals
from nurture.journey.handoff.sweep import hand_off
from nurture.journey.leads import queries as leads_queries
from nurture.journey.leads import reply_queries
from nurture.journey.leads.reply_queries import InboundReply
from nurture.journey.tracks.enroll import classify
from nurture.mail.providers.maildir.provider import MaildirProvider
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, sample_rules
from tests.journey.observe import new_signal

LONG = "We run four plants and lose a week of sales whenever a forecast is off. " * 20


def briefed(db: Database, tmp_path: Path) -> tuple[AppContext, int]:
    """Return a context that has just sent Ana the brief of its one lead."""
    rules = sample_rules()
    rules["sales/policy.yaml"] = (
        rules["sales/policy.yaml"]
        .replace("email: ana@house.example,", "email: ana@house.example, zone: Europe/Berlin,")
        .replace("reps:", "fit: {A: {field: employees, at_least: 200}}\nreps:", 1)
    )
    ctx = make_context(db, tmp_path, rules=rules)
    ctx.provider = MaildirProvider(tmp_path / "maildir", html_copies=True)
    ctx.base_url = "https://go.example.com"
    lead_id = add_lead(
        ctx,
        email="dana@people.example",
        full_name="Dana Miller-Westerhoff",
        company="Acme & Sons Food Machinery International GmbH",
        title="Head of demand planning and distribution",
        industry="Food manufacturing",
        employees=420,
        city="Graz",
        budget="EUR 60,000 this year",
        authority="decides with the CFO",
        authority_source="call",
        authority_stated_on="2025-12-18",
        authority_confidence="confirmed",
        need="fewer write-offs\n# and no headings",
        demo_requested=True,
    )
    _add_history(ctx, lead_id)
    classify(ctx, START)
    hand_off(ctx, START)
    deliver(ctx, VirtualClock(START))
    return ctx, lead_id


def _add_history(ctx: AppContext, lead_id: int) -> None:
    """Record the lead's signals, fields and history."""
    database, days = ctx.database, [START - timedelta(days=back) for back in range(1, 10)]
    activities = [new_signal(lead_id, SignalKind.CLICKED, day, "www.evil.example", "01-hello") for day in days]
    bot = new_signal(lead_id, SignalKind.VISITED, START - timedelta(hours=1), "robots.txt")
    signals.record(ctx, [*activities, bot._replace(verdict=SignalVerdict.BOT.value)], START)
    names = metadata.tables
    with database.write() as tx:
        leads_queries.set_timeline(tx, lead_id, date(2026, 9, 30), days[0])
        replies = [
            InboundReply(
                f"r{at}",
                lead_id,
                None,
                "wants_to_talk",
                day,
                day,
                "",
                f"Reply {at}: see http://evil.example/x\n{LONG}",
                "says 'call me'",
                "",
                None,
                None,
                ["plan.pdf"],
            )
            for at, day in enumerate(days[:3])
        ]
        reply_queries.insert_replies(tx, replies)
        for number, day in enumerate(days):
            tx.execute(
                names["message"]
                .insert()
                .values(
                    send_key=f"touch:x:{number}",
                    kind="touch",
                    recipient="lead",
                    lead_id=lead_id,
                    track="welcome",
                    step="01-hello",
                    visit=1,
                    email=f"0{number}-letter-about-planning",
                    planned_at=day,
                    send_at=day,
                    expires_at=day,
                    state="accepted",
                    state_at=day,
                    accepted_at=day,
                    attempts=1,
                )
            )
        for number, reason in enumerate(("not-now", "wrong-person", "please-check", "not-now")):
            tx.execute(
                names["offer"]
                .insert()
                .values(
                    lead_id=lead_id,
                    rep="ben",
                    rule="",
                    handoff_reason="",
                    routing_reason="",
                    policy_version=1,
                    state="rejected",
                    offered_at=days[number],
                    expires_at=days[number],
                    answered_at=days[number],
                    reason=reason,
                    note="Ask Jo; see http://evil.example" if reason == "not-now" else None,
                    escalation_level=0,
                    round=1,
                    priority=0,
                    hot=False,
                )
            )
        account = (
            names["account"]
            .insert()
            .values(
                source="crm",
                external_id="1",
                name="Acme Group",
                domains=["acme.example"],
                owner="ben",
                kind="prospect",
                created_at=START,
                updated_at=START,
            )
        )
        (account_id,) = tx.execute(account).inserted_primary_key or (0,)
        tx.execute(
            names["lead_account"]
            .insert()
            .values(lead_id=lead_id, account_id=account_id, method="manual", reason="same domain", at=START)
        )


def mailed(tmp_path: Path, kind: str) -> str:
    """Return the brief as mailed, as HTML or as the whole mail."""
    (file,) = (tmp_path / "maildir" / kind).glob("brief*")
    return file.read_text("utf-8")
