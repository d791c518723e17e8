"""Fates rise, whatever the order in which a provider tells."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.delivery.delivery_status import STATES, Fate, News, Told, is_settled, merge

START = datetime(2026, 1, 5, 8, tzinfo=UTC)
NEWS = st.builds(
    News,
    st.sampled_from(Told),
    st.integers(0, 5).map(lambda minutes: START + timedelta(minutes=minutes)),
    st.sampled_from(["", "5.1.1", "4.2.2, Mailbox Unavailable"]),
)
UNSETTLED = ("planned", "claimed", "sending", "in_doubt", "rejected", "cancelled")
FATES = st.one_of(
    st.sampled_from(UNSETTLED).map(lambda state: Fate(state, START, None, "so far")),
    st.just(Fate("accepted", START + timedelta(minutes=2), START + timedelta(minutes=2), None)),
)


def after(fate: Fate, *told: News) -> Fate:
    return reduce(merge, told, fate)


@given(FATES, st.lists(NEWS, max_size=8), st.randoms(use_true_random=False))
def test_neither_order_nor_copies_of_news_matter(fate: Fate, news: list[News], chance: object) -> None:
    shuffled = [*news, *news[:3]]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert after(fate, *shuffled) == after(fate, *news)


@given(FATES, NEWS)
def test_any_news_but_the_unknown_proves_that_the_provider_took_the_mail(fate: Fate, news: News) -> None:
    now = merge(fate, news)
    if news.told is Told.UNKNOWN:
        assert now == fate
        return
    assert is_settled(now.state)
    assert now.accepted_at is not None
    assert now.accepted_at <= news.at


@pytest.mark.parametrize(
    ("told", "state", "reason"),
    [
        ([Told.PROCESSED], "accepted", None),
        ([Told.DEFERRED, Told.DELIVERED], "delivered", None),
        ([Told.OPENED, Told.PROCESSED], "accepted", None),
        ([Told.DELIVERED, Told.OPENED, Told.CLICKED], "delivered", None),
        ([Told.DELIVERED, Told.BOUNCED], "bounced", "bounced: why"),
        ([Told.BLOCKED, Told.DEFERRED], "dropped", "blocked: why"),
        ([Told.DROPPED], "dropped", "dropped: why"),
        ([Told.BOUNCED, Told.COMPLAINED, Told.DELIVERED], "complained", None),
        ([Told.GROUP_RESUBSCRIBED], "accepted", None),
    ],
)
def test_the_most_severe_that_was_told_is_what_a_message_became(
    told: list[Told], state: str, reason: str | None
) -> None:
    news = [News(one, START + timedelta(minutes=number), "why") for number, one in enumerate(told)]
    doubted = Fate("in_doubt", START, None, "the worker stopped")
    assert after(doubted, *news)[0] == state
    assert after(doubted, *news)[2:] == (START, reason)


def test_every_kind_but_the_unknown_implies_a_state() -> None:
    assert set(Told) - set(STATES) == {Told.UNKNOWN}


def test_a_failure_without_a_reason_is_named_for_its_kind() -> None:
    assert merge(Fate("sending", START, None, None), News(Told.BOUNCED, START)).reason == "bounced"
