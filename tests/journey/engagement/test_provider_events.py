"""Test SendGrid events: stored once, applied in any order, trusted only within limits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
from sqlalchemy import insert

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.db.metadata import metadata
from nurture.domain.address import normalize_address
from nurture.domain.delivery.delivery_status import DeliveryEventType
from nurture.domain.delivery.receipts import Accepted, Unknown
from nurture.domain.signals import SignalKind
from nurture.journey.delivery import run
from nurture.journey.engagement import provider_events
from nurture.journey.engagement import signals as engagement_signals
from nurture.journey.leads import suppression_queries
from nurture.journey.run_once import run_once
from nurture.mail.providers.events import InvalidEventBatch
from nurture.runtime.context import AppContext
from tests.chaos.event_orders import permute
from tests.doubles.sendgrid_events import KINDS, encode_events, event
from tests.journey.builders import START, add_lead, make_context, run_at
from tests.journey.observe import (
    RecordingProvider,
    add_leads,
    all_rows,
    custody,
    due_at,
    one,
    record_signal,
    recorded_statements,
    rows,
    write,
)

EXAMPLE = "sendgrid__event_webhook_example.json"
SENT = START + timedelta(hours=2)
LATER = START + timedelta(hours=4)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return context_with_sent_email(db, tmp_path)


def context_with_sent_email(db: Database, tmp_path: Path) -> AppContext:
    """Return a context with an installation id, and a lead whose first email was accepted at SENT."""
    made = make_context(db, tmp_path)
    made.installation_id = "0badcafe"
    add_lead(made, email="mia@people.example", title="Head of planning")
    run_at(made, START, START + timedelta(hours=1), SENT)
    assert message(made)[0] == "accepted"
    return made


def message(ctx: AppContext, lead_id: int = 1) -> tuple[Any, ...]:
    found = rows(
        ctx,
        "SELECT state, state_at, accepted_at, reason, lease_token FROM message WHERE lead_id = :id AND kind = 'touch'",
        id=lead_id,
    )
    assert len(found) == 1
    return found[0]


def message_ref(ctx: AppContext, lead_id: int = 1) -> str:
    wanted = "SELECT send_key FROM message WHERE lead_id = :id AND kind = 'touch'"
    return f"{ctx.installation_id}:{one(ctx, wanted, id=lead_id)}"


def receive_events(ctx: AppContext, *events: Any, now: datetime = LATER) -> provider_events.ApplyResult:
    """Receive events from SendGrid, and apply them."""
    provider_events.receive(ctx, "sendgrid", encode_events(events), now)
    return provider_events.apply_pending(ctx, now)


def make_event(ctx: AppContext, kind: str, minutes: float = 5, id_: str | None = None, **fields: Any) -> dict[str, Any]:
    fields = {"email": "mia@people.example", **fields}
    return event(kind, message_ref(ctx), SENT + timedelta(minutes=minutes), id_, **fields)


def sources(ctx: AppContext, email: str = "mia@people.example") -> list[str]:
    """Return the sources of the suppressions of an address."""
    with ctx.database.read() as tx:
        found = suppression_queries.find_address(tx, normalize_address(email))
        if found is None:
            return []
        return [source for _, _, _, source in suppression_queries.list_suppressions(tx, [found[0]])]


def stored_events(ctx: AppContext) -> list[tuple[str, str, int | None]]:
    found = rows(ctx, "SELECT event_type, raw_event_type, message_id FROM provider_event ORDER BY id")
    return [(row[0], row[1], row[2]) for row in found]


def set_unknown(ctx: AppContext) -> None:
    write(ctx, "UPDATE message SET state = 'unknown', accepted_at = NULL, lease_token = 'slow', reason = '?'")


@pytest.mark.parametrize(
    ("kind", "state", "stands"),
    [
        ("processed", "accepted", []),
        ("deferred", "accepted", []),
        ("delivered", "delivered", []),
        ("open", "accepted", []),
        ("click", "accepted", []),
        ("bounce", "bounced", ["bounce"]),
        ("blocked", "dropped", []),
        ("dropped", "dropped", ["bounce"]),
        ("spamreport", "complained", ["complaint"]),
        ("unsubscribe", "accepted", ["provider"]),
        ("group_unsubscribe", "accepted", ["provider"]),
        ("group_resubscribe", "accepted", []),
        ("account_status_change", "accepted", []),
    ],
)
def test_each_kind_of_event_means_one_thing(ctx: AppContext, kind: str, state: str, stands: list[str]) -> None:
    assert receive_events(ctx, make_event(ctx, kind)).new == 1
    assert message(ctx)[0] == state
    assert sources(ctx) == stands
    assert len(stored_events(ctx)) == 1


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_any_event_but_an_unknown_one_resolves_an_unknown_message(ctx: AppContext, kind: str) -> None:
    set_unknown(ctx)
    receive_events(ctx, make_event(ctx, kind))
    state, _, accepted_at, reason, token = message(ctx)
    if kind == "account_status_change":
        assert (state, accepted_at, token) == ("unknown", None, "slow")
        return
    assert state != "unknown"
    assert datetime.fromisoformat(str(accepted_at)) == SENT + timedelta(minutes=5)
    assert token is None
    assert reason != "?"
    assert custody(ctx, 1)[0] == "track"
    due = due_at(ctx, 1)
    assert due is not None
    assert due <= LATER


def test_an_unknown_message_that_was_dropped_is_resolved_with_its_reason(ctx: AppContext) -> None:
    set_unknown(ctx)
    receive_events(ctx, make_event(ctx, "dropped", reason="Unsubscribed Address"))
    assert message(ctx)[0] == "dropped"
    assert message(ctx)[3] == "dropped: 5.0.0, unsubscribed address"
    assert sources(ctx) == ["provider"]


def test_a_planned_mail_that_went_after_all_is_not_sent_again(ctx: AppContext) -> None:
    write(ctx, "UPDATE message SET state = 'planned', accepted_at = NULL")
    receive_events(ctx, make_event(ctx, "delivered"))
    assert message(ctx)[0] == "delivered"
    assert run_once(ctx, LATER + timedelta(minutes=1)).delivered.messages == 0


@pytest.mark.parametrize("receipt", [Accepted("x"), Unknown("no answer")])
def test_a_worker_that_writes_back_after_the_event_changes_nothing(
    db: Database, tmp_path: Path, receipt: Accepted | Unknown
) -> None:
    ctx = make_context(db, tmp_path)
    ctx.installation_id = "0badcafe"
    add_lead(ctx, email="mia@people.example", title="Head of planning")
    run_at(ctx, START, START + timedelta(hours=1))
    ctx.provider = RecordingProvider(lambda _email, _now: receipt)

    def observe(point: str, refs: Sequence[str]) -> None:
        if point == "after the call" and refs:
            assert message(ctx)[0] == "sending"
            receive_events(ctx, make_event(ctx, "bounce", minutes=1))

    write(ctx, "UPDATE message SET state = 'planned', accepted_at = NULL, send_at = planned_at")
    run.deliver(ctx, VirtualClock(SENT), observe=observe)
    assert message(ctx)[0] == "bounced"
    assert message(ctx)[4] is None
    assert sources(ctx) == ["bounce"]


def test_a_worker_that_has_not_called_yet_does_not_call(ctx: AppContext) -> None:
    provider = RecordingProvider()
    ctx.provider = provider

    def observe(point: str, _refs: Sequence[str]) -> None:
        if point == "claimed":
            receive_events(ctx, make_event(ctx, "delivered"))

    write(ctx, "UPDATE message SET state = 'planned', accepted_at = NULL, send_at = planned_at")
    run.deliver(ctx, VirtualClock(SENT + timedelta(minutes=9)), observe=observe)
    assert provider.sent == []
    assert message(ctx)[0] == "delivered"


def test_copies_count_once_whether_their_id_changed_or_not(ctx: AppContext) -> None:
    first = make_event(ctx, "click", id_="one")
    assert receive_events(ctx, first, make_event(ctx, "click", id_="two"), first).new == 1
    assert receive_events(ctx, make_event(ctx, "click", id_="three"), make_event(ctx, "delivered")).new == 1
    assert receive_events(ctx, make_event(ctx, "click", id_="one", category="other")).new == 0
    assert one(ctx, "SELECT count(*) FROM signal WHERE kind = 'clicked'") == 1


def test_the_same_batch_again_is_known_and_stored_once(ctx: AppContext) -> None:
    body = encode_events([make_event(ctx, "delivered")])
    assert provider_events.receive(ctx, "sendgrid", body, LATER) == (1, True)
    assert provider_events.receive(ctx, "sendgrid", body, LATER) == (1, False)
    assert provider_events.apply_pending(ctx, LATER) == provider_events.ApplyResult(1, 1, 1)
    assert provider_events.receive(ctx, "sendgrid", body, LATER) == (1, False)
    assert provider_events.apply_pending(ctx, LATER) == provider_events.ApplyResult()


def test_an_empty_batch_is_acknowledged_and_leaves_nothing(ctx: AppContext) -> None:
    before = all_rows(ctx)
    assert provider_events.receive(ctx, "sendgrid", b"[]", LATER) == (0, False)
    assert all_rows(ctx) == before


def test_an_unreadable_batch_is_rejected_and_leaves_nothing(ctx: AppContext) -> None:
    before = all_rows(ctx)
    with pytest.raises(InvalidEventBatch):
        provider_events.receive(ctx, "sendgrid", b"[" * 9_000, LATER)
    assert all_rows(ctx) == before


@pytest.mark.parametrize("origin", ["deadbeef", ""])
def test_events_of_another_installation_are_stored_and_not_applied(ctx: AppContext, origin: str) -> None:
    other = event("bounce", f"{origin}:{message_ref(ctx).partition(':')[2]}", SENT)
    assert receive_events(ctx, other) == provider_events.ApplyResult(1, 1, 0)
    assert message(ctx)[0] == "accepted"
    assert stored_events(ctx) == [("bounced", "bounce", None)]
    assert sources(ctx) == []


@pytest.mark.parametrize("named", [None, "", "0badcafe", "0badcafe:", "0badcafe:touch:77:x:1", ":", 7, "x" * 5_000])
def test_events_without_a_message_of_ours_are_stored_and_not_applied(ctx: AppContext, named: Any) -> None:
    before = rows(ctx, "SELECT * FROM message"), rows(ctx, "SELECT * FROM suppression")
    assert receive_events(ctx, *(event(kind, named, SENT) for kind in KINDS)).new == len(KINDS)
    assert (rows(ctx, "SELECT * FROM message"), rows(ctx, "SELECT * FROM suppression")) == before
    assert {message_id for _, _, message_id in stored_events(ctx)} == {None}


def test_nothing_personal_is_stored_of_an_event(ctx: AppContext) -> None:
    receive_events(ctx, *(make_event(ctx, kind) for kind in KINDS))
    stored = str(
        [rows(ctx, f"SELECT * FROM {name}") for name in ("provider_event", "signal", "tracking_request", "message")]
    )
    for word in ("mia@", "people.example", "Miller", "192.0.2", "Firefox", "www.example.com"):
        assert word not in stored


def test_an_open_by_a_machine_is_a_bot_and_no_open_adds_to_the_score(ctx: AppContext) -> None:
    receive_events(
        ctx, make_event(ctx, "open", 30, sg_machine_open=True), make_event(ctx, "open", 31, sg_machine_open=False)
    )
    found = rows(ctx, "SELECT verdict, source FROM signal WHERE kind = 'opened' ORDER BY occurred_at")
    assert found[0] == ("bot", "sendgrid")
    assert one(ctx, "SELECT engagement FROM lead WHERE id = 1") == 0


def test_a_click_is_classified_as_any_other_and_wakes_its_lead(ctx: AppContext) -> None:
    receive_events(ctx, make_event(ctx, "delivered", 1), make_event(ctx, "click", 60))
    assert rows(ctx, "SELECT kind, verdict, step FROM signal") == [("clicked", "human", "01-hello")]
    assert one(ctx, "SELECT engagement FROM lead WHERE id = 1") > 0
    assert due_at(ctx, 1) == LATER


def test_a_click_before_its_delivery_event_is_reclassified(ctx: AppContext) -> None:
    receive_events(ctx, make_event(ctx, "click", 60))
    assert one(ctx, "SELECT verdict FROM signal") == "human"
    receive_events(ctx, make_event(ctx, "delivered", 59.95))
    assert one(ctx, "SELECT verdict FROM signal") == "suspect"


def test_a_resubscription_is_stored_and_lifts_nothing(ctx: AppContext) -> None:
    receive_events(ctx, make_event(ctx, "group_unsubscribe", 5), make_event(ctx, "group_resubscribe", 10))
    assert sources(ctx) == ["provider"]
    assert [row[0] for row in stored_events(ctx)] == ["group_unsubscribed", "group_resubscribed"]


def test_a_late_bounce_of_an_old_address_leaves_the_new_one_alone(ctx: AppContext) -> None:
    with ctx.database.write() as tx:
        table = metadata.tables["address"]
        key = tx.execute(
            insert(table).values(email="new@people.example", normalized="new@people.example")
        ).inserted_primary_key
        assert key is not None
    write(ctx, "UPDATE lead SET address_id = :id WHERE id = 1", id=key[0])
    receive_events(ctx, make_event(ctx, "bounce"))
    assert (sources(ctx), sources(ctx, "new@people.example")) == (["bounce"], [])
    assert one(ctx, "SELECT count(*) FROM signal") == 0
    receive_events(ctx, make_event(ctx, "spamreport"))
    assert sorted(sources(ctx)) == ["bounce", "complaint"]
    assert sources(ctx, "new@people.example") == ["complaint"]


def test_the_mail_of_a_rep_says_nothing_of_the_lead(ctx: AppContext) -> None:
    record_signal(ctx, 1, SignalKind.REPLIED, LATER)
    run_at(ctx, LATER, LATER + timedelta(minutes=1))
    brief = one(ctx, "SELECT send_key FROM message WHERE kind = 'brief'")
    signals = one(ctx, "SELECT count(*) FROM signal")
    ana = [
        event(kind, f"{ctx.installation_id}:{brief}", LATER, email="ana@house.example")
        for kind in ("bounce", "spamreport", "click", "open", "unsubscribe")
    ]
    receive_events(ctx, *ana, now=LATER + timedelta(minutes=5))
    assert one(ctx, "SELECT state FROM message WHERE kind = 'brief'") == "complained"
    assert one(ctx, "SELECT count(*) FROM signal") == signals
    assert sources(ctx) == sources(ctx, "ana@house.example") == []


def test_times_before_planning_or_after_receipt_are_corrected(ctx: AppContext) -> None:
    set_unknown(ctx)
    receive_events(
        ctx, make_event(ctx, "processed", timestamp=1513299569), make_event(ctx, "delivered", timestamp=4000000000)
    )
    planned = one(ctx, "SELECT planned_at FROM message")
    state, state_at, accepted_at, *_ = message(ctx)
    assert (state, str(accepted_at)) == ("delivered", str(planned))
    assert datetime.fromisoformat(str(state_at)) == LATER


def test_a_batch_is_processed_by_the_sweep_if_nothing_else_did_it(ctx: AppContext) -> None:
    provider_events.receive(
        ctx,
        "sendgrid",
        encode_events([make_event(ctx, "delivered"), make_event(ctx, "click", 90)]),
        LATER,
    )
    assert message(ctx)[0] == "accepted"
    assert run_once(ctx, LATER).signals_applied == 2
    assert message(ctx)[0] == "delivered"
    assert one(ctx, "SELECT count(*) FROM raw_batch WHERE processed_at IS NULL") == 0


def test_a_crash_between_the_steps_loses_nothing_and_counts_nothing_twice(ctx: AppContext) -> None:
    batch = [make_event(ctx, kind) for kind in KINDS]
    provider_events.receive(ctx, "sendgrid", encode_events(batch), LATER)
    provider_events.apply_pending(ctx, LATER)
    engagement_signals.apply_pending_signals(ctx, LATER)
    done = {name: found for name, found in all_rows(ctx).items() if name != "raw_batch"}
    write(ctx, "UPDATE raw_batch SET processed_at = NULL")  # as after a crash before the last step
    assert provider_events.apply_pending(ctx, LATER).new == 0
    engagement_signals.apply_pending_signals(ctx, LATER)
    assert {name: found for name, found in all_rows(ctx).items() if name != "raw_batch"} == done


def test_a_batch_that_cannot_be_applied_stops_no_other(ctx: AppContext) -> None:
    provider_events.receive(ctx, "sendgrid", encode_events([make_event(ctx, "delivered")]), LATER)
    write(
        ctx,
        "INSERT INTO raw_batch (provider, digest, received_at, events, body) "
        "SELECT 'smoke-signals', 'x', received_at, 1, '[]' FROM raw_batch",
    )
    provider_events.receive(ctx, "sendgrid", encode_events([make_event(ctx, "click")]), LATER)
    assert provider_events.apply_pending(ctx, LATER).events == 2
    assert rows(ctx, "SELECT provider, error FROM raw_batch WHERE processed_at IS NULL") == [
        ("smoke-signals", "KeyError")
    ]
    assert provider_events.apply_pending(ctx, LATER) == provider_events.ApplyResult()
    write(ctx, "UPDATE raw_batch SET provider = 'sendgrid'")
    assert provider_events.process_pending(ctx, LATER) == provider_events.ApplyResult()
    assert one(ctx, "SELECT count(*) FROM raw_batch WHERE processed_at IS NULL") == 0


def test_one_event_that_cannot_be_applied_costs_no_other(ctx: AppContext) -> None:
    if ctx.database.is_sqlite:
        sabotage = (
            "CREATE TRIGGER refuse BEFORE INSERT ON provider_event WHEN NEW.raw_event_type = 'odd' "
            "BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        repair = "DROP TRIGGER refuse"
    else:
        sabotage = "ALTER TABLE provider_event ADD CONSTRAINT refuse CHECK (raw_event_type <> 'odd')"
        repair = "ALTER TABLE provider_event DROP CONSTRAINT refuse"
    write(ctx, sabotage)
    assert (
        receive_events(ctx, make_event(ctx, "delivered"), make_event(ctx, "odd"), make_event(ctx, "spamreport")).new
        == 2
    )
    assert sources(ctx) == ["complaint"]
    provider_events.process_pending(ctx, LATER + timedelta(days=7) + timedelta(days=1))
    assert rows(ctx, "SELECT error FROM raw_batch WHERE processed_at IS NULL") == [("IntegrityError",)]
    write(ctx, repair)
    assert provider_events.process_pending(ctx, LATER + timedelta(hours=1)).new == 1
    assert one(ctx, "SELECT count(*) FROM raw_batch WHERE processed_at IS NULL") == 0


def test_batches_are_stored_for_a_week_and_their_events_for_good(ctx: AppContext) -> None:
    receive_events(ctx, make_event(ctx, "delivered"))
    provider_events.receive(ctx, "sendgrid", encode_events([make_event(ctx, "open")]), LATER)
    provider_events.process_pending(ctx, LATER + timedelta(days=7))
    assert one(ctx, "SELECT count(*) FROM raw_batch") == 2
    provider_events.process_pending(ctx, LATER + timedelta(days=7) + timedelta(seconds=1))
    assert one(ctx, "SELECT count(*) FROM raw_batch") == 0
    assert len(stored_events(ctx)) == 2


def test_a_batch_costs_the_same_number_of_statements_however_large(ctx: AppContext) -> None:
    add_leads(ctx, 700, title="Head of planning")
    # Of many companies: clicks of one company at once are classified twice.
    write(ctx, "UPDATE address SET normalized = 'a@c' || id || '.example' WHERE id > 1")
    run_at(ctx, LATER, LATER + timedelta(hours=1), LATER + timedelta(hours=2))
    now = LATER + timedelta(hours=3)
    keys = [row[0] for row in rows(ctx, "SELECT send_key FROM message WHERE state = 'accepted' ORDER BY id")]
    assert len(keys) > 690

    def batch(chosen: Sequence[str]) -> list[dict[str, Any]]:
        kinds = ("delivered", "click", "bounce")
        return [event(kind, f"{ctx.installation_id}:{key}", LATER, email=None) for key in chosen for kind in kinds]

    provider_events.receive(ctx, "sendgrid", encode_events(batch(keys[:4])[:10]), now)
    with recorded_statements(ctx.database) as few:
        assert provider_events.apply_pending(ctx, now).new == 10
    provider_events.receive(ctx, "sendgrid", encode_events(batch(keys[4:])[:2_000]), now)
    with recorded_statements(ctx.database) as many:
        assert provider_events.apply_pending(ctx, now).new == 2_000
    assert len(few) == len(many)


@pytest.mark.parametrize("seed", range(2))
def test_order_and_copies_of_events_do_not_change_the_result(db: Database, tmp_path: Path, seed: int) -> None:
    result = permute(db, tmp_path, 240, Random(seed))
    assert result.streams == 240
    assert result.events > 1_000
    assert result.divergences == []


@pytest.mark.skipif(
    "NURTURE_OLIST_DIR" not in os.environ or not (Path(os.environ["NURTURE_OLIST_DIR"]) / EXAMPLE).is_file(),
    reason=f"SendGrid's documented example, {EXAMPLE}, is not in the folder that NURTURE_OLIST_DIR names",
)
def test_the_documented_example_is_stored_whole_and_what_is_ours_of_it_is_applied(ctx: AppContext) -> None:
    body = (Path(os.environ["NURTURE_OLIST_DIR"]) / EXAMPLE).read_bytes()
    documented = orjson.loads(body)
    assert provider_events.receive(ctx, "sendgrid", body, LATER) == (len(documented), True)
    assert provider_events.apply_pending(ctx, LATER) == provider_events.ApplyResult(len(documented), len(documented), 0)
    assert {event_type for event_type, _, _ in stored_events(ctx)} == {one.value for one in DeliveryEventType} - {
        "blocked",
        "unknown",
    }
    named = {"nurture_message": message_ref(ctx), "email": "mia@people.example", "sg_event_id": "another"}
    set_unknown(ctx)
    assert receive_events(ctx, *(one | named for one in documented)).new == len(documented)
    assert message(ctx)[0] == "complained"
    assert "bounce" in sources(ctx)
