"""A delivery status never moves backward, in any order of events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.delivery.delivery_status import (
    STATE_BY_EVENT_TYPE,
    DeliveryEvent,
    DeliveryEventType,
    DeliveryStatus,
    is_accepted_by_provider,
    merge_event,
)

START = datetime(2026, 1, 5, 8, tzinfo=UTC)
EVENTS = st.builds(
    DeliveryEvent,
    st.sampled_from(DeliveryEventType),
    st.integers(0, 5).map(lambda minutes: START + timedelta(minutes=minutes)),
    st.sampled_from(["", "5.1.1", "4.2.2, Mailbox Unavailable"]),
    st.booleans(),
)
UNSETTLED = ("planned", "claimed", "sending", "unknown", "rejected", "cancelled")
STATUSES = st.one_of(
    st.sampled_from(UNSETTLED).map(lambda state: DeliveryStatus(state, START, None, "so far")),
    st.just(DeliveryStatus("accepted", START + timedelta(minutes=2), START + timedelta(minutes=2), None)),
)


def after(status: DeliveryStatus, *events: DeliveryEvent) -> DeliveryStatus:
    return reduce(merge_event, events, status)


@given(STATUSES, st.lists(EVENTS, max_size=8), st.randoms(use_true_random=False))
def test_neither_order_nor_copies_of_events_matter(
    status: DeliveryStatus, events: list[DeliveryEvent], chance: object
) -> None:
    shuffled = [*events, *events[:3]]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert after(status, *shuffled) == after(status, *events)


@given(STATUSES, EVENTS)
def test_any_event_but_the_unknown_proves_that_the_provider_took_the_mail(
    status: DeliveryStatus, event: DeliveryEvent
) -> None:
    now = merge_event(status, event)
    if event.event_type is DeliveryEventType.UNKNOWN:
        assert now == status
        return
    assert is_accepted_by_provider(now.state)
    assert now.accepted_at is not None
    assert now.accepted_at <= event.at


@pytest.mark.parametrize(
    ("event_types", "state", "reason"),
    [
        ([DeliveryEventType.PROCESSED], "accepted", None),
        ([DeliveryEventType.DEFERRED, DeliveryEventType.DELIVERED], "delivered", None),
        ([DeliveryEventType.OPENED, DeliveryEventType.PROCESSED], "accepted", None),
        ([DeliveryEventType.DELIVERED, DeliveryEventType.OPENED, DeliveryEventType.CLICKED], "delivered", None),
        ([DeliveryEventType.DELIVERED, DeliveryEventType.BOUNCED], "bounced", "bounced: why"),
        ([DeliveryEventType.BLOCKED, DeliveryEventType.DEFERRED], "dropped", "blocked: why"),
        ([DeliveryEventType.DROPPED], "dropped", "dropped: why"),
        ([DeliveryEventType.BOUNCED, DeliveryEventType.COMPLAINED, DeliveryEventType.DELIVERED], "complained", None),
        ([DeliveryEventType.GROUP_RESUBSCRIBED], "accepted", None),
    ],
)
def test_the_most_severe_event_gives_the_status(
    event_types: list[DeliveryEventType], state: str, reason: str | None
) -> None:
    events = [DeliveryEvent(one, START + timedelta(minutes=number), "why") for number, one in enumerate(event_types)]
    unknown = DeliveryStatus("unknown", START, None, "the worker stopped")
    assert after(unknown, *events)[0] == state
    assert after(unknown, *events)[2:4] == (START, reason)


def test_every_kind_but_the_unknown_implies_a_state() -> None:
    assert set(DeliveryEventType) - set(STATE_BY_EVENT_TYPE) == {DeliveryEventType.UNKNOWN}


def test_a_failure_without_a_reason_is_named_for_its_kind() -> None:
    assert (
        merge_event(
            DeliveryStatus("sending", START, None, None), DeliveryEvent(DeliveryEventType.BOUNCED, START)
        ).reason
        == "bounced"
    )
