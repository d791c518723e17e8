"""Touches and broadcasts with `batch: yes` share requests; everything that is checked per message stays so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.journey.broadcasts import release
from nurture.journey.consent.suppression import suppress
from nurture.journey.delivery import claim, run, send
from nurture.journey.engagement import provider_events
from nurture.journey.tracks import advance, enroll
from nurture.mail.providers.sendgrid.provider import SendGridProvider
from nurture.runtime.context import AppContext
from tests.doubles.sendgrid import KEY, Fault, SendGridDouble
from tests.doubles.sendgrid_events import encode_events, event
from tests.doubles.sendgrid_substitution import substitute
from tests.journey.broadcasts.world import NAME, TEN, broadcast_rules
from tests.journey.builders import START, make_context, run_at, sample_rules
from tests.journey.observe import add_leads, recorded_statements, rows

OPEN = START + timedelta(hours=1)
YAML = "tracks/welcome/track.yaml"


@pytest.fixture
def double(tmp_path: Path) -> Iterator[SendGridDouble]:
    with SendGridDouble(tmp_path / "sendgrid.log", bodies=True) as double:
        yield double


@pytest.fixture
def ctx(db: Database, tmp_path: Path, double: SendGridDouble) -> Iterator[AppContext]:
    rules = sample_rules()
    rules[YAML] += "batch: yes\n"
    made = make_context(db, tmp_path, rules=rules)
    made.installation_id, made.base_url, made.reply_domain = "0badcafe", "https://go.example.com", "in.example.com"
    made.provider = SendGridProvider(SecretStr(KEY), url=double.url)
    yield made
    made.provider.close()


def _due(ctx: AppContext, count: int) -> list[int]:
    """Return leads whose first touch is due at OPEN, each with a first name of its own."""
    leads = add_leads(ctx, count, title="Head", first_name="Ann & Bo")
    enroll.classify(ctx, START)
    advance.advance(ctx, START)
    advance.advance(ctx, OPEN)
    return leads


def _deliver(ctx: AppContext) -> None:
    run.deliver(ctx, VirtualClock(OPEN))


def _states(ctx: AppContext) -> list[str]:
    return [state for (state,) in rows(ctx, "SELECT state FROM message WHERE kind = 'touch' ORDER BY lead_id")]


def test_touches_of_one_email_are_one_request_with_links_of_their_own(ctx: AppContext, double: SendGridDouble) -> None:
    _due(ctx, 30)
    _deliver(ctx)
    assert (double.traffic().requests, _states(ctx)) == (1, ["accepted"] * 30)
    found = [substitute(one.body or {}) for one in double.accepted()]
    assert {one.to for one in found} == {email for (email,) in rows(ctx, "SELECT email FROM address")}
    for parts in (
        {one.headers["List-Unsubscribe"] for one in found},
        {one.reply_to for one in found},
        {one.html for one in found},
        {one.args["nurture_message"] for one in found},
    ):
        assert len(parts) == 30
    assert all("Hello Ann &amp; Bo" in one.html and "Hello Ann & Bo" in one.text for one in found)
    assert all(one.headers["List-Unsubscribe"].split(">")[0][1:] in one.html for one in found)
    assert all(one.headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click" for one in found)


def test_a_lead_that_opted_out_after_the_claim_is_not_in_the_request(ctx: AppContext, double: SendGridDouble) -> None:
    _due(ctx, 5)
    batch = claim.claim_batch(ctx, OPEN, 10)
    suppress(ctx, [batch.claimed[2].address or ""], OPEN)
    send.send_claimed(ctx, batch, VirtualClock(OPEN))
    assert _states(ctx) == ["accepted", "accepted", "cancelled", "accepted", "accepted"]
    assert len(double.accepted()) == 4


def test_a_request_without_a_response_is_unknown_for_each_and_settled_by_its_own_event(
    ctx: AppContext, double: SendGridDouble
) -> None:
    leads = _due(ctx, 4)
    double.add_faults(Fault(what="reset", after=True))
    _deliver(ctx)
    assert _states(ctx) == ["unknown"] * 4
    refs = dict(rows(ctx, "SELECT lead_id, send_key FROM message WHERE kind = 'touch'"))
    events = [event(kind, f"0badcafe:{refs[leads[n]]}", OPEN) for n, kind in ((0, "delivered"), (2, "bounce"))]
    provider_events.receive(ctx, "sendgrid", encode_events(events), OPEN)
    provider_events.apply_pending(ctx, OPEN)
    assert _states(ctx) == ["delivered", "unknown", "bounced", "unknown"]


def test_a_batch_costs_as_many_statements_for_many_leads_as_for_few(ctx: AppContext) -> None:
    counts = []
    for count in (20, 20, 200):
        _due(ctx, count)
        with recorded_statements(ctx.database) as statements:
            _deliver(ctx)
        counts.append(len(statements))
    assert counts[1] == counts[2]


def test_a_broadcast_with_batch_shares_requests(db: Database, tmp_path: Path, double: SendGridDouble) -> None:
    ctx = make_context(db, tmp_path, rules=broadcast_rules("batch: yes\n"))
    ctx.provider = SendGridProvider(SecretStr(KEY), url=double.url)
    add_leads(ctx, 7, city="Kiel")
    release.release(ctx, NAME, "mara", START)
    run_at(ctx, START, TEN)
    ctx.provider.close()
    assert (double.traffic().requests, len(double.accepted())) == (1, 7)
