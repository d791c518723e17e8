"""Events that refuse or opt out: only a refusal of the address suppresses it, and what suppresses has its evidence."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from nurture.db.engine import Database
from nurture.journey.engagement import provider_events
from nurture.mail.providers.postmark.payload import split_message_id
from nurture.runtime.context import AppContext
from tests.doubles import postmark
from tests.doubles.sendgrid_events import event
from tests.journey.builders import run_at
from tests.journey.engagement.test_provider_events import (
    LATER,
    SENT,
    context_with_sent_email,
    make_event,
    message,
    message_ref,
    receive_events,
    sources,
)
from tests.journey.observe import one, rows


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return context_with_sent_email(db, tmp_path)


def test_a_bounce_event_that_may_tell_of_a_block_counts_when_it_repeats(ctx: AppContext) -> None:
    refusal = {"type": "bounce", "status": "5.4.1", "reason": "550 5.4.1 Recipient address rejected: Access denied"}
    receive_events(ctx, make_event(ctx, "bounce", id_="one", bounce_classification=None, **refusal))
    assert message(ctx)[0::3] == ("dropped", "blocked: 5.4.1, the address may not exist")
    assert sources(ctx) == []
    run_at(ctx, *(SENT + timedelta(days=number) for number in range(1, 12)))
    ref = f"{ctx.installation_id}:{one(ctx, 'SELECT send_key FROM message ORDER BY id DESC LIMIT 1')}"
    second = event("bounce", ref, SENT + timedelta(days=11), "two", email="mia@people.example", **refusal)
    for _ in range(2):
        receive_events(ctx, second, now=SENT + timedelta(days=12))
    assert sources(ctx) == ["bounce"]
    assert one(ctx, "SELECT state FROM message ORDER BY id DESC LIMIT 1") == "bounced"


def test_a_bounce_event_in_the_words_of_a_block_suppresses_nobody(ctx: AppContext) -> None:
    blocked = "550 Mailbox unavailable: 550 5.7.1 part of their network is on our block list (S3150)"
    receive_events(ctx, make_event(ctx, "bounce", type="bounce", status="5.0.0", reason=blocked))
    assert sources(ctx) == []
    assert message(ctx)[0] == "dropped"


@pytest.mark.parametrize(
    ("kind", "fields"),
    [("unsubscribe", {}), ("group_unsubscribe", {}), ("dropped", {"reason": "Unsubscribed Address"})],
)
@pytest.mark.parametrize("email", ["mia@people.example", "other@people.example"])
def test_an_opt_out_that_the_provider_reports_has_the_event_as_evidence(
    ctx: AppContext, kind: str, fields: dict[str, Any], email: str
) -> None:
    receive_events(ctx, make_event(ctx, kind, id_="ZXZlbnQtMQ==", email=email, **fields))
    found = set(rows(ctx, "SELECT source, evidence FROM suppression"))
    assert found == {("provider", f"sendgrid event {kind}, id ZXZlbnQtMQ==, 2026-01-05 10:05:00 UTC")}


def test_an_opt_out_that_postmark_reports_has_the_event_as_evidence(ctx: AppContext) -> None:
    change = postmark.event(
        "SubscriptionChange", split_message_id(message_ref(ctx)), SENT, Recipient="mia@people.example"
    )
    provider_events.receive(ctx, "postmark", postmark.encode(change), LATER)
    provider_events.apply_pending(ctx, LATER)
    ((source, evidence),) = rows(ctx, "SELECT source, evidence FROM suppression")
    assert source == "provider"
    assert evidence.startswith(
        f"postmark event SubscriptionChange ManualSuppression, id {change['MessageID']}, 2026-01-05"
    )
