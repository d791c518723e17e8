"""What SendGrid tells of our mail: kept once, applied in any order, never believed too far."""

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
from nurture.db.tables import core
from nurture.domain.address import normalise_address
from nurture.domain.delivery.delivery_status import Told
from nurture.domain.signals import SignalKind
from nurture.journey.delivery import run
from nurture.journey.engagement import provider_events
from nurture.journey.engagement import signals as engagement_signals
from nurture.journey.leads import suppression_queries
from nurture.journey.run_once import tick
from nurture.mail.providers.base import Accepted, InDoubt
from nurture.mail.providers.events import Unreadable
from nurture.runtime.context import House
from tests.chaos.permuting import permute
from tests.doubles.events import KINDS, body_of, event
from tests.journey.builders import START, add_lead, make_house, tick_at
from tests.journey.observe import Post, counted, crowd, custody, due_at, everything, one, rows, tell, write

EXAMPLE = "sendgrid__event_webhook_example.json"
SENT = START + timedelta(hours=2)
LATER = START + timedelta(hours=4)


@pytest.fixture
def house(db: Database, tmp_path: Path) -> House:
    """A house with a name, and a lead whose first email was accepted at SENT."""
    made = make_house(db, tmp_path)
    made.origin = "0badcafe"
    add_lead(made, email="mia@people.example", title="Head of planning")
    tick_at(made, START, START + timedelta(hours=1), SENT)
    assert message(made)[0] == "accepted"
    return made


def message(house: House, lead_id: int = 1) -> tuple[Any, ...]:
    found = rows(
        house,
        "SELECT state, state_at, accepted_at, reason, lease_token FROM message "
        "WHERE lead_id = :id AND kind = 'touch'",
        id=lead_id,
    )
    assert len(found) == 1
    return found[0]


def arg(house: House, lead_id: int = 1) -> str:
    wanted = "SELECT send_key FROM message WHERE lead_id = :id AND kind = 'touch'"
    return f"{house.origin}:{one(house, wanted, id=lead_id)}"


def post(house: House, *told: Any, now: datetime = LATER) -> provider_events.Applied:
    """Let SendGrid tell, and apply it."""
    provider_events.receive(house, provider_events.SENDGRID, body_of(told), now)
    return provider_events.apply(house, now)


def told(
    house: House, kind: str, minutes: float = 5, id_: str | None = None, **fields: Any
) -> dict[str, Any]:
    fields = {"email": "mia@people.example", **fields}
    return event(kind, arg(house), SENT + timedelta(minutes=minutes), id_, **fields)


def sources(house: House, email: str = "mia@people.example") -> list[str]:
    """Return what stands against an address."""
    with house.database.read() as connection:
        found = suppression_queries.find(connection, normalise_address(email))
        if found is None:
            return []
        return [
            source
            for _, _, _, source in suppression_queries.effective_suppressions(
                house.database, connection, [found[0]]
            )
        ]


def kept(house: House) -> list[tuple[str, str, int | None]]:
    found = rows(house, "SELECT told, named, message_id FROM mail_event ORDER BY id")
    return [(row[0], row[1], row[2]) for row in found]


def put_in_doubt(house: House) -> None:
    write(
        house, "UPDATE message SET state = 'in_doubt', accepted_at = NULL, lease_token = 'slow', reason = '?'"
    )


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
def test_each_kind_of_event_means_one_thing(house: House, kind: str, state: str, stands: list[str]) -> None:
    assert post(house, told(house, kind)).new == 1
    assert message(house)[0] == state
    assert sources(house) == stands
    assert len(kept(house)) == 1


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_any_event_but_an_unknown_one_settles_a_doubt(house: House, kind: str) -> None:
    put_in_doubt(house)
    post(house, told(house, kind))
    state, _, accepted_at, reason, token = message(house)
    if kind == "account_status_change":
        assert (state, accepted_at, token) == ("in_doubt", None, "slow")
        return
    assert state != "in_doubt"
    assert datetime.fromisoformat(str(accepted_at)) == SENT + timedelta(minutes=5)
    assert token is None
    assert reason != "?"
    assert custody(house, 1)[0] == "track"
    due = due_at(house, 1)
    assert due is not None
    assert due <= LATER


def test_a_dropped_mail_in_doubt_is_settled_with_its_reason(house: House) -> None:
    put_in_doubt(house)
    post(house, told(house, "dropped", reason="Unsubscribed Address"))
    assert message(house)[0] == "dropped"
    assert message(house)[3] == "dropped: 5.0.0, unsubscribed address"
    assert sources(house) == ["provider"]


def test_a_planned_mail_that_went_after_all_is_not_sent_again(house: House) -> None:
    write(house, "UPDATE message SET state = 'planned', accepted_at = NULL")
    post(house, told(house, "delivered"))
    assert message(house)[0] == "delivered"
    assert tick(house, LATER + timedelta(minutes=1)).delivered.messages == 0


@pytest.mark.parametrize("receipt", [Accepted("x"), InDoubt("no answer")])
def test_a_worker_that_writes_back_after_the_event_changes_nothing(
    db: Database, tmp_path: Path, receipt: Accepted | InDoubt
) -> None:
    house = make_house(db, tmp_path)
    house.origin = "0badcafe"
    add_lead(house, email="mia@people.example", title="Head of planning")
    tick_at(house, START, START + timedelta(hours=1))
    house.provider = Post(lambda _email, _now: receipt)

    def observe(point: str, refs: Sequence[str]) -> None:
        if point == "after the call" and refs:
            assert message(house)[0] == "sending"
            post(house, told(house, "bounce", minutes=1))

    write(house, "UPDATE message SET state = 'planned', accepted_at = NULL, send_at = planned_at")
    run.deliver(house, VirtualClock(SENT), observe=observe)
    assert message(house)[0] == "bounced"
    assert message(house)[4] is None
    assert sources(house) == ["bounce"]


def test_a_worker_that_has_not_called_yet_does_not_call(house: House) -> None:
    provider = Post()
    house.provider = provider

    def observe(point: str, _refs: Sequence[str]) -> None:
        if point == "claimed":
            post(house, told(house, "delivered"))

    write(house, "UPDATE message SET state = 'planned', accepted_at = NULL, send_at = planned_at")
    run.deliver(house, VirtualClock(SENT + timedelta(minutes=9)), observe=observe)
    assert provider.sent == []
    assert message(house)[0] == "delivered"


def test_copies_count_once_whether_their_id_changed_or_not(house: House) -> None:
    first = told(house, "click", id_="one")
    assert post(house, first, told(house, "click", id_="two"), first).new == 1
    assert post(house, told(house, "click", id_="three"), told(house, "delivered")).new == 1
    assert post(house, told(house, "click", id_="one", category="other")).new == 0
    assert one(house, "SELECT count(*) FROM signal WHERE kind = 'clicked'") == 1


def test_the_same_batch_again_is_known_and_stored_once(house: House) -> None:
    body = body_of([told(house, "delivered")])
    assert provider_events.receive(house, provider_events.SENDGRID, body, LATER) == (1, True)
    assert provider_events.receive(house, provider_events.SENDGRID, body, LATER) == (1, False)
    assert provider_events.apply(house, LATER) == provider_events.Applied(1, 1, 1)
    assert provider_events.receive(house, provider_events.SENDGRID, body, LATER) == (1, False)
    assert provider_events.apply(house, LATER) == provider_events.Applied()


def test_an_empty_batch_is_thanked_for_and_leaves_nothing(house: House) -> None:
    before = everything(house)
    assert provider_events.receive(house, provider_events.SENDGRID, b"[]", LATER) == (0, False)
    assert everything(house) == before


def test_what_cannot_be_read_is_refused_and_leaves_nothing(house: House) -> None:
    before = everything(house)
    with pytest.raises(Unreadable):
        provider_events.receive(house, provider_events.SENDGRID, b"[" * 9_000, LATER)
    assert everything(house) == before


@pytest.mark.parametrize("origin", ["deadbeef", ""])
def test_events_of_another_installation_are_kept_and_not_applied(house: House, origin: str) -> None:
    other = event("bounce", f"{origin}:{arg(house).partition(':')[2]}", SENT)
    assert post(house, other) == provider_events.Applied(1, 1, 0)
    assert message(house)[0] == "accepted"
    assert kept(house) == [("bounced", "bounce", None)]
    assert sources(house) == []


@pytest.mark.parametrize(
    "named", [None, "", "0badcafe", "0badcafe:", "0badcafe:touch:77:x:1", ":", 7, "x" * 5_000]
)
def test_events_without_a_message_of_ours_are_kept_and_not_applied(house: House, named: Any) -> None:
    before = rows(house, "SELECT * FROM message"), rows(house, "SELECT * FROM suppression")
    assert post(house, *(event(kind, named, SENT) for kind in KINDS)).new == len(KINDS)
    assert (rows(house, "SELECT * FROM message"), rows(house, "SELECT * FROM suppression")) == before
    assert {message_id for _, _, message_id in kept(house)} == {None}


def test_nothing_personal_is_kept_of_an_event(house: House) -> None:
    post(house, *(told(house, kind) for kind in KINDS))
    stored = str(
        [rows(house, f"SELECT * FROM {name}") for name in ("mail_event", "signal", "visit", "message")]
    )
    for word in ("mia@", "people.example", "Miller", "192.0.2", "Firefox", "www.example.com"):
        assert word not in stored


def test_an_open_by_a_machine_is_a_bot_and_no_open_is_evidence(house: House) -> None:
    post(house, told(house, "open", 30, sg_machine_open=True), told(house, "open", 31, sg_machine_open=False))
    found = rows(house, "SELECT verdict, source FROM signal WHERE kind = 'opened' ORDER BY occurred_at")
    assert found[0] == ("bot", "sendgrid")
    assert one(house, "SELECT engagement FROM lead WHERE id = 1") == 0


def test_a_click_is_judged_as_any_other_and_wakes_its_lead(house: House) -> None:
    post(house, told(house, "delivered", 1), told(house, "click", 60))
    assert rows(house, "SELECT kind, verdict, step FROM signal") == [("clicked", "human", "01-hello")]
    assert one(house, "SELECT engagement FROM lead WHERE id = 1") > 0
    assert due_at(house, 1) == LATER


def test_a_click_that_came_before_its_delivery_was_told_is_judged_again(house: House) -> None:
    post(house, told(house, "click", 60))
    assert one(house, "SELECT verdict FROM signal") == "human"
    post(house, told(house, "delivered", 59.95))
    assert one(house, "SELECT verdict FROM signal") == "suspect"


def test_a_resubscription_is_kept_and_lifts_nothing(house: House) -> None:
    post(house, told(house, "group_unsubscribe", 5), told(house, "group_resubscribe", 10))
    assert sources(house) == ["provider"]
    assert [row[0] for row in kept(house)] == ["group_unsubscribed", "group_resubscribed"]


def test_a_late_bounce_of_an_old_address_leaves_the_new_one_alone(house: House) -> None:
    with house.database.write() as connection:
        table = core.metadata.tables["address"]
        key = connection.execute(
            insert(table).values(email="new@people.example", normal="new@people.example")
        ).inserted_primary_key
        assert key is not None
    write(house, "UPDATE lead SET address_id = :id WHERE id = 1", id=key[0])
    post(house, told(house, "bounce"))
    assert (sources(house), sources(house, "new@people.example")) == (["bounce"], [])
    assert one(house, "SELECT count(*) FROM signal") == 0
    post(house, told(house, "spamreport"))
    assert sorted(sources(house)) == ["bounce", "complaint"]
    assert sources(house, "new@people.example") == ["complaint"]


def test_the_mail_of_a_rep_says_nothing_of_the_lead(house: House) -> None:
    tell(house, 1, SignalKind.REPLIED, LATER)
    tick_at(house, LATER, LATER + timedelta(minutes=1))
    brief = one(house, "SELECT send_key FROM message WHERE kind = 'brief'")
    signals = one(house, "SELECT count(*) FROM signal")
    ana = [
        event(kind, f"{house.origin}:{brief}", LATER, email="ana@house.example")
        for kind in ("bounce", "spamreport", "click", "open", "unsubscribe")
    ]
    post(house, *ana, now=LATER + timedelta(minutes=5))
    assert one(house, "SELECT state FROM message WHERE kind = 'brief'") == "complained"
    assert one(house, "SELECT count(*) FROM signal") == signals
    assert sources(house) == sources(house, "ana@house.example") == []


def test_times_before_the_mail_was_planned_or_after_it_was_told_cannot_be(house: House) -> None:
    put_in_doubt(house)
    post(
        house, told(house, "processed", timestamp=1513299569), told(house, "delivered", timestamp=4000000000)
    )
    planned = one(house, "SELECT planned_at FROM message")
    state, state_at, accepted_at, *_ = message(house)
    assert (state, str(accepted_at)) == ("delivered", str(planned))
    assert datetime.fromisoformat(str(state_at)) == LATER


def test_a_batch_is_processed_by_the_sweep_if_nothing_else_did_it(house: House) -> None:
    provider_events.receive(
        house, provider_events.SENDGRID, body_of([told(house, "delivered"), told(house, "click", 90)]), LATER
    )
    assert message(house)[0] == "accepted"
    assert tick(house, LATER).heard == 2
    assert message(house)[0] == "delivered"
    assert one(house, "SELECT count(*) FROM raw_batch WHERE processed_at IS NULL") == 0


def test_a_crash_between_the_steps_loses_nothing_and_counts_nothing_twice(
    house: House,
) -> None:
    batch = [told(house, kind) for kind in KINDS]
    provider_events.receive(house, provider_events.SENDGRID, body_of(batch), LATER)
    provider_events.apply(house, LATER)
    engagement_signals.listen(house, LATER)
    done = {name: found for name, found in everything(house).items() if name != "raw_batch"}
    write(house, "UPDATE raw_batch SET processed_at = NULL")  # as after a crash before the last step
    assert provider_events.apply(house, LATER).new == 0
    engagement_signals.listen(house, LATER)
    assert {name: found for name, found in everything(house).items() if name != "raw_batch"} == done


def test_a_batch_that_cannot_be_applied_stops_no_other(house: House) -> None:
    provider_events.receive(house, provider_events.SENDGRID, body_of([told(house, "delivered")]), LATER)
    write(
        house,
        "INSERT INTO raw_batch (door, digest, received_at, events, body) "
        "SELECT 'smoke-signals', 'x', received_at, 1, '[]' FROM raw_batch",
    )
    provider_events.receive(house, provider_events.SENDGRID, body_of([told(house, "click")]), LATER)
    assert provider_events.apply(house, LATER).events == 2
    assert rows(house, "SELECT door, fault FROM raw_batch WHERE processed_at IS NULL") == [
        ("smoke-signals", "KeyError")
    ]
    assert provider_events.apply(house, LATER) == provider_events.Applied()
    write(house, "UPDATE raw_batch SET door = 'sendgrid'")
    assert provider_events.sweep(house, LATER) == provider_events.Applied()
    assert one(house, "SELECT count(*) FROM raw_batch WHERE processed_at IS NULL") == 0


def test_one_event_that_cannot_be_applied_costs_no_other(house: House) -> None:
    if house.database.is_sqlite:
        fault = (
            "CREATE TRIGGER refuse BEFORE INSERT ON mail_event WHEN NEW.named = 'odd' "
            "BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        mended = "DROP TRIGGER refuse"
    else:
        fault = "ALTER TABLE mail_event ADD CONSTRAINT refuse CHECK (named <> 'odd')"
        mended = "ALTER TABLE mail_event DROP CONSTRAINT refuse"
    write(house, fault)
    assert post(house, told(house, "delivered"), told(house, "odd"), told(house, "spamreport")).new == 2
    assert sources(house) == ["complaint"]
    provider_events.sweep(house, LATER + provider_events.KEPT_FOR + timedelta(days=1))
    assert rows(house, "SELECT fault FROM raw_batch WHERE processed_at IS NULL") == [("IntegrityError",)]
    write(house, mended)
    assert provider_events.sweep(house, LATER + timedelta(hours=1)).new == 1
    assert one(house, "SELECT count(*) FROM raw_batch WHERE processed_at IS NULL") == 0


def test_batches_are_kept_for_a_week_and_their_events_for_good(house: House) -> None:
    post(house, told(house, "delivered"))
    provider_events.receive(house, provider_events.SENDGRID, body_of([told(house, "open")]), LATER)
    provider_events.sweep(house, LATER + provider_events.KEPT_FOR)
    assert one(house, "SELECT count(*) FROM raw_batch") == 2
    provider_events.sweep(house, LATER + provider_events.KEPT_FOR + timedelta(seconds=1))
    assert one(house, "SELECT count(*) FROM raw_batch") == 0
    assert len(kept(house)) == 2


def test_what_mentions_an_address_can_be_erased(house: House) -> None:
    from nurture.journey.engagement import provider_event_queries as store

    post(house, told(house, "delivered"))
    post(house, event("processed", None, SENT, email="Noor@People.example"))
    with house.database.write() as connection:
        assert store.erase(connection, "noor@people.example") == 1
        assert store.erase(connection, "n__r@people.example") == 0
    assert one(house, "SELECT count(*) FROM raw_batch") == 1
    assert len(kept(house)) == 2


def test_a_batch_costs_the_same_number_of_statements_however_large(house: House) -> None:
    crowd(house, 700, title="Head of planning")
    # Of many companies: what a whole one clicks at once is looked at twice.
    write(house, "UPDATE address SET normal = 'a@c' || id || '.example' WHERE id > 1")
    tick_at(house, LATER, LATER + timedelta(hours=1), LATER + timedelta(hours=2))
    now = LATER + timedelta(hours=3)
    keys = [
        row[0] for row in rows(house, "SELECT send_key FROM message WHERE state = 'accepted' ORDER BY id")
    ]
    assert len(keys) > 690

    def batch(chosen: Sequence[str]) -> list[dict[str, Any]]:
        kinds = ("delivered", "click", "bounce")
        return [event(kind, f"{house.origin}:{key}", LATER, email=None) for key in chosen for kind in kinds]

    provider_events.receive(house, provider_events.SENDGRID, body_of(batch(keys[:4])[:10]), now)
    with counted(house.database) as few:
        assert provider_events.apply(house, now).new == 10
    provider_events.receive(house, provider_events.SENDGRID, body_of(batch(keys[4:])[:2_000]), now)
    with counted(house.database) as many:
        assert provider_events.apply(house, now).new == 2_000
    assert len(few) == len(many)


@pytest.mark.parametrize("seed", range(2))
def test_whatever_the_order_and_the_copies_everything_ends_alike(
    db: Database, tmp_path: Path, seed: int
) -> None:
    told = permute(db, tmp_path, 240, Random(seed))
    assert told.streams == 240
    assert told.events > 1_000
    assert told.divergences == []


@pytest.mark.skipif(
    "NURTURE_OLIST_DIR" not in os.environ or not (Path(os.environ["NURTURE_OLIST_DIR"]) / EXAMPLE).is_file(),
    reason=f"SendGrid's documented example, {EXAMPLE}, is not in the folder that NURTURE_OLIST_DIR names",
)
def test_the_documented_example_is_stored_whole_and_what_is_ours_of_it_is_applied(house: House) -> None:
    body = (Path(os.environ["NURTURE_OLIST_DIR"]) / EXAMPLE).read_bytes()
    documented = orjson.loads(body)
    assert provider_events.receive(house, provider_events.SENDGRID, body, LATER) == (len(documented), True)
    assert provider_events.apply(house, LATER) == provider_events.Applied(len(documented), len(documented), 0)
    assert {told for told, _, _ in kept(house)} == {one.value for one in Told} - {"blocked", "unknown"}
    named = {"nurture_message": arg(house), "email": "mia@people.example", "sg_event_id": "another"}
    put_in_doubt(house)
    assert post(house, *(one | named for one in documented)).new == len(documented)
    assert message(house)[0] == "complained"
    assert "bounce" in sources(house)
